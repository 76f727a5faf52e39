use std::collections::HashMap;

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        Record,
        rdata::{CNAME, SOA, SRV},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

use super::*;

/// What a name server of a test says.
#[derive(Clone, Default)]
struct Script {
    records: HashMap<(String, RecordType), Vec<(u32, RData)>>,
    /// Names that it fails for.
    broken: Vec<String>,
    /// Of a negative answer.
    negative_ttl: Option<u32>,
    /// It answers over TCP only.
    truncates: bool,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
}

impl Script {
    fn with(mut self, name: &str, ttl: u32, data: RData) -> Self {
        let records = self.records.entry((name.into(), data.record_type()));
        records.or_default().push((ttl, data));
        self
    }

    fn address(self, name: &str, ttl: u32, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        self.with(name, ttl, RData::from(address))
    }

    fn broken(mut self, name: &str) -> Self {
        self.broken.push(name.into());
        self
    }

    fn asked(&self) -> Vec<(String, RecordType)> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked.dedup();
        asked
    }

    fn answer(&self, query: &[u8], over_udp: bool) -> Vec<u8> {
        let query = Message::from_vec(query).unwrap();
        let question = query.queries[0].clone();
        let name = question.name().to_string().trim_end_matches('.').to_owned();
        let kind = question.query_type();
        self.asked.lock().unwrap().push((name.clone(), kind));
        let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.add_query(question.clone());
        let alias = self.records.get(&(name.clone(), RecordType::CNAME));
        let found = self.records.get(&(name.clone(), kind)).or(alias);
        let exists = self.records.keys().any(|(known, _)| *known == name);
        if self.broken.contains(&name) {
            answer.metadata.response_code = ResponseCode::ServFail;
        } else if over_udp && self.truncates {
            answer.metadata.truncation = true;
        } else if let Some(found) = found {
            for (ttl, data) in found {
                answer.add_answer(Record::from_rdata(
                    question.name().clone(),
                    *ttl,
                    data.clone(),
                ));
            }
        } else {
            if !exists {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            if let Some(ttl) = self.negative_ttl {
                let root = Name::root();
                let soa = SOA::new(root.clone(), root.clone(), 1, 1, 1, 1, ttl);
                answer.add_authority(Record::from_rdata(root, ttl, RData::SOA(soa)));
            }
        }
        answer.to_vec().unwrap()
    }

    /// Listens on a free port of 127.0.0.1 until the test is over.
    async fn serve(&self) -> SocketAddr {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let script = self.clone();
        tokio::spawn(async move {
            let mut query = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut query).await {
                let answer = script.answer(&query[..length], true);
                udp.send_to(&answer, from).await.unwrap();
            }
        });
        let script = self.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let script = script.clone();
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut query = vec![0; length.into()];
                        stream.read_exact(&mut query).await.unwrap();
                        let answer = script.answer(&query, false);
                        let length = u16::try_from(answer.len()).unwrap();
                        stream.write_u16(length).await.unwrap();
                        stream.write_all(&answer).await.unwrap();
                    }
                });
            }
        });
        address
    }

    async fn knowledge(&self) -> Knowledge {
        knowledge("", "", &[self.serve().await])
    }
}

/// `hosts` and `resolv` are texts of the two files; `servers` stand in for those of the latter.
fn knowledge(hosts: &str, resolv: &str, servers: &[SocketAddr]) -> Knowledge {
    let mut parsed = Hosts::default();
    parsed.read_hosts_conf(hosts.as_bytes()).unwrap();
    let (config, options) = parse(resolv.as_bytes()).unwrap();
    let (domain, search, _) = config.into_parts();
    let servers = servers.iter().map(|&server| name_server(server)).collect();
    let config = ResolverConfig::from_parts(domain, search, servers);
    Knowledge::new(parsed, config, options.ndots).unwrap()
}

fn host(name: &str) -> Host {
    name.parse().unwrap()
}

fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}

async fn looked(knowledge: &Knowledge, name: &str) -> (Result<Vec<IpAddr>, ResolveError>, u64) {
    let looked = knowledge.addresses(&host(name)).await;
    let (outcome, lifetime) = looked.parts();
    // What is measured from now on falls short of it by what the test has taken.
    (
        outcome.clone(),
        (lifetime + Duration::from_millis(900)).as_secs(),
    )
}

#[tokio::test]
async fn addresses_of_both_families_are_found_with_the_shorter_ttl() {
    // Loopback is what can be dialled everywhere.
    let script = Script::default()
        .address("a.example", 40, "127.0.0.2")
        .address("a.example", 30, "127.0.0.3")
        .address("a.example", 20, "::1");
    let (found, ttl) = looked(&script.knowledge().await, "a.example").await;
    let mut found = found.unwrap();
    found.retain(IpAddr::is_ipv4);
    assert_eq!(found, ips(&["127.0.0.2", "127.0.0.3"]));
    assert_eq!(ttl, 20);
    let both = [RecordType::A, RecordType::AAAA].map(|kind| ("a.example".to_owned(), kind));
    assert_eq!(script.asked(), both);
}

#[tokio::test]
async fn missing_name_is_missing_for_as_long_as_its_zone_says() {
    for (negative_ttl, expected) in [(Some(17), 17), (None, 5)] {
        let script = Script {
            negative_ttl,
            ..Script::default()
        };
        let (found, ttl) = looked(&script.knowledge().await, "a.example").await;
        assert_eq!(found, Err(ResolveError::NoSuchName));
        assert_eq!(ttl, expected);
    }
}

#[tokio::test]
async fn alias_is_followed_and_its_ttl_counts() {
    let alias = RData::CNAME(CNAME(Name::from_ascii("b.example.").unwrap()));
    let script =
        Script::default()
            .with("a.example", 10, alias)
            .address("b.example", 40, "127.0.0.2");
    let (found, ttl) = looked(&script.knowledge().await, "a.example").await;
    assert_eq!(found.unwrap(), ips(&["127.0.0.2"]));
    assert_eq!(ttl, 10);
}

#[tokio::test]
async fn truncated_answer_is_asked_for_again_over_tcp() {
    let script = Script {
        truncates: true,
        ..Script::default().address("a.example", 40, "127.0.0.2")
    };
    let (found, _) = looked(&script.knowledge().await, "a.example").await;
    assert_eq!(found.unwrap(), ips(&["127.0.0.2"]));
}

#[tokio::test]
async fn next_server_is_asked_where_one_fails_or_is_not_there() {
    let broken = Script::default().broken("a.example");
    let good = Script::default().address("a.example", 40, "127.0.0.2");
    let gone = {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        udp.local_addr().unwrap()
    };
    for first in [broken.serve().await, gone] {
        let knowledge = knowledge("", "", &[first, good.serve().await]);
        let (found, _) = looked(&knowledge, "a.example").await;
        assert_eq!(found.unwrap(), ips(&["127.0.0.2"]), "{first}");
    }
    // One that knows that there is no such name is believed.
    let knowledge = knowledge(
        "",
        "",
        &[Script::default().serve().await, good.serve().await],
    );
    let (found, _) = looked(&knowledge, "a.example").await;
    assert_eq!(found, Err(ResolveError::NoSuchName));
    let knowledge = super::tests::knowledge("", "", &[broken.serve().await]);
    let (found, ttl) = looked(&knowledge, "a.example").await;
    assert!(matches!(found, Err(ResolveError::Failed(_))), "{found:?}");
    assert_eq!(ttl, 5);
}

#[tokio::test]
async fn entries_of_the_hosts_file_come_first_and_are_all_there_is() {
    let script = Script::default()
        .address("a.example", 40, "127.0.0.2")
        .address("a.example", 40, "::1");
    let hosts = "127.0.0.9 a.example alias # comment\n127.0.0.8\ta.example\n";
    let knowledge = knowledge(hosts, "", &[script.serve().await]);
    for (name, expected) in [
        ("a.example", &["127.0.0.9", "127.0.0.8"][..]),
        ("ALIAS", &["127.0.0.9"]),
    ] {
        let (found, ttl) = looked(&knowledge, name).await;
        assert_eq!(found.unwrap(), ips(expected), "{name}");
        assert_eq!(ttl, 5);
    }
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn relative_names_are_tried_in_the_domains_of_the_search_list() {
    let script = Script::default()
        .address("db.one.example", 40, "127.0.0.2")
        .address("db.two.example", 40, "127.0.0.3")
        .address("api.db", 40, "127.0.0.4")
        .address("api.db.two.example", 40, "127.0.0.5")
        .broken("broken.one.example")
        .address("broken.two.example", 40, "127.0.0.6");
    let server = [script.serve().await];
    let few = "search one.example two.example\n";
    let many = "search one.example two.example\noptions ndots:2\n";
    for (resolv, name, expected) in [
        (few, "db", Some("127.0.0.2")),
        (few, "api.db", Some("127.0.0.4")),
        (many, "api.db", Some("127.0.0.5")),
        ("", "api.db", Some("127.0.0.4")),
        ("", "db", None),
        (few, "nobody", None),
        // Its owner may be back in a moment: another one's must not be taken for it.
        (few, "broken", None),
    ] {
        let (found, _) = looked(&knowledge("", resolv, &server), name).await;
        assert_eq!(
            found.ok(),
            expected.map(|ip| ips(&[ip])),
            "{resolv:?} {name}"
        );
    }
}

#[tokio::test]
async fn half_of_an_answer_is_used_for_a_short_time() {
    // No address of the other family, because its server fails.
    let script = Script::default().address("a.example", 40, "127.0.0.2");
    let server = script.serve().await;
    let knowledge = knowledge("", "", &[server]);
    let name = Name::from_ascii("a.example.").unwrap();
    let whole = knowledge.both_families(&name).await;
    assert_eq!(whole.parts().1.as_secs(), 39);
    assert_eq!(whole.in_part().parts().1.as_secs(), 5);
}

#[tokio::test]
async fn services_are_found_with_their_servers() {
    let srv = |target: &str| {
        let target = Name::from_ascii(target).unwrap();
        RData::SRV(SRV::new(1, 2, 5222, target))
    };
    let script = Script::default()
        .with("_xmpp._tcp.a.example", 40, srv("One.a.example."))
        .with("_xmpp._tcp.a.example", 40, srv("."))
        .with("_none._tcp.a.example", 40, srv("."));
    let knowledge = script.knowledge().await;
    let looked = knowledge.services("_xmpp._tcp.a.example").await;
    let expected = Service {
        priority: 1,
        weight: 2,
        port: 5222,
        target: host("one.a.example"),
    };
    assert_eq!(looked.parts().0, &Ok(vec![expected]));
    for none in ["_none._tcp.a.example", "_other._tcp.a.example"] {
        assert!(knowledge.services(none).await.is_nothing(), "{none}");
    }
}

#[test]
fn without_a_name_server_there_is_one_on_this_host() {
    for text in ["", "search a.example\n", "# nothing\n"] {
        let (config, _) = parse(text.as_bytes()).unwrap();
        let (_, _, servers) = config.into_parts();
        assert_eq!(servers[0].ip, ips(&["127.0.0.1"])[0], "{text:?}");
    }
    let (config, options) = parse(b"nameserver 192.0.2.53\noptions ndots:5\n").unwrap();
    assert_eq!(config.into_parts().2[0].ip, ips(&["192.0.2.53"])[0]);
    assert_eq!(options.ndots, 5);
}

use std::{collections::HashMap, sync::Mutex};

use super::*;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};

mod exfiltration;
mod messages;
mod real_clients;

/// How long the answers of a test hold.
const LIFETIME: Duration = Duration::from_secs(40);

/// A zone with what a test puts in it.
#[derive(Default)]
pub(super) struct Known {
    addresses: HashMap<Host, Result<Vec<IpAddr>, ResolveError>>,
    services: HashMap<String, Vec<Service>>,
    /// Whose addresses come late.
    slow: Option<Host>,
    /// Why names are not to be looked up.
    refusals: HashMap<String, Refusal>,
    told: Mutex<Vec<(Host, Vec<IpAddr>)>>,
    recorded: Mutex<Vec<(String, Option<&'static str>)>>,
}

impl Known {
    pub(super) fn with(mut self, host: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.addresses.insert(host.parse().unwrap(), Ok(addresses));
        self
    }

    pub(super) fn slow(mut self, host: &str) -> Self {
        self.slow = Some(host.parse().unwrap());
        self
    }

    fn failing(mut self, host: &str, error: ResolveError) -> Self {
        self.addresses.insert(host.parse().unwrap(), Err(error));
        self
    }

    fn service(mut self, name: &str, targets: &[&str]) -> Self {
        let services = (5222..).zip(targets).map(|(port, target)| Service {
            priority: 1,
            weight: 2,
            port,
            target: target.parse().unwrap(),
        });
        self.services.insert(name.into(), services.collect());
        self
    }

    fn refusing(mut self, name: &str, refusal: Refusal) -> Self {
        self.refusals.insert(name.into(), refusal);
        self
    }

    /// The names that were asked for since the last time, and why they were refused.
    fn recorded(&self) -> Vec<(String, Option<&'static str>)> {
        std::mem::take(&mut self.recorded.lock().unwrap())
    }
}

impl Zone for Known {
    fn knows(&self, host: &Host) -> bool {
        self.addresses.contains_key(host)
    }

    fn admit(&self, _host: &Host, name: &str) -> Result<(), Refusal> {
        self.refusals.get(name).cloned().map_or(Ok(()), Err)
    }

    async fn resolve(&self, host: &Host) -> Result<Answer<IpAddr>, ResolveError> {
        if self.slow.as_ref() == Some(host) {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        let records = self.addresses[host].clone()?.into();
        let lifetime = LIFETIME;
        Ok(Answer { records, lifetime })
    }

    async fn services(&self, name: &str) -> Result<Answer<Service>, ResolveError> {
        let found = self.services.get(name).ok_or(ResolveError::NoSuchName)?;
        Ok(Answer {
            records: found.clone().into(),
            lifetime: LIFETIME,
        })
    }

    fn answered(&self, host: &Host, addresses: &[IpAddr]) {
        let told = (host.clone(), addresses.to_vec());
        self.told.lock().unwrap().push(told);
    }

    fn name_of(&self, address: IpAddr) -> Option<Host> {
        let told = self.told.lock().unwrap();
        let mut told = told.iter().rev();
        let (host, _) = told.find(|(_, addresses)| addresses.contains(&address))?;
        Some(host.clone())
    }

    fn record(&self, name: &str, refusal: Option<&Refusal>) {
        let reason = refusal.map(Refusal::reason);
        self.recorded.lock().unwrap().push((name.into(), reason));
    }
}

fn zone() -> Known {
    Known::default()
        .with("both.example", &["192.0.2.1", "192.0.2.2", "2001:db8::1"])
        .with("four.example", &["192.0.2.4"])
        .with("six.example", &["2001:db8::6"])
        .with("here.example", &["127.0.0.1", "::1"])
}

pub(super) fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

async fn ask(zone: &Known, message: &Message, transport: Transport) -> Message {
    let bytes = message.to_vec().unwrap();
    let answer = answer(&bytes, transport, zone).await.unwrap();
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!(answer.metadata.id, message.metadata.id);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    answer
}

pub(super) fn addresses(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .map(|record| record.data.ip_addr().unwrap().to_string())
        .collect()
}

async fn lookup(name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
    let answer = ask(&zone(), &query(name, kind), Transport::Udp).await;
    assert!(answer.metadata.recursion_available);
    assert!(answer.metadata.recursion_desired);
    // What nobody else says anything of is `localhost`.
    let ttl = if name.contains("localhost") { 30 } else { 40 };
    assert!(answer.answers.iter().all(|record| record.ttl == ttl));
    (answer.metadata.response_code, addresses(&answer))
}

#[tokio::test]
async fn known_name_has_the_addresses_of_the_family_asked_for() {
    use RecordType::{A, AAAA};
    for (name, kind, expected) in [
        ("both.example.", A, &["192.0.2.1", "192.0.2.2"][..]),
        ("both.example.", AAAA, &["2001:db8::1"]),
        ("four.example.", A, &["192.0.2.4"]),
        ("four.example.", AAAA, &[]),
        ("six.example.", A, &[]),
        ("six.example.", AAAA, &["2001:db8::6"]),
        ("localhost.", A, &["127.0.0.1"]),
        ("localhost.", AAAA, &["::1"]),
        ("a.localhost.", A, &["127.0.0.1"]),
    ] {
        let (code, found) = lookup(name, kind).await;
        assert_eq!(code, ResponseCode::NoError, "{name} {kind}");
        assert_eq!(found, expected, "{name} {kind}");
    }
}

#[tokio::test]
async fn unknown_name_does_not_exist() {
    for name in [
        "evil.example.",
        "sub.both.example.",
        "example.",
        "notlocalhost.",
        ".",
        "1.2.0.192.in-addr.arpa.",
        "192.0.2.1.",
    ] {
        for kind in [
            RecordType::A,
            RecordType::AAAA,
            RecordType::TXT,
            RecordType::PTR,
        ] {
            let (code, found) = lookup(name, kind).await;
            assert_eq!(code, ResponseCode::NXDomain, "{name} {kind}");
            assert!(found.is_empty(), "{name} {kind}");
        }
    }
}

#[tokio::test]
async fn name_that_no_host_can_have_does_not_exist() {
    for labels in [
        &[&b"both.example"[..]][..],
        &[b"both", b"example.com"],
        &[b"both", b"example\0"],
        &[b"b\xc3\xbccher", b"example"],
        &[b"b\xff", b"example"],
        &[b"*", b"example"],
    ] {
        let mut asked = query("x.", RecordType::A);
        asked.queries[0].set_name(Name::from_labels(labels.iter().copied()).unwrap());
        let answer = ask(&zone(), &asked, Transport::Udp).await;
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::NXDomain,
            "{labels:?}"
        );
    }
}

#[tokio::test]
async fn known_name_has_nothing_but_addresses() {
    for kind in [
        RecordType::TXT,
        RecordType::MX,
        RecordType::HTTPS,
        RecordType::SVCB,
        RecordType::ANY,
        RecordType::NS,
        RecordType::CNAME,
        RecordType::Unknown(4711),
    ] {
        for name in ["both.example.", "localhost."] {
            let (code, found) = lookup(name, kind).await;
            assert_eq!(code, ResponseCode::NoError, "{name} {kind}");
            assert!(found.is_empty(), "{name} {kind}");
        }
    }
}

#[tokio::test]
async fn loopback_is_never_the_answer_for_a_known_name() {
    let (_, v4) = lookup("here.example.", RecordType::A).await;
    let v4: Ipv4Addr = v4[0].parse().unwrap();
    assert!(matches!(v4.octets(), [198, 18 | 19, ..]), "{v4}");
    let (_, v6) = lookup("here.example.", RecordType::AAAA).await;
    assert!(v6[0].starts_with("100::"), "{v6:?}");
}

#[tokio::test]
async fn zone_is_told_what_the_client_is_told() {
    let zone = zone();
    ask(
        &zone,
        &query("here.example.", RecordType::A),
        Transport::Udp,
    )
    .await;
    ask(
        &zone,
        &query("evil.example.", RecordType::A),
        Transport::Udp,
    )
    .await;
    ask(&zone, &query("localhost.", RecordType::A), Transport::Udp).await;
    let told = zone.told.lock().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0.as_str(), "here.example");
    assert!(!told[0].1[0].is_loopback());
}

#[tokio::test]
async fn failures_are_told_apart() {
    let zone = zone()
        .failing("gone.example", ResolveError::NoSuchName)
        .failing("slow.example", ResolveError::Timeout)
        .failing("bad.example", ResolveError::Failed("out of order".into()));
    for (name, code) in [
        ("gone.example.", ResponseCode::NXDomain),
        ("slow.example.", ResponseCode::ServFail),
        ("bad.example.", ResponseCode::ServFail),
    ] {
        let answer = ask(&zone, &query(name, RecordType::A), Transport::Udp).await;
        assert_eq!(answer.metadata.response_code, code, "{name}");
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

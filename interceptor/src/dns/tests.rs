use std::{collections::HashMap, sync::Mutex};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData},
};
use proptest::prelude::*;

use super::*;

mod real_clients;

/// A zone with what a test puts in it.
#[derive(Default)]
pub(super) struct Known {
    addresses: HashMap<Host, Result<Vec<IpAddr>, ResolveError>>,
    told: Mutex<Vec<(Host, Vec<IpAddr>)>>,
}

impl Known {
    pub(super) fn with(mut self, host: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.addresses.insert(host.parse().unwrap(), Ok(addresses));
        self
    }

    fn failing(mut self, host: &str, error: ResolveError) -> Self {
        self.addresses.insert(host.parse().unwrap(), Err(error));
        self
    }
}

impl Zone for Known {
    fn knows(&self, host: &Host) -> bool {
        self.addresses.contains_key(host)
    }

    async fn resolve(&self, host: &Host) -> Result<Vec<IpAddr>, ResolveError> {
        self.addresses[host].clone()
    }

    fn answered(&self, host: &Host, addresses: &[IpAddr]) {
        let told = (host.clone(), addresses.to_vec());
        self.told.lock().unwrap().push(told);
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
    assert!(answer.answers.iter().all(|record| record.ttl == TTL));
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

#[tokio::test]
async fn case_of_the_question_is_kept() {
    let asked = query("BoTh.eXaMpLe.", RecordType::A);
    let answer = ask(&zone(), &asked, Transport::Udp).await;
    assert!(answer.queries[0].name().eq_case(asked.queries[0].name()));
    assert!(answer.answers[0].name.eq_case(asked.queries[0].name()));
    assert_eq!(addresses(&answer), ["192.0.2.1", "192.0.2.2"]);
}

#[tokio::test]
async fn edns_is_answered_only_where_it_is_asked() {
    let plain = query("both.example.", RecordType::A);
    assert!(ask(&zone(), &plain, Transport::Udp).await.edns.is_none());

    for dnssec_ok in [false, true] {
        let mut asked = plain.clone();
        let mut edns = Edns::new();
        edns.set_max_payload(4096).set_dnssec_ok(dnssec_ok);
        asked.set_edns(edns);
        let answered = ask(&zone(), &asked, Transport::Udp).await.edns.unwrap();
        assert_eq!(answered.max_payload(), 1232);
        assert_eq!(answered.version(), 0);
        assert_eq!(answered.flags().dnssec_ok, dnssec_ok);
    }
}

#[tokio::test]
async fn edns_of_another_version_is_refused_with_ours() {
    let mut asked = query("both.example.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    asked.set_edns(edns);
    let answer = ask(&zone(), &asked, Transport::Udp).await;
    // BADVERS shares its number with BADSIG (RFC 6895 §2.3).
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!(answer.edns.unwrap().version(), 0);
    assert!(answer.answers.is_empty());
}

#[tokio::test]
async fn answer_is_cut_to_what_its_transport_carries() {
    let many: Vec<String> = (1..=200).map(|n| format!("2001:db8::{n:x}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let zone = Known::default().with("many.example", &many);
    let asked = query("many.example.", RecordType::AAAA);
    for (payload, transport, limit, complete) in [
        (None, Transport::Udp, 512, false),
        (Some(100), Transport::Udp, 512, false),
        (Some(800), Transport::Udp, 800, false),
        (Some(65_535), Transport::Udp, 1232, false),
        (None, Transport::Tcp, 65_535, true),
    ] {
        let mut asked = asked.clone();
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            asked.set_edns(edns);
        }
        let bytes = answer(&asked.to_vec().unwrap(), transport, &zone)
            .await
            .unwrap();
        assert!(bytes.len() <= limit, "{payload:?}: {}", bytes.len());
        let answer = Message::from_vec(&bytes).unwrap();
        assert_eq!(answer.metadata.truncation, !complete, "{payload:?}");
        assert_eq!(answer.answers.len() == 200, complete, "{payload:?}");
        // Old resolvers take what they get: as much as fits.
        assert!(bytes.len() + 28 > limit || complete, "{payload:?}");
    }
}

#[tokio::test]
async fn what_is_no_query_gets_no_answer() {
    let mut response = query("both.example.", RecordType::A);
    response.metadata.message_type = MessageType::Response;
    let response = response.to_vec().unwrap();
    for bytes in [
        &[][..],
        &[1],
        &[1, 2],
        &response,
        &[1, 2, 0x80],
        &[1, 2, 0xff, 0],
    ] {
        assert_eq!(
            answer(bytes, Transport::Udp, &zone()).await,
            None,
            "{bytes:?}"
        );
    }
}

#[tokio::test]
async fn malformed_query_is_told_so_with_its_id() {
    let whole = query("both.example.", RecordType::A).to_vec().unwrap();
    for length in 3..whole.len() {
        let bytes = answer(&whole[..length], Transport::Udp, &zone())
            .await
            .unwrap();
        assert_eq!(
            bytes,
            [0x12, 0x34, 0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            "{length} bytes"
        );
    }
}

#[tokio::test]
async fn one_question_of_one_class_and_opcode_is_answered() {
    let mut none = query("both.example.", RecordType::A);
    none.queries.clear();
    let mut two = query("both.example.", RecordType::A);
    two.queries.push(two.queries[0].clone());
    let mut chaos = query("both.example.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let mut status = query("both.example.", RecordType::A);
    status.metadata.op_code = OpCode::Status;
    for (asked, code) in [
        (none, ResponseCode::FormErr),
        (two, ResponseCode::FormErr),
        (chaos, ResponseCode::Refused),
        (status, ResponseCode::NotImp),
    ] {
        let answer = ask(&zone(), &asked, Transport::Udp).await;
        assert_eq!(answer.metadata.response_code, code);
        assert!(answer.answers.is_empty());
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let answered = now(answer(&bytes, Transport::Udp, &zone()));
        if let Some(answered) = answered {
            prop_assert!(answered.len() <= 1232);
            prop_assert_eq!(&answered[..2], &bytes[..2]);
        }
    }

    #[test]
    fn any_damage_to_a_query_is_survived(
        damage in prop::collection::vec((0usize..64, any::<u8>()), 0..4),
    ) {
        let mut asked = query("both.example.", RecordType::A);
        asked.set_edns(Edns::new());
        let mut bytes = asked.to_vec().unwrap();
        for (at, byte) in damage {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        let answered = now(answer(&bytes, Transport::Udp, &zone()));
        prop_assert_eq!(answered.is_none(), bytes[2] & 0x80 != 0);
        if let Some(answered) = answered {
            prop_assert_eq!(&answered[..2], &bytes[..2]);
            let parsed = Message::from_vec(&answered).unwrap();
            prop_assert_eq!(parsed.metadata.message_type, MessageType::Response);
        }
    }

    #[test]
    fn any_query_is_answered_with_its_id_and_question(
        id: u16,
        labels in prop::collection::vec("[ -~]{1,63}", 0..4),
        kind: u16,
    ) {
        let kind = RecordType::from(kind);
        let name = Name::from_labels(labels.iter().map(String::as_bytes)).unwrap();
        let mut asked = Message::new(id, MessageType::Query, OpCode::Query);
        asked.add_query(Query::query(name, kind));
        let answered = now(answer(&asked.to_vec().unwrap(), Transport::Udp, &zone())).unwrap();
        let answered = Message::from_vec(&answered).unwrap();
        prop_assert_eq!(answered.metadata.id, id);
        prop_assert_eq!(answered.queries, asked.queries);
        prop_assert!(matches!(
            answered.metadata.response_code,
            ResponseCode::NXDomain | ResponseCode::NoError
        ));
        prop_assert!(answered.answers.iter().all(|record| !matches!(record.data, RData::NULL(_))));
    }
}

//! What is made of messages, sound and not.

use hickory_proto::{
    op::Edns,
    rr::{DNSClass, Name, RData},
};
use proptest::prelude::*;

use super::*;

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

/// As Go's resolver writes it (net/dnsclient_unix.go): A and AAAA from one socket, with EDNS for 1232 bytes, and the AD
/// bit since 1.20.
fn asked_by_go(id: u16, kind: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let [kind_high, kind_low] = kind.to_be_bytes();
    let mut bytes = vec![high, low, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
    bytes.extend(b"\x04many\x07example\0");
    bytes.extend([kind_high, kind_low, 0, 1]);
    bytes.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    bytes
}

#[tokio::test]
async fn go_is_answered_over_udp_and_then_over_tcp() {
    let many: Vec<String> = (1..=100).map(|n| format!("192.0.2.{n}")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    many.push("2001:db8::1");
    let zone = Known::default().with("many.example", &many);
    for (id, kind, transport, truncated, count) in [
        (7, 1, Transport::Udp, true, 74),
        (8, 28, Transport::Udp, false, 1),
        (7, 1, Transport::Tcp, false, 100),
    ] {
        let asked = asked_by_go(id, kind);
        let bytes = answer(&asked, transport, &zone).await.unwrap();
        assert!(transport == Transport::Tcp || bytes.len() <= 1232);
        let answer = Message::from_vec(&bytes).unwrap();
        assert_eq!(answer.metadata.id, id);
        assert_eq!(answer.metadata.truncation, truncated, "{kind}");
        assert_eq!(answer.answers.len(), count, "{kind}");
        // Go takes no answer whose question is not its own, and none that claims to be authentic for granted.
        assert_eq!(bytes[12..30], asked[12..30]);
        assert!(!answer.metadata.authentic_data);
        assert!(answer.edns.is_some());
    }
}

#[tokio::test]
async fn pointers_that_lead_nowhere_are_told_so() {
    for name in [
        // To itself, forwards, beyond the end, into the header, and to one that points back.
        &[0xc0, 12][..],
        &[0xc0, 200],
        &[0xc0, 20],
        &[0xc0, 0],
        &[1, b'a', 0xc0, 12],
        &[0xc0, 14, 0xc0, 12],
        // A kind of label that does not exist, and a label longer than the message.
        &[0x80, 0],
        &[0x3f, b'a', 0],
    ] {
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(name);
        bytes.extend([0, 1, 0, 1]);
        let bytes = answer(&bytes, Transport::Udp, &zone()).await.unwrap();
        let answer = Message::from_vec(&bytes).unwrap();
        assert_ne!(
            answer.metadata.response_code,
            ResponseCode::NoError,
            "{name:?}"
        );
        assert!(answer.answers.is_empty(), "{name:?}");
    }
}

#[tokio::test]
async fn second_edns_record_is_a_fault_and_unknown_options_are_not() {
    let mut whole = query("both.example.", RecordType::A).to_vec().unwrap();
    let cookie = [
        0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8,
    ];
    for (times, code) in [(1, ResponseCode::NoError), (2, ResponseCode::FormErr)] {
        whole[11] = times;
        whole.extend(cookie);
        let bytes = answer(&whole, Transport::Udp, &zone()).await.unwrap();
        let answer = Message::from_vec(&bytes).unwrap();
        assert_eq!(answer.metadata.response_code, code, "{times}");
    }
}

#[tokio::test]
async fn international_names_are_known_by_their_ascii_form() {
    let zone = Known::default().with("xn--bcher-kva.example", &["192.0.2.7"]);
    let asked = query("XN--bcher-KVA.example.", RecordType::A);
    assert_eq!(
        addresses(&ask(&zone, &asked, Transport::Udp).await),
        ["192.0.2.7"]
    );
}

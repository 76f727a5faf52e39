//! Requests that two readers may take for different ones, and what has to become of each.
//!
//! In a text `¶` is a line's proper end, `{h}` the host, `{g}` and `{p}` how a GET and a POST of `/a` begin, `{c}` a whole
//! request that the policy denies, and every other character the byte of its number.

use tests::witness::Parser;

use super::Outcome::{self, Carried, Refused, Silent};

/// What one connection sends.
#[derive(Debug)]
pub(super) struct Vector {
    pub(super) text: &'static str,
    pub(super) outcome: Outcome,
    /// Servers that may refuse what we let pass.
    pub(super) strict: &'static [Parser],
}

impl Vector {
    const fn strict(self, strict: &'static [Parser]) -> Self {
        Self { strict, ..self }
    }
}

/// A body that never ends.
pub(super) const CUT: &str = "…";

const fn v(text: &'static str, outcome: Outcome) -> Vector {
    Vector {
        text,
        outcome,
        strict: &[],
    }
}

const A: Outcome = Carried(&[("GET", "/a", "")], None);
const POST: Outcome = Carried(&[("POST", "/a", "hello")], None);
/// The request stands for itself; the one behind it is denied.
const A_ALONE: Outcome = Carried(&[("GET", "/a", "")], Some(403));
const POST_ALONE: Outcome = Carried(&[("POST", "/a", "")], Some(403));
/// The body is refused behind the head, which is on its way already.
const POST_CUT: Outcome = Carried(&[("POST", "/a", CUT)], Some(400));

/// Two lengths, or a length and chunks.
const LENGTHS: &[Vector] = &[
    v("{p}Content-Length: 5¶¶hello", POST),
    v(
        "{p}Content-Length: 5¶Transfer-Encoding: chunked¶¶0¶¶",
        Refused(400),
    ),
    v(
        "{p}Transfer-Encoding: chunked¶Content-Length: 50¶¶0¶¶{c}",
        Refused(400),
    ),
    v(
        "{p}Content-Length: 5¶Content-Length: 5¶¶hello",
        Refused(400),
    ),
    v("{p}Content-Length: 0¶Content-Length: 50¶¶{c}", Refused(400)),
    v("{p}Content-Length: 5, 5¶¶hello", Refused(400)),
    v("{p}Content-Length: 0, 50¶¶{c}", Refused(400)),
    v("{p}Content-Length: +5¶¶hello", Refused(400)),
    v("{p}Content-Length: -5¶¶hello", Refused(400)),
    v("{p}Content-Length: 0x5¶¶hello", Refused(400)),
    v("{p}Content-Length: 5 5¶¶hello", Refused(400)),
    v("{p}Content-Length: 5_0¶¶{c}", Refused(400)),
    v("{p}Content-Length: 5.0¶¶hello", Refused(400)),
    v("{p}Content-Length: \"5\"¶¶hello", Refused(400)),
    v("{p}Content-Length: ²¶¶hello", Refused(400)),
    v("{p}Content-Length: \u{b}5¶¶hello", Refused(400)),
    v("{p}Content-Length:¶¶{c}", Refused(400)),
    v("{p}Content-Length: 18446744073709551616¶¶{c}", Refused(400)),
    v("{p}Content-Length : 5¶¶hello", Refused(400)),
    v("{p}\u{a0}Content-Length: 5¶¶hello", Refused(400)),
    v("{p}Content-Length: 005¶¶hello", POST),
    v("{p}Content-Length:\t5¶¶hello", Refused(400)),
    v("{p}Content-Length: 5 \t¶¶hello", Refused(400)),
    v("{p}Content-Length: 5 ¶¶hello", POST),
    v("{p}Content_Length: 50¶¶{c}", POST_ALONE),
    v("{p}X-Content-Length: 50¶¶{c}", POST_ALONE),
    v(
        "{p}Connection: close, Content-Length¶Content-Length: 5¶¶hello",
        Refused(400),
    ),
    v(
        "{p}Content-Length: 9999¶¶{c}",
        Carried(&[("POST", "/a", CUT)], None),
    )
    // It answers a body that its client cuts.
    .strict(&[Parser::Node]),
];

/// Codings that are nearly chunked.
const CODINGS: &[Vector] = &[
    v("{p}Transfer-Encoding: chunked¶¶5¶hello¶0¶¶", POST),
    v("{p}transfer-ENCODING: Chunked¶¶5¶hello¶0¶¶", POST),
    v("{p}Transfer-Encoding:\tchunked¶¶5¶hello¶0¶¶", Refused(400)),
    v("{p}Transfer-Encoding: chunked\t¶¶5¶hello¶0¶¶", Refused(400)),
    v("{p}Transfer-Encoding:chunked¶¶5¶hello¶0¶¶", POST),
    v("{p}Transfer-Encoding: xchunked¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding: chunkedx¶¶0¶¶{c}", Refused(400)),
    v(
        "{p}Transfer-Encoding: chunked, identity¶¶0¶¶{c}",
        Refused(400),
    ),
    v(
        "{p}Transfer-Encoding: identity, chunked¶¶0¶¶{c}",
        Refused(400),
    ),
    v("{p}Transfer-Encoding: gzip, chunked¶¶0¶¶{c}", Refused(400)),
    v(
        "{p}Transfer-Encoding: identity¶Content-Length: 50¶¶{c}",
        Refused(400),
    ),
    v("{p}Transfer-Encoding: identity¶¶{c}", Refused(400)),
    v(
        "{p}Transfer-Encoding: chunked¶Transfer-Encoding: chunked¶¶0¶¶{c}",
        Refused(400),
    ),
    v(
        "{p}Transfer-Encoding: chunked¶Transfer-Encoding: x¶¶0¶¶{c}",
        Refused(400),
    ),
    v(
        "{p}Transfer-Encoding:¶Transfer-Encoding: chunked¶¶0¶¶{c}",
        Refused(400),
    ),
    v("{p}Transfer-Encoding: ,chunked¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding: chunked,¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding: chunked;q=1¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding: \"chunked\"¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding: chun ked¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding: \u{b}chunked¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding: chunked\u{0}¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding: chunked\u{a0}¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding : chunked¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding\t: chunked¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding¶¶0¶¶{c}", Refused(400)),
    v("{p}Transfer-Encoding:¶ chunked¶¶0¶¶{c}", Refused(400)),
    v("{p}X: y\nTransfer-Encoding: chunked¶¶0¶¶{c}", Refused(400)),
    v("{p}X: y\rTransfer-Encoding: chunked¶¶0¶¶{c}", Refused(400)),
    v(
        "{p}Connection: Transfer-Encoding¶Transfer-Encoding: chunked¶¶0¶¶",
        Refused(400),
    ),
    v(
        "POST /a HTTP/1.0¶Host: {h}¶Transfer-Encoding: chunked¶¶0¶¶{c}",
        Refused(400),
    ),
    v("{p}Transfer_Encoding: chunked¶¶{c}", POST_ALONE),
];

/// Chunks, extensions and trailers.
const CHUNKS: &[Vector] = &[
    v("{p}Transfer-Encoding: chunked¶¶2¶he¶0003¶llo¶000¶¶", POST),
    v("{p}Transfer-Encoding: chunked¶¶5;a=b¶hello¶0;c¶¶", POST),
    v("{p}Transfer-Encoding: chunked¶¶5¶hello¶0¶X-Sum: 1¶¶", POST),
    v("{p}Transfer-Encoding: chunked¶¶0x5¶hello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶+5¶hello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶-5¶hello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶ 5¶hello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶5 ¶hello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶5\t¶hello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶5_0¶hello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶5,5¶hello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶¶hello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶;a¶hello¶0¶¶", POST_CUT),
    v(
        "{p}Transfer-Encoding: chunked¶¶10000000000000005¶hello¶0¶¶{c}",
        POST_CUT,
    ),
    v(
        "{p}Transfer-Encoding: chunked¶¶00000000000000005¶hello¶0¶¶{c}",
        POST_CUT,
    ),
    v("{p}Transfer-Encoding: chunked¶¶5\nhello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶5\rhello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶5¶hello\n0¶¶{c}", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶5¶hello0¶¶{c}", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶5¶helloXX0¶¶{c}", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶2;\nxx¶4c¶0¶¶{c}", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶5;a\rb¶hello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶5;\u{0}¶hello¶0¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶0¶{c}", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶0\n\n{c}", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶0¶\n{c}", POST_CUT),
    v(
        "{p}Transfer-Encoding: chunked¶¶0¶Content-Length: 50¶¶{c}",
        POST_CUT,
    ),
    v(
        "{p}Transfer-Encoding: chunked¶¶0¶transfer-encoding: chunked¶¶{c}",
        POST_CUT,
    ),
    v(
        "{p}Transfer-Encoding: chunked¶¶0¶Host: evil.example¶¶",
        POST_CUT,
    ),
    v("{p}Transfer-Encoding: chunked¶¶0¶X : y¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶0¶X: y¶ z¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶0¶X: y\nZ: z¶¶", POST_CUT),
    v("{p}Transfer-Encoding: chunked¶¶0¶: y¶¶", POST_CUT),
];

/// Ends of lines, folds, and bytes that are no text.
const LINES: &[Vector] = &[
    v("{g}¶", A),
    v("¶¶{g}¶", A),
    v("\nGET /a HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v(" GET /a HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("GET /a HTTP/1.1\nHost: {h}\n\n", Refused(400)),
    v("GET /a HTTP/1.1\nHost: {h}¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host: {h}\n¶", Refused(400)),
    v("{g}\n{c}", Refused(400)),
    v("{g}\r¶{c}", Refused(400)),
    v("GET /a HTTP/1.1\rHost: {h}\r\r", Silent),
    v("GET /a HTTP/1.1¶ Host: {h}¶¶", Refused(400)),
    v("{g} X: y¶¶", Refused(400)),
    v("{g}X: y¶\tz¶¶", Refused(400)),
    v("{g}X: y¶ ¶{c}", Refused(400)),
    v("{g}X: a\u{0}b¶¶", Refused(400)),
    v("{g}X: a\u{1}b¶¶", Refused(400)),
    v("{g}X: a\u{7f}b¶¶", Refused(400)),
    v("{g}X: a\rb¶¶", Refused(400)),
    v("{g}X: grüße\tdu¶¶", A),
    v("{g}X:¶¶", A),
    v("{g}X\u{0}: y¶¶", Refused(400)),
    v("{g}Ü: y¶¶", Refused(400)),
    v("{g}X : y¶¶", Refused(400)),
    v("{g}X y: z¶¶", Refused(400)),
    v("{g}X(y): z¶¶", Refused(400)),
    v("{g}\"X\": z¶¶", Refused(400)),
    v("{g}X[y]: z¶¶", Refused(400)),
    v("{g}X/y: z¶¶", Refused(400)),
    v("{g}: y¶¶", Refused(400)),
    v("{g}no colon¶¶", Refused(400)),
];

/// First lines.
const FIRST_LINES: &[Vector] = &[
    v("GET  /a HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("GET\t/a\tHTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("GET /a  HTTP/1.1¶Host: {h}¶¶", Refused(505)),
    v("GET /a HTTP/1.1 ¶Host: {h}¶¶", Refused(400)),
    v("GET /a /canary HTTP/1.1¶Host: {h}¶¶", Refused(505)),
    v("GET /a\u{0} HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("GET /ü HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("GET /a¶¶", Refused(400)),
    v("GET /a¶Host: {h}¶¶", Refused(400)),
    v("GET /a http/1.1¶Host: {h}¶¶", Refused(505)),
    v("GET /a HTTP/1.2¶Host: {h}¶¶", Refused(505)),
    v("GET /a HTTP/2.0¶Host: {h}¶¶", Refused(505)),
    v("GET /a HTTP/0.9¶Host: {h}¶¶", Refused(505)),
    v("GET /a HTTP/1.10¶Host: {h}¶¶", Refused(400)),
    v("GET /a HTTP/01.1¶Host: {h}¶¶", Refused(505)),
    v("GET /a ICY/1.1¶Host: {h}¶¶", Refused(505)),
    v("PRI * HTTP/2.0¶¶SM¶¶", Refused(505)),
    v("G@T /a HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("G\u{0}T /a HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("TRACE /a HTTP/1.1¶Host: {h}¶¶", Refused(405)),
    v("CONNECT {h}:443 HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("CONNECT /a HTTP/1.1¶Host: {h}¶¶{c}", Refused(400)),
    v(
        "HEAD /a HTTP/1.1¶Host: {h}¶¶",
        Carried(&[("HEAD", "/a", "")], None),
    ),
    v("GET /a HTTP/1.0¶Host: {h}¶¶{c}", A),
    v(
        "GET /a HTTP/1.0¶Host: {h}¶Connection: keep-alive¶¶{c}",
        A_ALONE,
    ),
];

/// Addressees.
const HOSTS: &[Vector] = &[
    v("GET /a HTTP/1.1¶¶", Refused(400)),
    v("GET /a HTTP/1.0¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host:¶¶", Refused(400)),
    v("{g}Host: {h}¶¶", Refused(400)),
    v("{g}Host: evil.example¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host: {h}, evil.example¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host: {h} evil.example¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host: evil.example@{h}¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host: {h}:443@evil.example¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host: {h}/x¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host: {h}#x¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host: {h}:¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host: {h}:+443¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host: [::1]¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host : {h}¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Connection: Host¶Host: {h}¶¶", Refused(400)),
    v("GET /a HTTP/1.1¶Host: {h}:8443¶¶", Refused(421)),
    v("GET /a HTTP/1.1¶Host: evil.example¶¶", Refused(421)),
    v("GET /a HTTP/1.1¶Host: x.{h}¶¶", Refused(421)),
    v("GET /a HTTP/1.1¶Host: {h}.evil.example¶¶", Refused(421)),
    v("GET /a HTTP/1.1¶Host: {h}:443¶¶", A),
    v("GET /a HTTP/1.1¶Host: {h}.¶¶", A),
    v(
        "GET https://{h}/a HTTP/1.1¶Host: {h}¶¶",
        Carried(&[("GET", "https://{h}/a", "")], None),
    ),
    v(
        "GET https://{h}/a HTTP/1.1¶Host: evil.example¶¶",
        Refused(400),
    ),
    v(
        "GET https://evil.example/a HTTP/1.1¶Host: {h}¶¶",
        Refused(400),
    ),
    v(
        "GET https://evil.example/a HTTP/1.1¶Host: evil.example¶¶",
        Refused(421),
    ),
    v("GET http://{h}/a HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v(
        "GET https://evil.example@{h}/a HTTP/1.1¶Host: {h}¶¶",
        Refused(400),
    ),
    v("GET https:/{h}/a HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v(
        "GET https://{h}\\@evil.example/a HTTP/1.1¶Host: {h}¶¶",
        Refused(400),
    ),
    v("GET https://{h}/canary HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v(
        "{g}¶GET /a HTTP/1.1¶Host: evil.example¶¶",
        Carried(&[("GET", "/a", "")], Some(421)),
    ),
];

/// Targets that some servers take for a denied one.
const TARGETS: &[Vector] = &[
    v("{c}", Refused(403)),
    v("GET /%63anary HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v("GET /canary?x HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v("GET /canary/ HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v("GET /canary;x HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v("GET /a/../canary HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v("GET /./canary HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v("GET //canary HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v("GET /a/%2e%2e/canary HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v("GET /a\\..\\canary HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v(
        "GET /%2563anary HTTP/1.1¶Host: {h}¶¶",
        Carried(&[("GET", "/%2563anary", "")], None),
    ),
    v("GET /canary%00 HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v("GET /canary%2f HTTP/1.1¶Host: {h}¶¶", Refused(403)),
    v(
        "GET /canary%20 HTTP/1.1¶Host: {h}¶¶",
        Carried(&[("GET", "/canary%20", "")], None),
    ),
    v("GET canary HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("GET ?canary HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("GET \\canary HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("GET * HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v("GET /a#/../canary HTTP/1.1¶Host: {h}¶¶", Refused(400)),
    v(
        "GET /a?x=/../canary HTTP/1.1¶Host: {h}¶¶",
        Carried(&[("GET", "/a?x=/../canary", "")], None),
    ),
];

/// Several requests on a connection, and protocols that one may turn into.
const SEQUENCES: &[Vector] = &[
    v(
        "{g}¶GET /b HTTP/1.1¶Host: {h}¶¶",
        Carried(&[("GET", "/a", ""), ("GET", "/b", "")], None),
    ),
    v("{g}¶{c}", A_ALONE),
    v("{g}Connection: close¶¶{c}", A),
    v("{g}Connection: x, CLOSE¶¶{c}", A),
    v("{g}Connection: keep-alive, close¶¶{c}", A),
    v("{p}Content-Length: 0¶¶{c}", POST_ALONE),
    v("{p}¶{c}", POST_ALONE),
    v(
        "{p}Content-Length: 5¶¶hello¶GET /b HTTP/1.1¶Host: {h}¶¶",
        Carried(&[("POST", "/a", "hello"), ("GET", "/b", "")], None),
    ),
    v(
        "{p}Content-Length: 5¶¶hello{c}",
        Carried(&[("POST", "/a", "hello")], Some(403)),
    ),
    v(
        "{p}Content-Length: 5¶¶hello, and more¶¶",
        Carried(&[("POST", "/a", "hello")], Some(400)),
    ),
    v(
        "{p}Content-Length: 5¶¶hello\n\n",
        Carried(&[("POST", "/a", "hello")], Some(400)),
    ),
    v("{p}Transfer-Encoding: chunked¶¶0¶¶{c}", POST_ALONE),
    v(
        "{p}Transfer-Encoding: chunked¶¶5¶hello¶0¶¶¶{c}",
        Carried(&[("POST", "/a", "hello")], Some(403)),
    ),
    v(
        "{g}Content-Length: 5¶¶hello{c}",
        Carried(&[("GET", "/a", "hello")], Some(403)),
    ),
    v(
        "{g}Transfer-Encoding: chunked¶¶5¶hello¶0¶¶{c}",
        Carried(&[("GET", "/a", "hello")], Some(403)),
    ),
    v(
        "HEAD /a HTTP/1.1¶Host: {h}¶¶{c}",
        Carried(&[("HEAD", "/a", "")], Some(403)),
    ),
    v(
        "HEAD /a HTTP/1.1¶Host: {h}¶Content-Length: 5¶¶hello{c}",
        Carried(&[("HEAD", "/a", "hello")], Some(403)),
    ),
    v(
        "DELETE /a HTTP/1.1¶Host: {h}¶Content-Length: 5¶¶hello{c}",
        Carried(&[("DELETE", "/a", "hello")], Some(403)),
    ),
    v("{p}Expect: 100-continue¶Content-Length: 5¶¶hello", POST),
    v(
        "{p}Expect: 100-continue¶Transfer-Encoding: chunked¶¶5¶hello¶0¶¶",
        POST,
    ),
    v(
        "{g}Connection: Upgrade, HTTP2-Settings¶Upgrade: h2c¶HTTP2-Settings: AAMAAABkAAQAAP__¶¶{c}",
        A_ALONE,
    ),
    v("{g}Connection: Upgrade¶Upgrade: tcp¶¶{c}", Refused(403)),
    v(
        "{g}Connection: Upgrade¶Upgrade: h2c, websocket¶¶{c}",
        Refused(403),
    ),
    v(
        "{g}Connection: Upgrade¶Upgrade: websocket¶¶{c}",
        Refused(426),
    ),
    v(
        "{p}Connection: Upgrade¶Upgrade: websocket¶Content-Length: 5¶¶hello",
        Refused(400),
    ),
    v(
        "{g}X-Original-URL: /canary¶X-HTTP-Method-Override: DELETE¶¶",
        A,
    ),
];

pub(super) fn all() -> impl Iterator<Item = &'static Vector> {
    [
        LENGTHS,
        CODINGS,
        CHUNKS,
        LINES,
        FIRST_LINES,
        HOSTS,
        TARGETS,
        SEQUENCES,
    ]
    .into_iter()
    .flatten()
}

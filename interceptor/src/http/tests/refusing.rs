//! What must not reach the server, and what must not reach the client.

use super::peer::{HOST, Rig};
use crate::{
    http::{End, Refusal},
    policy::{Judgement, RequestView},
};

/// Requests that two servers are known to read differently: (request, status, error).
const SMUGGLING: [(&str, u16, &str); 24] = [
    (
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        400,
        "malformed_request",
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        400,
        "malformed_request",
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: xchunked\r\n\r\n",
        400,
        "malformed_request",
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding : chunked\r\n\r\n",
        400,
        "malformed_request",
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding:\x0bchunked\r\n\r\n",
        400,
        "malformed_request",
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n",
        400,
        "malformed_request",
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n",
        400,
        "malformed_request",
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nX: y\nContent-Length: 3\r\n\r\nabc",
        400,
        "malformed_request",
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: +3\r\n\r\nabc",
        400,
        "malformed_request",
    ),
    (
        "POST / HTTP/1.0\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "malformed_request",
    ),
    (
        "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: Content-Length\r\n\r\n",
        400,
        "malformed_request",
    ),
    (
        "GET / HTTP/1.1\nHost: api.example.com\n\n",
        400,
        "malformed_request",
    ),
    ("GET / HTTP/1.1\r\n\r\n", 400, "malformed_request"),
    ("GET / HTTP/1.0\r\n\r\n", 400, "malformed_request"),
    (
        "GET / HTTP/1.1\r\nHost: api.example.com\r\nHost: evil.example\r\n\r\n",
        400,
        "malformed_request",
    ),
    (
        "GET / HTTP/1.1\r\nHost: api.example.com@evil.example\r\n\r\n",
        400,
        "malformed_request",
    ),
    (
        "GET https://evil.example/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        400,
        "malformed_request",
    ),
    (
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        400,
        "malformed_request",
    ),
    (
        "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        421,
        "authority_mismatch",
    ),
    (
        "GET / HTTP/1.1\r\nHost: api.example.com:8443\r\n\r\n",
        421,
        "authority_mismatch",
    ),
    (
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        505,
        "version_not_supported",
    ),
    (
        "TRACE / HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        405,
        "method_refused",
    ),
    (
        "WEBSOCKET_TEXT / HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        405,
        "method_refused",
    ),
    (
        "GET https://api.example.com\\admin/public HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        400,
        "malformed_request",
    ),
];

#[tokio::test]
async fn smuggling_is_refused_and_the_server_is_sent_nothing() {
    for (request, status, error) in SMUGGLING {
        let mut rig = Rig::new();
        rig.ask(request).await;
        assert_eq!(
            rig.refused().await,
            (status, error.to_owned()),
            "{request:?}"
        );
        assert!(
            matches!(rig.end().await, Ok(End::Refused(_))),
            "{request:?}"
        );
    }
}

#[tokio::test]
async fn a_second_request_with_another_host_is_refused() {
    let mut rig = Rig::new();
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    rig.pass(request, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    rig.ask("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        .await;
    assert_eq!(rig.refused().await, (421, "authority_mismatch".to_owned()));
}

#[tokio::test]
async fn the_answer_to_a_refused_head_has_no_body() {
    let mut rig = Rig::new();
    rig.ask("HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        .await;
    rig.server_ends_with("").await;
    let response = super::peer::rest(&mut rig.client).await;
    assert!(
        response.starts_with("HTTP/1.1 421 ") && response.ends_with("\r\n\r\n"),
        "{response}"
    );
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let fields: String = (0..300).map(|n| format!("x-{n}: y\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
        "a".repeat(65 * 1024)
    );
    for request in [many, long] {
        let mut rig = Rig::with(128 * 1024, Box::new(|_| Judgement::Allow), b"");
        rig.ask(request).await;
        assert_eq!(
            rig.refused().await,
            (431, "request_head_too_large".to_owned())
        );
    }
}

#[tokio::test]
async fn a_malformed_body_is_refused_before_its_end_reaches_the_server() {
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut rig = Rig::new();
    rig.ask(format!("{head}3\r\nabc\r\n")).await;
    rig.server_gets(format!("{head}3\r\nabc\r\n")).await;
    rig.ask("3\nabc\r\n0\r\n\r\n").await;
    assert_eq!(rig.refused().await, (400, "malformed_request".to_owned()));
}

#[tokio::test]
async fn methods_are_the_policys_to_decide() {
    let judge = |request: &RequestView<'_>| match request.method {
        "GET" => Judgement::Allow,
        "PUT" => Judgement::Audit("example/read-only".into()),
        _ => Judgement::Deny("example/read-only allows no such method".into()),
    };
    let request = |method: &str| format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let mut rig = Rig::with(4096, Box::new(judge), b"");
    rig.pass(request("GET"), ok).await;
    rig.pass(request("PUT"), ok).await;
    rig.ask(request("DELETE")).await;
    assert_eq!(rig.refused().await, (403, "policy_denied".to_owned()));
    assert!(matches!(
        rig.end().await,
        Ok(End::Refused(Refusal::Denied(_)))
    ));
}

#[tokio::test]
async fn malformed_responses_never_reach_the_client() {
    let responses = [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 600 X\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "hello\r\n",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ];
    for response in responses {
        let mut rig = Rig::new();
        let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        rig.ask(&request).await;
        rig.server_gets(&request).await;
        rig.answer(response).await;
        rig.answer("\r\n\r\n").await;
        assert_eq!(
            rig.refused().await,
            (502, "malformed_response".to_owned()),
            "{response:?}"
        );
    }
}

#[tokio::test]
async fn interim_responses_are_bounded() {
    let mut rig = Rig::new();
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    rig.ask(&request).await;
    rig.server_gets(&request).await;
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    rig.answer(interim.repeat(65)).await;
    rig.client_gets(interim.repeat(64)).await;
    assert_eq!(rig.refused().await, (502, "malformed_response".to_owned()));
}

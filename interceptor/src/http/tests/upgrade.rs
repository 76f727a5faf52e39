//! Switching protocols: to WebSocket when both sides properly agree, to nothing else.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::peer::{HOST, Rig, SECRET, TOKEN, exchange, release};
use crate::{
    http::End,
    policy::{Judgement, RequestView},
    rewrite::{reflection::Reflection, standing::Revoked},
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn request(fields: &str) -> String {
    format!(
        "GET /gateway HTTP/1.1\r\nHost: {HOST}\r\nConnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{fields}\r\n"
    )
}

fn switching(fields: &str) -> String {
    let accept = derive_accept_key(KEY.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
    )
}

/// A text message as a client sends it, masked.
fn client_frame(text: &str) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()];
    frame.extend_from_slice(&mask);
    frame.extend(
        text.bytes()
            .zip(mask.into_iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

fn server_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, u8::try_from(text.len()).unwrap()];
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[tokio::test]
async fn a_proper_switch_carries_frames_both_ways() {
    let mut rig = Rig::new();
    rig.pass(request(""), switching("")).await;
    rig.pass(client_frame("hello"), server_frame("hi")).await;
    assert_eq!(rig.stats.facts().protocol, Some("websocket"));
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_go_first() {
    let mut rig = Rig::new();
    rig.ask([request("").as_bytes(), &client_frame("early")].concat())
        .await;
    rig.server_gets(request("")).await;
    rig.answer([switching("").as_bytes(), &server_frame("first")].concat())
        .await;
    rig.client_gets([switching("").as_bytes(), &server_frame("first")].concat())
        .await;
    rig.server_gets(client_frame("early")).await;
    rig.pass(client_frame("late"), server_frame("second")).await;
}

#[tokio::test]
async fn the_handshake_loses_what_is_not_understood_and_carries_its_secret() {
    let offer = |token: &str, extensions: &str| {
        request(&format!(
            "{extensions}Authorization: Bot {token}\r\nSec-WebSocket-Protocol: {TOKEN}\r\n"
        ))
    };
    let mut rig = Rig::new();
    rig.ask(offer(
        TOKEN,
        "Sec-WebSocket-Extensions: x-webkit-deflate-frame\r\n\
         sec-websocket-extensions: x-other; y=1, permessage-deflate; client_max_window_bits\r\n",
    ))
    .await;
    rig.server_gets(offer(
        SECRET,
        "sec-websocket-extensions: permessage-deflate; client_max_window_bits; \
         server_no_context_takeover\r\n",
    ))
    .await;
}

/// `{"op":2,"d":{"token":"openshell:resolve:env:TOKEN"}}`, or another token, compressed into one block.
fn compressed_frame(token: &str) -> Vec<u8> {
    let text = format!(r#"{{"op":2,"d":{{"token":"{token}"}}}}"#);
    let length = u8::try_from(text.len()).unwrap();
    // A stored block, which the empty one follows whose end is taken off (RFC 7692 §7.2.3.3).
    let block = [&[0, length, 0, !length, 0xff], text.as_bytes(), &[0]].concat();
    let mut frame = vec![0xc1, 0x80 | u8::try_from(block.len()).unwrap(), 0, 0, 0, 0];
    frame.extend(block);
    frame
}

#[tokio::test]
async fn compression_that_both_sides_agree_on_passes_unchanged_if_nothing_is_rewritten() {
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    let mut rig = Rig::new();
    rig.pass(request(deflate), switching(deflate)).await;
    let compressed = [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    rig.pass(compressed_frame(TOKEN), compressed).await;
}

#[tokio::test]
async fn client_is_told_that_its_messages_stand_alone_where_they_may_be_rewritten() {
    let header = |parameters: &str| {
        format!(
            "Sec-WebSocket-Extensions:permessage-deflate; server_no_context_takeover{parameters}\r\n\
             X-Other: 1\r\n"
        )
    };
    for (answered, seen) in [
        ("", "; client_no_context_takeover"),
        (
            "; client_max_window_bits=9 ",
            "; client_max_window_bits=9; client_no_context_takeover",
        ),
        (
            "; client_no_context_takeover",
            "; client_no_context_takeover",
        ),
    ] {
        let mut rig = Rig::rewriting_messages();
        let asked = request(&header("; client_max_window_bits"));
        rig.ask(&asked).await;
        rig.server_gets(&asked).await;
        rig.answer(switching(&header(answered))).await;
        rig.client_gets(switching(&header(seen))).await;
        rig.pass(compressed_frame("plain"), server_frame("hi"))
            .await;
        rig.ask(compressed_frame(TOKEN)).await;
        let plain = client_frame(&format!(r#"{{"op":2,"d":{{"token":"{SECRET}"}}}}"#));
        let mut sent = vec![0; plain.len()];
        rig.server.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent[..2], plain[..2], "not compressed");
    }
}

#[tokio::test]
async fn client_that_refuses_what_it_is_told_is_not_told_again_and_its_token_is_put_in() {
    let header =
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n".to_owned();
    let told = header.replace("\r\n", "; client_no_context_takeover\r\n");
    let memory = Arc::default();
    for seen in [&told, &header] {
        let mut rig = Rig::remembering(&memory);
        rig.ask(request(&header)).await;
        rig.server_gets(request(&header)).await;
        rig.answer(switching(&header)).await;
        rig.client_gets(switching(seen)).await;
        if *seen == told {
            drop(rig.client);
            // The server hears of it when it is noted.
            assert_eq!(rig.server.read(&mut [0]).await.unwrap(), 0);
            continue;
        }
        rig.pass(compressed_frame("plain"), server_frame("hi"))
            .await;
        rig.ask(compressed_frame(TOKEN)).await;
        let plain = client_frame(&format!(r#"{{"op":2,"d":{{"token":"{SECRET}"}}}}"#));
        let mut sent = vec![0; plain.len()];
        rig.server.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent[..2], plain[..2], "not compressed");
    }
}

#[tokio::test]
async fn a_refused_handshake_is_an_ordinary_answer() {
    let mut rig = Rig::new();
    for status in ["401 Unauthorized", "200 OK", "426 Upgrade Required"] {
        let response = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
        rig.pass(request(""), response).await;
    }
    rig.pass(request(""), switching("")).await;
    rig.pass(client_frame("hello"), server_frame("hi")).await;
}

#[tokio::test]
async fn an_improper_switch_is_refused_and_nothing_more_goes_either_way() {
    let accept = derive_accept_key(KEY.as_bytes());
    let answers = [
        "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
        switching("").replace(&accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOp="),
        switching("").replace("Upgrade: websocket\r\n", ""),
        switching("").replace("Upgrade: websocket", "Upgrade: h2c"),
        switching("").replace("Connection: Upgrade\r\n", ""),
        switching("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        switching("Sec-WebSocket-Protocol: unasked\r\n"),
        switching(&format!("Sec-WebSocket-Accept: {accept}\r\n")),
    ];
    for answer in answers {
        let mut rig = Rig::new();
        rig.ask([request("").as_bytes(), &client_frame("early")].concat())
            .await;
        rig.server_gets(request("")).await;
        rig.answer([answer.as_bytes(), &server_frame("first")].concat())
            .await;
        assert_eq!(
            rig.refused().await,
            (502, "websocket_handshake_failed".to_owned()),
            "{answer:?}"
        );
        assert!(matches!(rig.end().await, Ok(End::Refused(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_refused() {
    let asked = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let mut rig = Rig::new();
    rig.ask(&asked).await;
    rig.server_gets(&asked).await;
    rig.answer(switching("")).await;
    assert_eq!(
        rig.refused().await,
        (502, "unexpected_switching_protocols".to_owned())
    );
}

#[tokio::test]
async fn a_malformed_offer_never_reaches_the_server() {
    let offers = [
        request("").replace("GET", "POST"),
        request("").replace(" HTTP/1.1", " HTTP/1.0"),
        request("").replace("keep-alive, Upgrade", "keep-alive"),
        request("").replace(KEY, "c2hvcnQ="),
        request("").replace(KEY, "not base64 at all!!!!!!!"),
        request("").replace(&format!("Sec-WebSocket-Key: {KEY}\r\n"), ""),
        request(&format!("Sec-WebSocket-Key: {KEY}\r\n")),
        request("Content-Length: 5\r\n"),
        request("Transfer-Encoding: chunked\r\n"),
    ];
    for offer in offers {
        let mut rig = Rig::new();
        rig.ask(&offer).await;
        let (status, error) = rig.refused().await;
        assert_eq!(
            (status, error.as_str()),
            (400, "malformed_websocket_handshake"),
            "{offer:?}"
        );
    }
}

#[tokio::test]
async fn another_version_is_told_the_right_one() {
    let mut rig = Rig::new();
    rig.ask(request("").replace("Version: 13", "Version: 8"))
        .await;
    let response = super::peer::rest(&mut rig.client).await;
    assert!(response.starts_with("HTTP/1.1 426 "), "{response}");
    assert!(
        response.contains("\r\nSec-WebSocket-Version: 13\r\n"),
        "{response}"
    );
}

#[tokio::test]
async fn upgrades_to_anything_else_are_refused() {
    for upgrade in [
        "TLS/1.0",
        "websocket, h2c",
        "foo",
        "h2c, foo",
        "",
        "IRC/6.9",
    ] {
        let mut rig = Rig::new();
        rig.ask(format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n"
        ))
        .await;
        let refused = rig.refused().await;
        assert_eq!(refused, (403, "upgrade_refused".to_owned()), "{upgrade:?}");
    }
}

#[tokio::test]
async fn an_offer_of_cleartext_http2_is_taken_out() {
    let mut rig = Rig::new();
    rig.ask(format!(
        "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nHost: {HOST}\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n\
         Upgrade: h2c\r\nUser-Agent: Java-http-client/21\r\n\r\n"
    ))
    .await;
    rig.server_gets(format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: Java-http-client/21\r\n\r\n"
    ))
    .await;
}

#[tokio::test]
async fn a_secret_in_the_handshake_comes_back_neither_in_its_answer_nor_in_a_message() {
    let mut rig = Rig::new();
    rig.ask(request(&format!("Authorization: Bearer {TOKEN}\r\n")))
        .await;
    rig.server_gets(request(&format!("Authorization: Bearer {SECRET}\r\n")))
        .await;
    let echo = |token| switching(&format!("X-Was: Bearer {token}\r\n"));
    rig.answer(echo(SECRET)).await;
    rig.client_gets(echo(TOKEN)).await;
    rig.answer(server_frame(&format!("hello {SECRET}"))).await;
    rig.client_gets(server_frame(&format!("hello {TOKEN}")))
        .await;
    assert_eq!(rig.stats.redactions(), 2);
}

#[tokio::test]
async fn nothing_of_a_session_is_left_behind_it() {
    let held = Arc::new(());
    let left = Arc::downgrade(&held);
    let judge = move |_: &RequestView<'_>| {
        let _held = &held;
        Judgement::Allow
    };
    let mut rig = Rig::with(64 * 1024, Box::new(judge), b"");
    rig.pass(request(""), switching("")).await;
    rig.pass(client_frame("hello"), server_frame("hi")).await;
    assert!(left.upgrade().is_some());
    rig.end().await.unwrap();
    assert!(left.upgrade().is_none());
}

fn to_tcp(fields: &str) -> String {
    format!(
        "POST /attach HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: TCP\r\n{fields}\r\n"
    )
}

const TCP: &str = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

#[tokio::test]
async fn another_protocol_that_the_policy_allows_is_carried_unread_to_its_end() {
    let mut rig = Rig::new();
    let request = to_tcp("Content-Length: 2\r\n") + "{}";
    rig.pass(&request, TCP).await;
    rig.pass([0, 159, 146, 150].repeat(10_000), [7, 13, 10].repeat(9_000))
        .await;
    assert_eq!(rig.stats.facts().protocol, Some("upgraded"));
    rig.client.shutdown().await.unwrap();
    rig.server_ends_with("").await;
    rig.answer("last words").await;
    rig.server.shutdown().await.unwrap();
    rig.client_ends_with("last words").await;
    assert!(matches!(rig.end().await, Ok(End::Switched)));
}

#[tokio::test]
async fn a_secret_does_not_come_back_over_another_protocol_and_no_byte_waits_for_it() {
    let mut rig = Rig::new();
    rig.ask(to_tcp(&format!("Authorization: Bearer {TOKEN}\r\n")))
        .await;
    rig.server_gets(to_tcp(&format!("Authorization: Bearer {SECRET}\r\n")))
        .await;
    rig.answer(TCP).await;
    rig.client_gets(TCP).await;
    // Its beginning goes out once the server rests.
    rig.answer(&SECRET[..4]).await;
    rig.client_gets(&SECRET[..4]).await;
    rig.answer(format!("{} and {SECRET}.", &SECRET[4..])).await;
    let overlay = &TOKEN[..SECRET.len()];
    rig.client_gets(format!("{} and {overlay}.", &overlay[4..]))
        .await;
    // What was held goes before the end.
    rig.answer(&SECRET[..4]).await;
    rig.server.shutdown().await.unwrap();
    rig.client_ends_with(&SECRET[..4]).await;
}

#[tokio::test]
async fn a_reload_that_wants_redaction_is_heard_over_another_protocol() {
    let (mut exchange, shutdown) = exchange(Box::new(|_| Judgement::Allow));
    let reflection = Arc::new(Reflection::off());
    exchange.release = Arc::new(release().noted_in(&reflection));
    let mut rig = Rig::of(64 * 1024, exchange, shutdown);
    rig.ask(to_tcp(&format!("Authorization: Bearer {TOKEN}\r\n")))
        .await;
    rig.server_gets(to_tcp(&format!("Authorization: Bearer {SECRET}\r\n")))
        .await;
    for answer in [TCP, SECRET] {
        rig.answer(answer).await;
        rig.client_gets(answer).await;
    }
    reflection.turn_on();
    rig.answer(SECRET).await;
    rig.client_gets(&TOKEN[..SECRET.len()]).await;
    assert_eq!(rig.stats.redactions(), 1);
}

#[tokio::test]
async fn no_secret_is_kept_ready_over_another_protocol() {
    let (exchange, shutdown) = exchange(Box::new(|_| Judgement::Allow));
    let kept = Arc::downgrade(&exchange.release);
    let mut rig = Rig::of(64 * 1024, exchange, shutdown);
    rig.pass(to_tcp(""), TCP).await;
    rig.pass("hello", "hi").await;
    assert!(kept.upgrade().is_none());
}

#[tokio::test]
async fn a_switch_to_another_protocol_than_the_one_asked_for_is_refused() {
    for answer in ["websocket", "tcp, h2c", "udp", ""] {
        let mut rig = Rig::new();
        rig.ask(to_tcp("")).await;
        rig.server_gets(to_tcp("")).await;
        rig.answer(TCP.replace("tcp", answer)).await;
        let refused = rig.refused().await;
        let expected = (502, "unexpected_switching_protocols".to_owned());
        assert_eq!(refused, expected, "{answer:?}");
    }
}

#[tokio::test]
async fn a_switch_before_the_request_is_complete_is_refused() {
    let mut rig = Rig::new();
    let request = to_tcp("Content-Length: 9\r\n") + "half";
    rig.ask(&request).await;
    rig.server_gets(&request).await;
    rig.answer(TCP).await;
    let expected = (502, "unexpected_switching_protocols".to_owned());
    assert_eq!(rig.refused().await, expected);
}

#[tokio::test]
async fn a_reload_cuts_what_was_switched_to_another_protocol() {
    let (mut rig, reloads) = Rig::reloading();
    rig.pass(to_tcp(""), TCP).await;
    reloads.revoke(Revoked::Policy("gone".to_owned()));
    rig.client_ends_with("").await;
    assert!(matches!(rig.end().await, Ok(End::Refused(_))));
}

//! WebSockets on streams: asked for with an extended CONNECT, carried as any other WebSocket.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, ext::Protocol};
use http::{Request, Response};
use tokio::task::yield_now;

use super::peer::{Asked, Rig, all, get, noting, refusal, reset};
use crate::{
    http::{
        End,
        tests::peer::{HOST, Judge, OTHER, SECRET, TOKEN},
    },
    policy::{Judgement, RequestView},
    rewrite::{
        release::builder::{Builder, release},
        standing::reloads::{Reloads, reloads},
    },
    stats::connection::Direction::{ClientToServer, ServerToClient},
    websocket::takeover,
};

/// One peer's side of a WebSocket.
struct Wire {
    from: RecvStream,
    to: SendStream<Bytes>,
    got: Vec<u8>,
}

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const COMPRESSED: u8 = 0xc1;

impl Wire {
    fn new(from: RecvStream, to: SendStream<Bytes>) -> Self {
        let got = Vec::new();
        Self { from, to, got }
    }

    fn send(&mut self, bytes: impl Into<Bytes>) {
        self.to.send_data(bytes.into(), false).unwrap();
    }

    fn end(&mut self) {
        self.to.send_data(Bytes::new(), true).unwrap();
    }

    /// The next frame: its first byte, and its payload without the mask.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.take(2).await;
        let length = match head[1] & 0x7f {
            126 => {
                let length = self.take(2).await;
                usize::from(u16::from_be_bytes([length[0], length[1]]))
            }
            127 => {
                let length = self.take(8).await.try_into().unwrap();
                usize::try_from(u64::from_be_bytes(length)).unwrap()
            }
            length => usize::from(length),
        };
        let mask = match head[1] & 0x80 {
            0 => vec![0; 4],
            _ => self.take(4).await,
        };
        let payload = self.take(length).await;
        let mask = mask.into_iter().cycle();
        (
            head[0],
            payload.into_iter().zip(mask).map(|(a, b)| a ^ b).collect(),
        )
    }

    /// A text message, in one frame or several.
    async fn gets(&mut self, text: &str) {
        let (mut first, mut message) = self.frame().await;
        while first & 0x80 == 0 {
            let (next, payload) = self.frame().await;
            message.extend(payload);
            first |= next;
        }
        let message = String::from_utf8(message).unwrap();
        assert_eq!((first, &*message), (TEXT, text));
    }

    async fn gets_close(&mut self, code: u16, reason: &str) {
        let (first, payload) = self.frame().await;
        let expected = [&code.to_be_bytes(), reason.as_bytes()].concat();
        assert_eq!((first, payload), (CLOSE, expected));
    }

    async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.got.len() < count {
            let data = self.from.data().await.expect("more to come").unwrap();
            self.from
                .flow_control()
                .release_capacity(data.len())
                .unwrap();
            self.got.extend_from_slice(&data);
        }
        let rest = self.got.split_off(count);
        mem::replace(&mut self.got, rest)
    }

    /// The peer has ended its side, after nothing more.
    async fn ended(&mut self) {
        assert!(self.got.is_empty());
        assert_eq!(all(&mut self.from).await.unwrap(), b"");
    }
}

/// A frame of a client's, with a mask.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    let mask = mask.into_iter().cycle();
    frame.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    frame
}

fn says(text: &str) -> Vec<u8> {
    masked(TEXT, text.as_bytes())
}

fn answers(text: &str) -> Vec<u8> {
    frame(TEXT, text.as_bytes())
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[first, length], payload].concat()
}

fn identify(token: &str) -> String {
    format!(r#"{{"op":2,"d":{{"token":"{token}"}}}}"#)
}

fn connect(path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder()
        .method("CONNECT")
        .uri(format!("https://{HOST}{path}"))
        .header("sec-websocket-version", "13");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).unwrap();
    let websocket = Protocol::from_static("websocket");
    request.extensions_mut().insert(websocket);
    request
}

fn accepts(fields: &[(&str, &str)]) -> Response<()> {
    let mut answer = Response::builder();
    for (name, value) in fields {
        answer = answer.header(*name, *value);
    }
    answer.body(()).unwrap()
}

async fn rig() -> Rig {
    let discord = release().discord("TOKEN", SECRET.as_bytes());
    rig_of(allow(), discord, &Arc::default()).await.0
}

fn allow() -> Judge {
    Box::new(|_| Judgement::Allow)
}

/// With a server that takes extended CONNECTs, and a client that has heard of it.
async fn rig_of(
    judge: Judge,
    release: Builder,
    takeover: &Arc<takeover::Memory>,
) -> (Rig, Reloads) {
    let (mut exchange, shutdown, denied) = noting(judge);
    exchange.release = Arc::new(release.elsewhere("OTHER").build());
    exchange.takeover = Arc::clone(takeover);
    let (reloads, standing) = reloads();
    exchange.standing = standing;
    let rig = Rig::of((exchange, shutdown, denied), |server| {
        server.enable_connect_protocol();
    })
    .await;
    for _ in 0..100 {
        yield_now().await;
    }
    assert!(rig.client.is_extended_connect_protocol_enabled());
    (rig, reloads)
}

/// Both sides of a WebSocket, and the heads of its handshake as they were seen.
async fn open(
    rig: &mut Rig,
    request: Request<()>,
    answer: Response<()>,
) -> (Wire, Wire, Request<()>, Response<()>) {
    let (response, to_server) = rig.begin(request).await;
    let Asked {
        request,
        mut respond,
    } = rig.asked().await;
    let to_client = respond.send_response(answer, false).unwrap();
    let (request, from_client) = request.into_parts();
    let (response, from_server) = response.await.unwrap().into_parts();
    (
        Wire::new(from_server, to_server),
        Wire::new(from_client, to_client),
        Request::from_parts(request, ()),
        Response::from_parts(response, ()),
    )
}

async fn plainly(rig: &mut Rig) -> (Wire, Wire) {
    let (client, server, ..) = open(rig, connect("/", &[]), accepts(&[])).await;
    (client, server)
}

#[tokio::test]
async fn a_token_is_put_in_and_does_not_come_back() {
    let mut rig = rig().await;
    let asked = connect("/gateway?v=10", &[("sec-websocket-protocol", "a, b")]);
    let answer = accepts(&[("sec-websocket-protocol", "b"), ("x-server", "1")]);
    let (mut client, mut server, asked, answer) = open(&mut rig, asked, answer).await;
    assert_eq!(asked.method(), "CONNECT");
    assert_eq!(asked.uri(), &*format!("https://{HOST}/gateway?v=10"));
    let protocol = asked.extensions().get::<Protocol>().unwrap();
    assert_eq!(protocol.as_str(), "websocket");
    assert_eq!(asked.headers()["sec-websocket-version"], "13");
    assert_eq!(answer.headers()["sec-websocket-protocol"], "b");
    assert_eq!(answer.headers()["x-server"], "1");

    client.send(says(&identify(TOKEN)));
    server.gets(&identify(SECRET)).await;
    server.send(answers(r#"{"t":"READY"}"#));
    client.gets(r#"{"t":"READY"}"#).await;
    server.send(answers(&format!("hello {SECRET}")));
    client.gets(&format!("hello {TOKEN}")).await;
    assert_eq!(rig.stats.redactions(), 1);
    let facts = rig.stats.facts();
    assert_eq!(facts.protocol, Some("h2"));
    assert_eq!(facts.rewrites.into_values().collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_secret_in_the_handshake_comes_back_neither_in_its_answer_nor_in_a_message() {
    let bound = release().header("TOKEN", SECRET.as_bytes(), &["authorization"]);
    let (mut rig, _reloads) = rig_of(allow(), bound, &Arc::default()).await;
    let with = |token| format!("Bearer {token}");
    let asked = connect("/", &[("authorization", &with(TOKEN))]);
    let answer = accepts(&[("x-was", &with(SECRET))]);
    let (mut client, mut server, asked, answer) = open(&mut rig, asked, answer).await;
    assert_eq!(asked.headers()["authorization"], with(SECRET));
    assert_eq!(answer.headers()["x-was"], with(TOKEN));
    server.send(answers(&with(SECRET)));
    client.gets(&with(TOKEN)).await;
    assert_eq!(rig.stats.redactions(), 2);
}

#[tokio::test]
async fn messages_of_any_length_pass_at_the_pace_of_their_reader_and_their_bytes_count_once() {
    let mut rig = rig().await;
    let (mut client, mut server) = plainly(&mut rig).await;
    let long = "0123456789abcdef".repeat(40_000);
    client.send(says(&long));
    let mut frame = vec![TEXT, 127];
    frame.extend((long.len() as u64).to_be_bytes());
    frame.extend(long.as_bytes());
    server.send(frame);
    for _ in 0..100 {
        yield_now().await;
    }
    server.gets(&long).await;
    client.gets(&long).await;
    for direction in [ClientToServer, ServerToClient] {
        let bytes = rig.stats.bytes(direction);
        assert!(bytes > 640_000 && bytes < 660_000, "{bytes}");
    }
}

#[tokio::test]
async fn a_close_passes_with_its_code_and_both_sides_end() {
    let mut rig = rig().await;
    let (mut client, mut server) = plainly(&mut rig).await;
    client.send(masked(CLOSE, &1000u16.to_be_bytes()));
    server.gets_close(1000, "").await;
    server.send(frame(CLOSE, &1000u16.to_be_bytes()));
    server.end();
    client.gets_close(1000, "").await;
    client.ended().await;
    client.end();
    server.ended().await;
    assert!(rig.denied.lock().unwrap().is_empty());
    rig.pass(get("/")).await;
}

#[tokio::test]
async fn the_end_of_one_side_is_one_for_the_other() {
    let mut rig = rig().await;
    let (mut client, mut server) = plainly(&mut rig).await;
    client.send(says("last"));
    client.end();
    server.gets("last").await;
    server.ended().await;
    server.send(answers("words"));
    server.end();
    client.gets("words").await;
    client.ended().await;
}

#[tokio::test]
async fn a_reset_of_one_side_is_one_for_the_other() {
    let mut rig = rig().await;
    let (mut client, mut server) = plainly(&mut rig).await;
    client.to.send_reset(Reason::CANCEL);
    assert_eq!(reset(&mut server.to).await, Reason::CANCEL);
    let (mut client, mut server) = plainly(&mut rig).await;
    server.to.send_reset(Reason::INTERNAL_ERROR);
    assert_eq!(reset(&mut client.to).await, Reason::CANCEL);
    rig.pass(get("/")).await;
}

#[tokio::test]
async fn two_of_them_and_a_request_share_a_connection() {
    let mut rig = rig().await;
    let (mut client, mut server) = plainly(&mut rig).await;
    let (mut other_client, mut other_server) = plainly(&mut rig).await;
    client.send(says(&identify(TOKEN)));
    other_client.send(says("other"));
    rig.pass(get("/")).await;
    server.gets(&identify(SECRET)).await;
    other_server.gets("other").await;
    other_server.send(answers("fine"));
    other_client.gets("fine").await;
}

#[tokio::test]
async fn a_refused_message_ends_its_stream_with_1008_and_no_other() {
    let mut rig = rig().await;
    let (mut client, mut server) = plainly(&mut rig).await;
    let (mut other_client, mut other_server) = plainly(&mut rig).await;
    client.send(says(&identify(OTHER)));
    client
        .gets_close(1008, "credential_endpoint_mismatch")
        .await;
    client.ended().await;
    server.gets_close(1001, "").await;
    server.ended().await;
    client.end();
    server.end();
    other_client.send(says("other"));
    other_server.gets("other").await;
    rig.pass(get("/")).await;
    let denied = mem::take(&mut *rig.denied.lock().unwrap());
    assert_eq!(denied, ["credential_endpoint_mismatch"]);
}

#[tokio::test]
async fn the_policy_sees_a_get_and_what_it_calls_messages() {
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let judge: Judge = Box::new(move |request| {
        let denied = [("GET", "/no"), ("WEBSOCKET_TEXT", "/listen")];
        let shown = format!("{request:?}");
        noted.lock().unwrap().push(request.method.to_owned());
        if denied
            .iter()
            .any(|(method, path)| shown == format!("{:?}", RequestView::new(method, path)))
        {
            Judgement::Deny("no rule".to_owned())
        } else {
            Judgement::Allow
        }
    });
    let (mut rig, _reloads) = rig_of(judge, release(), &Arc::default()).await;
    let refused = rig.refused(connect("/no", &[])).await;
    assert_eq!(refused, (403, "policy_denied".to_owned()));
    let asked = connect("/listen", &[]);
    let (mut client, mut server, ..) = open(&mut rig, asked, accepts(&[])).await;
    server.send(answers("heard"));
    client.gets("heard").await;
    client.send(says("unheard"));
    client.gets_close(1008, "policy_denied").await;
    server.gets_close(1001, "").await;
    assert_eq!(*seen.lock().unwrap(), ["GET", "GET", "WEBSOCKET_TEXT"]);
}

#[tokio::test]
async fn where_the_server_takes_none_the_client_is_not_told_and_refused() {
    let mut rig = Rig::new().await;
    rig.pass(get("/")).await;
    assert!(!rig.client.is_extended_connect_protocol_enabled());
    let error = rig.ask(connect("/", &[])).await.await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
    assert!(rig.asked.try_recv().is_err());
    rig.pass(get("/")).await;
}

#[tokio::test]
async fn what_does_not_ask_properly_for_a_websocket_is_refused() {
    let mut rig = rig().await;
    let mut other = connect("/", &[]);
    let protocol = Protocol::from_static("connect-udp");
    other.extensions_mut().insert(protocol);
    let mut plain = connect("/", &[]);
    plain.extensions_mut().clear();
    *plain.uri_mut() = format!("{HOST}:443").parse().unwrap();
    let mut unversioned = connect("/", &[]);
    unversioned.headers_mut().clear();
    let mut elsewhere = connect("/", &[]);
    *elsewhere.uri_mut() = "https://evil.example/".parse().unwrap();
    let handshake = "malformed_websocket_handshake";
    for (request, status, error) in [
        (other, 501, "upgrade_refused"),
        (plain, 400, "malformed_request"),
        (unversioned, 426, handshake),
        (connect("/", &[("content-length", "0")]), 400, handshake),
        (elsewhere, 421, "authority_mismatch"),
    ] {
        let shown = format!("{request:?}");
        let refused = rig.refused(request).await;
        assert_eq!(refused, (status, error.to_owned()), "{shown}");
        assert_eq!(rig.denied.lock().unwrap().pop(), Some(error), "{shown}");
    }
    plainly(&mut rig).await;
}

#[tokio::test]
async fn an_answer_to_something_else_is_refused() {
    for field in [
        ("sec-websocket-protocol", "unasked"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ] {
        let mut rig = rig().await;
        let (response, _to_server) = rig.begin(connect("/", &[])).await;
        let mut asked = rig.asked().await;
        let mut to_client = asked.respond.send_response(accepts(&[field]), false);
        let refused = refusal(response.await.unwrap()).await;
        let expected = (502, "websocket_handshake_failed".to_owned());
        assert_eq!(refused, expected, "{field:?}");
        let to_client = to_client.as_mut().unwrap();
        assert_eq!(reset(to_client).await, Reason::CANCEL);
    }
}

#[tokio::test]
async fn a_refused_handshake_is_an_ordinary_answer_and_nothing_of_the_clients_goes_on() {
    let mut rig = rig().await;
    let (response, mut to_server) = rig.begin(connect("/", &[])).await;
    let early = says(&identify(TOKEN)).into();
    to_server.send_data(early, false).unwrap();
    let Asked {
        request,
        mut respond,
    } = rig.asked().await;
    let refused = Response::builder().status(401).body(()).unwrap();
    let mut body = respond.send_response(refused, false).unwrap();
    body.send_data("who are you?".into(), true).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    assert_eq!(head.status, 401);
    assert_eq!(all(&mut body).await.unwrap(), b"who are you?");
    assert_eq!(all(&mut request.into_body()).await.unwrap(), b"");
    plainly(&mut rig).await;
}

/// A stored block, which the empty one follows whose end is taken off (RFC 7692 §7.2.3.3).
fn compressed(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0, length, 0, !length, 0xff], text.as_bytes(), &[0]].concat()
}

#[tokio::test]
async fn compressed_messages_are_looked_into_and_other_extensions_are_taken_out() {
    let discord = || release().discord("TOKEN", SECRET.as_bytes());
    let memory = Arc::default();
    let alone = "permessage-deflate; server_no_context_takeover";
    for told in [true, false] {
        let (mut rig, _reloads) = rig_of(allow(), discord(), &memory).await;
        let mut asked = connect(
            "/",
            &[(
                "sec-websocket-extensions",
                "x-other; y=1, permessage-deflate",
            )],
        );
        let fields = asked.headers_mut();
        fields.append("sec-websocket-extensions", "x-third".parse().unwrap());
        let answer = accepts(&[("sec-websocket-extensions", alone)]);
        let (mut client, mut server, asked, answer) = open(&mut rig, asked, answer).await;
        let offered = asked.headers().get_all("sec-websocket-extensions");
        assert_eq!(offered.iter().collect::<Vec<_>>(), [alone]);
        let agreed = answer.headers()["sec-websocket-extensions"].to_str();
        if told {
            let expected = format!("{alone}; client_no_context_takeover");
            assert_eq!(agreed.unwrap(), expected);
        } else {
            assert_eq!(agreed.unwrap(), alone);
        }
        client.send(masked(COMPRESSED, &compressed(&identify(TOKEN))));
        server.gets(&identify(SECRET)).await;
        server.send(frame(COMPRESSED, &compressed(&identify(SECRET))));
        client.gets(&identify(TOKEN)).await;

        // A client that does not take what it is told leaves before it says anything; the next is not told.
        let asked = connect("/", &[("sec-websocket-extensions", "permessage-deflate")]);
        let answer = accepts(&[("sec-websocket-extensions", alone)]);
        let (mut client, mut server, ..) = open(&mut rig, asked, answer).await;
        client.to.send_reset(Reason::CANCEL);
        reset(&mut server.to).await;
    }
}

#[tokio::test]
async fn each_hears_of_reloads() {
    let discord = |value: &str| release().discord("TOKEN", value.as_bytes());
    let (mut rig, reloads) = rig_of(allow(), discord(SECRET), &Arc::default()).await;
    let (mut client, mut server) = plainly(&mut rig).await;
    reloads.renew(discord("another-value").build());
    let (mut later_client, mut later_server) = plainly(&mut rig).await;
    for (client, server) in [
        (&mut client, &mut server),
        (&mut later_client, &mut later_server),
    ] {
        client.send(says(&identify(TOKEN)));
        server.gets(&identify("another-value")).await;
    }
    reloads.revoke_policy();
    for (client, server) in [
        (&mut client, &mut server),
        (&mut later_client, &mut later_server),
    ] {
        client.gets_close(1008, "policy_denied").await;
        server.gets_close(1001, "").await;
    }
    let refused = rig.refused(connect("/", &[])).await;
    assert_eq!(refused, (403, "policy_denied".to_owned()));
}

#[tokio::test]
async fn a_handshake_is_reset_when_the_policy_denies_it() {
    let (mut rig, reloads) = rig_of(allow(), release(), &Arc::default()).await;
    let (response, _to_server) = rig.begin(connect("/", &[])).await;
    let _asked = rig.asked().await;
    reloads.revoke_policy();
    let error = response.await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
}

#[tokio::test]
async fn the_daemons_end_is_told_to_both_sides() {
    let mut rig = rig().await;
    let (mut client, mut server) = plainly(&mut rig).await;
    rig.shutdown.send_replace(true);
    client.gets_close(1001, "").await;
    server.gets_close(1001, "").await;
    client.end();
    server.end();
    rig.ended.await.unwrap().unwrap();
    let end = rig.relay.await.unwrap().unwrap();
    assert!(matches!(end, End::ShutDown), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_one_is_not_ended() {
    let mut rig = rig().await;
    let (mut client, mut server) = plainly(&mut rig).await;
    tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
    client.send(says("still here"));
    server.gets("still here").await;
}

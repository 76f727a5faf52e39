use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::{
    rewrite::{
        Unresolvable,
        release::{Release, builder::release},
        standing::reloads::{Reloads, reloads},
    },
    stats::connection::Connection,
    websocket::{
        Compression, Violation,
        frame::{Header, Opcode, RSV1, Sender, put_header},
        inflate::{Fault, peers::Compressor},
        takeover::Memory,
    },
};

mod ends;
mod redaction;
mod rows;
mod standing;

const PLACEHOLDER: &str = "openshell:resolve:env:T";
const SECRET: &str = "MTIz.real.token";

/// A relay between two ends that a test plays.
struct Stage {
    client: DuplexStream,
    server: DuplexStream,
    stats: Arc<Connection>,
    shutdown: watch::Sender<bool>,
    reloads: Reloads,
    relay: JoinHandle<Result<End, WebSocketError>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    opcode: Opcode,
    payload: Vec<u8>,
}

const DEFLATE: Option<Compression> = Some(Compression {
    client_alone: true,
    server_alone: true,
});

fn stage() -> Stage {
    stage_with(b"", b"", 4096)
}

/// With bytes that were read before the relay began, over pipes that hold `pipe` bytes.
fn stage_with(from_client: &[u8], from_server: &[u8], pipe: usize) -> Stage {
    let release = release()
        .discord("T", SECRET.as_bytes())
        .elsewhere("OTHER")
        .build();
    stage_of(release, DEFLATE, (from_client, from_server), pipe)
}

fn stage_of(
    release: Release,
    deflate: Option<Compression>,
    early: (&[u8], &[u8]),
    pipe: usize,
) -> Stage {
    stage_on_trial(release, deflate, None, early, pipe)
}

fn stage_on_trial(
    release: Release,
    deflate: Option<Compression>,
    trial: Option<Trial>,
    early: (&[u8], &[u8]),
    pipe: usize,
) -> Stage {
    let (client, near) = duplex(pipe);
    let (far, server) = duplex(pipe);
    let stats = Arc::new(Connection::default());
    let (shutdown, going) = watch::channel(false);
    let (reloads, standing) = reloads();
    let session = Session {
        listen_only: Box::new(|| false),
        trial,
        standing,
        release: Arc::new(release),
        stats: stats.clone(),
        counts_bytes: true,
        deflate,
        shutdown: going,
    };
    let relay = tokio::spawn(relay(near, far, early.0.into(), early.1.into(), session));
    Stage {
        client,
        server,
        stats,
        shutdown,
        reloads,
        relay,
    }
}

fn client_frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut out = Vec::new();
    put_header(&mut out, fin, opcode, Some(mask), payload.len());
    mask::copy(mask, 0, payload, &mut out);
    out
}

fn server_frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_header(&mut out, fin, opcode, None, payload.len());
    out.extend_from_slice(payload);
    out
}

fn identify_with(token: &str) -> Vec<u8> {
    format!(r#"{{"op":2,"d":{{"token":"{token}"}}}}"#).into_bytes()
}

async fn receive(stream: &mut DuplexStream, sender: Sender) -> Option<Frame> {
    let mut bytes = Vec::new();
    loop {
        if let Some(header) = Header::parse(&bytes, sender, true).unwrap() {
            let mut payload = vec![0; usize::try_from(header.length).unwrap()];
            stream.read_exact(&mut payload).await.unwrap();
            mask::apply(header.mask, 0, &mut payload);
            let opcode = header.opcode;
            return Some(Frame { opcode, payload });
        }
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) if bytes.is_empty() => return None,
            Err(error) => panic!("{error} inside a frame"),
        }
    }
}

impl Stage {
    async fn client_sends(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.unwrap();
    }

    async fn server_sends(&mut self, bytes: &[u8]) {
        self.server.write_all(bytes).await.unwrap();
    }

    async fn client_sees(&mut self) -> Option<Frame> {
        receive(&mut self.client, Sender::Server).await
    }

    async fn server_sees(&mut self) -> Option<Frame> {
        receive(&mut self.server, Sender::Client).await
    }

    async fn end(self) -> Result<End, WebSocketError> {
        drop((self.client, self.server));
        self.relay.await.unwrap()
    }
}

fn frame(opcode: Opcode, payload: &[u8]) -> Option<Frame> {
    let payload = payload.to_vec();
    Some(Frame { opcode, payload })
}

fn close_of(code: u16, reason: &str) -> Option<Frame> {
    frame(
        Opcode::Close,
        &[&code.to_be_bytes(), reason.as_bytes()].concat(),
    )
}

#[tokio::test(start_paused = true)]
async fn token_is_rewritten_and_thousand_messages_pass_unchanged() {
    let mut stage = stage();
    stage
        .client_sends(&client_frame(
            true,
            Opcode::Text,
            &identify_with(PLACEHOLDER),
        ))
        .await;
    assert_eq!(
        stage.server_sees().await,
        frame(Opcode::Text, &identify_with(SECRET))
    );
    for index in 0..1000_usize {
        let payload = format!("message {index} {}", "-".repeat(index));
        let opcode = if index % 3 == 0 {
            Opcode::Binary
        } else {
            Opcode::Text
        };
        let sent = client_frame(true, opcode, payload.as_bytes());
        stage.client_sends(&sent).await;
        let mut got = vec![0; sent.len()];
        stage.server.read_exact(&mut got).await.unwrap();
        assert_eq!(got, sent);
        let sent = server_frame(true, opcode, payload.as_bytes());
        stage.server_sends(&sent).await;
        let mut got = vec![0; sent.len()];
        stage.client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, sent);
    }
    assert_eq!(stage.stats.messages(Direction::ClientToServer), 1001);
    assert_eq!(stage.stats.messages(Direction::ServerToClient), 1000);
    assert_eq!(stage.stats.facts().rewrites.values().sum::<u64>(), 1);
}

#[tokio::test(start_paused = true)]
async fn both_directions_flow_at_once_through_narrow_pipes() {
    let stage = stage_with(b"", b"", 61);
    let up: Vec<u8> = (0..300)
        .flat_map(|n| client_frame(true, Opcode::Text, &vec![b'u'; n * 7]))
        .collect();
    let down: Vec<u8> = (0..300)
        .flat_map(|n| server_frame(true, Opcode::Binary, &vec![b'd'; n * 7]))
        .collect();
    let (mut client_reads, mut client_writes) = split(stage.client);
    let (mut server_reads, mut server_writes) = split(stage.server);
    let mut at_server = vec![0; up.len()];
    let mut at_client = vec![0; down.len()];
    let (a, b, c, d) = tokio::join!(
        client_writes.write_all(&up),
        server_writes.write_all(&down),
        server_reads.read_exact(&mut at_server),
        client_reads.read_exact(&mut at_client),
    );
    assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
    assert!(at_server == up && at_client == down);
}

#[tokio::test(start_paused = true)]
async fn bytes_read_before_the_relay_come_first() {
    let early_client = client_frame(true, Opcode::Text, &identify_with(PLACEHOLDER));
    let early_server = server_frame(true, Opcode::Text, b"hello");
    let mut stage = stage_with(&early_client, &early_server[..3], 4096);
    stage.server_sends(&early_server[3..]).await;
    assert_eq!(stage.client_sees().await, frame(Opcode::Text, b"hello"));
    assert_eq!(
        stage.server_sees().await,
        frame(Opcode::Text, &identify_with(SECRET))
    );
    assert_eq!(
        stage.stats.bytes(Direction::ClientToServer),
        early_client.len() as u64
    );
    assert_eq!(
        stage.stats.bytes(Direction::ServerToClient),
        early_server.len() as u64
    );
}

#[tokio::test(start_paused = true)]
async fn session_that_idles_for_a_week_goes_on() {
    let mut stage = stage();
    sleep(Duration::from_secs(7 * 24 * 3600)).await;
    stage
        .client_sends(&client_frame(true, Opcode::Text, b"still here"))
        .await;
    assert_eq!(
        stage.server_sees().await,
        frame(Opcode::Text, b"still here")
    );
}

#[tokio::test(start_paused = true)]
async fn clients_violation_becomes_1002_behind_what_was_good() {
    let mut stage = stage();
    let bad = client_frame(true, Opcode::Continuation, b"bad");
    stage
        .client_sends(&[client_frame(true, Opcode::Text, b"good"), bad].concat())
        .await;
    assert_eq!(stage.server_sees().await, frame(Opcode::Text, b"good"));
    assert_eq!(stage.server_sees().await, close_of(1002, ""));
    stage
        .server_sends(&server_frame(true, Opcode::Text, b"good"))
        .await;
    stage
        .server_sends(&server_frame(true, Opcode::Close, b"\x03\xea"))
        .await;
    stage.server.shutdown().await.unwrap();
    assert_eq!(stage.client_sees().await, frame(Opcode::Text, b"good"));
    assert_eq!(stage.client_sees().await, close_of(1002, ""));
    assert_eq!(stage.client_sees().await, None, "only one close");
    let error = stage.end().await.unwrap_err();
    assert!(matches!(
        error,
        WebSocketError::ClientProtocol(Violation::StrayContinuation)
    ));
}

#[tokio::test(start_paused = true)]
async fn violation_that_the_other_side_does_not_answer_is_answered_by_us() {
    let mut stage = stage();
    stage.client_sends(&[0x81, 0x01, b'x']).await;
    assert_eq!(stage.server_sees().await, close_of(1002, ""));
    assert_eq!(stage.client_sees().await, close_of(1002, ""));
    let error = stage.end().await.unwrap_err();
    assert!(matches!(
        error,
        WebSocketError::ClientProtocol(Violation::Unmasked)
    ));
}

#[tokio::test(start_paused = true)]
async fn servers_violation_becomes_1002_and_the_clients_answer_passes() {
    let mut stage = stage();
    stage
        .server_sends(&server_frame(false, Opcode::Text, b"good"))
        .await;
    stage.server_sends(&[0xf1, 0x00]).await;
    assert_eq!(stage.client_sees().await, frame(Opcode::Text, b"good"));
    assert_eq!(stage.client_sees().await, close_of(1002, ""));
    stage
        .client_sends(&client_frame(true, Opcode::Close, b"\x03\xea"))
        .await;
    assert_eq!(stage.server_sees().await, close_of(1002, ""));
    let error = stage.end().await.unwrap_err();
    assert!(matches!(
        error,
        WebSocketError::ServerProtocol(Violation::ReservedBit)
    ));
}

#[tokio::test(start_paused = true)]
async fn compressed_message_that_cannot_be_searched_is_closed_with_its_code() {
    let bomb = Compressor::new(15).message(&vec![b'x'; 3_000_000]);
    let last = Compressor::new(15).flush(b"last", zlib_rs::DeflateFlush::Finish);
    let more = [last.as_slice(), b"more"].concat();
    for (payload, code, reason, fault) in [
        (
            &[0x06][..],
            1007,
            "compressed_message_malformed",
            Fault::Corrupt,
        ),
        (&[0xf2], 1007, "compressed_message_malformed", Fault::CutOff),
        (&more, 1007, "compressed_message_malformed", Fault::Trailing),
        (&bomb, 1009, "compressed_message_too_large", Fault::Bomb),
    ] {
        let mut stage = stage_with(b"", b"", 64 * 1024);
        let mut message = client_frame(true, Opcode::Text, payload);
        message[0] |= RSV1;
        stage.client_sends(&message).await;
        assert_eq!(stage.server_sees().await, close_of(1001, ""));
        assert_eq!(stage.client_sees().await, close_of(code, reason));
        let error = stage.end().await.unwrap_err();
        assert!(matches!(error, WebSocketError::Opaque(cause) if cause == fault));
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_message_of_the_server_passes_as_it_is() {
    let mut stage = stage();
    // Not even deflate.
    let mut message = server_frame(true, Opcode::Text, b"anything");
    message[0] |= RSV1;
    stage.server_sends(&message).await;
    let mut seen = vec![0; message.len()];
    stage.client.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, message);
}

#[tokio::test(start_paused = true)]
async fn socket_that_breaks_is_named() {
    let Stage {
        client,
        server: _server,
        relay,
        ..
    } = stage();
    drop(client);
    let end = relay.await.unwrap();
    assert!(
        matches!(end, Ok(End::Vanished { by: Side::Client })),
        "{end:?}"
    );

    let Stage {
        mut client,
        server,
        relay,
        ..
    } = stage();
    drop(server);
    client
        .write_all(&client_frame(true, Opcode::Text, b"x"))
        .await
        .unwrap();
    drop(client);
    assert!(
        relay
            .await
            .unwrap()
            .is_err_and(|error| matches!(error, WebSocketError::Server(_)))
    );
}

#[tokio::test(start_paused = true)]
async fn resting_sender_of_fragments_is_streamed_in_time() {
    let mut stage = stage();
    stage
        .client_sends(&client_frame(false, Opcode::Text, b"{\"op\":1, "))
        .await;
    let before = Instant::now();
    assert_eq!(
        stage.server_sees().await,
        frame(Opcode::Text, b"{\"op\":1, ")
    );
    assert!(before.elapsed() <= 2 * REST);
    stage
        .client_sends(&client_frame(true, Opcode::Continuation, b"\"d\":2}"))
        .await;
    assert_eq!(
        stage.server_sees().await,
        frame(Opcode::Continuation, b"\"d\":2}")
    );
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_stops_the_server() {
    let mut stage = stage_with(b"", b"", 1024);
    let message = server_frame(true, Opcode::Binary, &[7; 100]);
    let flood = async {
        for _ in 0..100_000 {
            stage.server.write_all(&message).await.unwrap();
        }
    };
    assert!(timeout(Duration::from_secs(60), flood).await.is_err());
    let taken = stage.stats.bytes(Direction::ServerToClient);
    assert!(taken < 100_000, "{taken}");
}

/// Lets the relay see what happened so far.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// How a connection ends, from its client's side.
enum Leaving {
    Silently,
    With(Vec<u8>),
}

#[tokio::test(start_paused = true)]
async fn client_that_leaves_before_its_first_message_is_remembered_if_it_was_told_unasked() {
    let host = || "gateway.example".parse().unwrap();
    let closing = |code: u16| client_frame(true, Opcode::Close, &code.to_be_bytes());
    for (spoken, leaving, remembered) in [
        (false, Leaving::Silently, true),
        (false, Leaving::With(closing(1010)), true),
        (false, Leaving::With(closing(1000)), false),
        (true, Leaving::Silently, false),
        (true, Leaving::With(closing(1002)), false),
    ] {
        let memory = Arc::new(Memory::default());
        let release = release().discord("T", SECRET.as_bytes()).build();
        let trial = Some(Trial::new(Arc::clone(&memory), host()));
        let mut stage = stage_on_trial(release, DEFLATE, trial, (b"", b""), 4096);
        // A server that greets first, and one that never leaves by itself.
        stage
            .server_sends(&server_frame(true, Opcode::Text, b"hello"))
            .await;
        stage
            .client_sends(&client_frame(true, Opcode::Ping, b""))
            .await;
        if spoken {
            stage
                .client_sends(&client_frame(false, Opcode::Text, b"x"))
                .await;
        }
        match leaving {
            Leaving::Silently => stage.client.shutdown().await.unwrap(),
            Leaving::With(close) => stage.client_sends(&close).await,
        }
        settle().await;
        assert_eq!(memory.holds(&host()), remembered);
    }
}

#[test]
fn future_of_a_connection_is_small() {
    let (client, upstream) = duplex(1);
    let session = Session {
        listen_only: Box::new(|| false),
        trial: None,
        standing: Standing::for_ever(),
        release: Arc::new(release().build()),
        stats: Arc::default(),
        counts_bytes: true,
        deflate: DEFLATE,
        shutdown: watch::channel(false).1,
    };
    let streams = size_of_val(&client) + size_of_val(&upstream);
    let future = relay(client, upstream, BytesMut::new(), BytesMut::new(), session);
    let size = size_of_val(&future) - streams;
    assert!(size < 2048, "{size}");
}

/// Another implementation at both ends, over sockets of the kernel.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn other_peoples_client_and_server_understand_each_other_through_the_relay() {
    use std::os::unix::net::UnixStream as Socket;

    use tokio::{net::UnixStream, task::spawn_blocking};
    use tokio_tungstenite::tungstenite::{
        Error, Message, WebSocket,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    };

    fn attach(socket: Socket) -> UnixStream {
        socket.set_nonblocking(true).unwrap();
        UnixStream::from_std(socket).unwrap()
    }

    let (client, near) = Socket::pair().unwrap();
    let (far, server) = Socket::pair().unwrap();
    let release = release().discord("T", SECRET.as_bytes()).build();
    let session = Session {
        listen_only: Box::new(|| false),
        trial: None,
        standing: Standing::for_ever(),
        release: Arc::new(release),
        stats: Arc::default(),
        counts_bytes: true,
        deflate: DEFLATE,
        shutdown: watch::channel(false).1,
    };
    let relay = tokio::spawn(relay(
        attach(near),
        attach(far),
        BytesMut::new(),
        BytesMut::new(),
        session,
    ));
    let server = spawn_blocking(move || {
        let mut server = WebSocket::from_raw_socket(server, Role::Server, None);
        let identify = server.read().unwrap();
        assert_eq!(identify.into_data(), identify_with(SECRET));
        loop {
            match server.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    server.send(message).unwrap();
                }
                Ok(_) => {}
                Err(Error::ConnectionClosed) => return,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let client = spawn_blocking(move || {
        let mut client = WebSocket::from_raw_socket(client, Role::Client, None);
        let identify = String::from_utf8(identify_with(PLACEHOLDER)).unwrap();
        client.send(Message::text(identify)).unwrap();
        for index in 0..1000_usize {
            let text = format!("{index}: {}", "ä€😀".repeat(index * index % 20_000));
            let message = match index % 4 {
                0 => Message::binary(text),
                _ => Message::text(text),
            };
            client.send(message.clone()).unwrap();
            assert!(client.read().unwrap() == message, "{index}");
        }
        let code = CloseCode::from(4000);
        let reason = "done".into();
        client.close(Some(CloseFrame { code, reason })).unwrap();
        let answer = client.read().unwrap();
        assert!(matches!(answer, Message::Close(Some(frame)) if frame.code == code));
        assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
    });
    server.await.unwrap();
    client.await.unwrap();
    let end = relay.await.unwrap().unwrap();
    let code = Some(4000);
    assert_eq!(
        end,
        End::Closed {
            by: Side::Client,
            code
        }
    );
}

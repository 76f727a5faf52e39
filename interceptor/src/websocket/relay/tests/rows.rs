//! The table in `websocket`'s documentation, as both sides see it on the wire.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, ReadBuf, join};

use super::*;

/// What the relay has to do on a connection.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Nothing is bound.
    None,
    /// A secret may be put into what the client sends.
    Rewriting,
    /// And was: what the server sends is searched for it.
    Redacting,
}

const EVERY_WORK: [Work; 3] = [Work::None, Work::Rewriting, Work::Redacting];

async fn stage_for(work: Work, deflate: Option<Compression>) -> Stage {
    let release = match work {
        Work::None => release().build(),
        Work::Rewriting | Work::Redacting => release().discord("T", SECRET.as_bytes()).build(),
    };
    let mut stage = stage_of(release, deflate, (b"", b""), 4096);
    if matches!(work, Work::Redacting) {
        let login = client_frame(true, Opcode::Text, &identify_with(PLACEHOLDER));
        stage.client_sends(&login).await;
        stage.server_sees().await;
    }
    stage
}

impl Stage {
    async fn sends(&mut self, by: Side, bytes: &[u8]) {
        match by {
            Side::Client => self.client_sends(bytes).await,
            Side::Server => self.server_sends(bytes).await,
        }
    }

    /// What the one sees whom `by` does not play.
    async fn other_sees(&mut self, by: Side) -> Option<Frame> {
        match by {
            Side::Client => self.server_sees().await,
            Side::Server => self.client_sees().await,
        }
    }

    async fn other_gets(&mut self, by: Side, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let other = match by {
            Side::Client => &mut self.server,
            Side::Server => &mut self.client,
        };
        other.read_exact(&mut bytes).await.unwrap();
        bytes
    }
}

/// A frame of this side's; `mask` is the client's.
fn frame_of(by: Side, mask: [u8; 4], fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mask = (by == Side::Client).then_some(mask);
    let mut out = Vec::new();
    put_header(&mut out, fin, opcode, mask, payload.len());
    mask::copy(mask.unwrap_or_default(), 0, payload, &mut out);
    out
}

/// Beginnings of frames with what they break. `true`: the frame comes inside a message.
fn broken(by: Side) -> Vec<(bool, Vec<u8>, Violation)> {
    let masked = if by == Side::Client { 0x80 } else { 0 };
    let mut broken = Vec::new();
    for first in [0x91, 0xa1, 0xb1, 0xd1, 0xe2, 0xa8, 0x99, 0xc8, 0xc9, 0xca] {
        broken.push((false, vec![first, masked], Violation::ReservedBit));
    }
    for first in [0xc0, 0x40, 0xa0, 0x90] {
        broken.push((true, vec![first, masked], Violation::ReservedBit));
    }
    for opcode in (3..=7).chain(11..=15) {
        for first in [0x80 | opcode, opcode] {
            let violation = Violation::ReservedOpcode(opcode);
            broken.push((false, vec![first, masked], violation));
        }
    }
    for opcode in [8, 9, 10] {
        broken.push((false, vec![opcode, masked], Violation::FragmentedControl));
        for length in [126, 127] {
            let long = vec![0x80 | opcode, masked | length, 0, 126];
            broken.push((false, long, Violation::LongControl));
        }
    }
    let wrong = match by {
        Side::Client => Violation::Unmasked,
        Side::Server => Violation::Masked,
    };
    for first in [0x81, 0x82, 0x89] {
        broken.push((false, vec![first, (masked ^ 0x80) | 1], wrong));
    }
    for (first, length, violation) in [
        (126, vec![0, 125], Violation::LongLength),
        (
            127,
            vec![0, 0, 0, 0, 0, 0, 0xff, 0xff],
            Violation::LongLength,
        ),
        (127, vec![0x80, 0, 0, 0, 0, 1, 0, 0], Violation::HugeLength),
        (127, vec![0xff; 8], Violation::HugeLength),
    ] {
        let bytes = [vec![0x81, masked | first], length].concat();
        broken.push((false, bytes, violation));
    }
    for first in [0x80, 0x00] {
        broken.push((false, vec![first, masked], Violation::StrayContinuation));
    }
    for first in [0x81, 0x82, 0x01] {
        broken.push((true, vec![first, masked], Violation::NestedMessage));
    }
    broken
}

async fn check_broken(
    stage: Stage,
    by: Side,
    inside: bool,
    broken: &[u8],
    violation: Violation,
    told: &str,
) {
    let mut stage = stage;
    let open = b"the beginning";
    let mut sent = frame_of(by, [1, 2, 3, 4], true, Opcode::Text, b"good");
    if inside {
        sent.extend(frame_of(by, [1, 2, 3, 4], false, Opcode::Text, open));
    }
    sent.extend_from_slice(broken);
    // What would be a mask, or a payload.
    sent.extend_from_slice(&[0; 10]);
    stage.sends(by, &sent).await;
    assert_eq!(
        stage.other_sees(by).await,
        frame(Opcode::Text, b"good"),
        "{told}"
    );
    let mut next = stage.other_sees(by).await;
    // It may have gone before it was known what follows.
    if inside && next == frame(Opcode::Text, open) {
        next = stage.other_sees(by).await;
    }
    assert_eq!(next, close_of(1002, ""), "{told}");
    let error = stage.end().await.unwrap_err();
    let seen = match (by, error) {
        (Side::Client, WebSocketError::ClientProtocol(seen))
        | (Side::Server, WebSocketError::ServerProtocol(seen)) => seen,
        (_, error) => panic!("{error:?}: {told}"),
    };
    assert_eq!(seen, violation, "{told}");
}

#[tokio::test(start_paused = true)]
async fn framing_that_breaks_a_rule_becomes_1002_whoever_breaks_it() {
    for by in [Side::Client, Side::Server] {
        for work in EVERY_WORK {
            for (inside, bytes, violation) in broken(by) {
                let told = format!("{by} {work:?} {bytes:x?}");
                let stage = stage_for(work, DEFLATE).await;
                check_broken(stage, by, inside, &bytes, violation, &told).await;
            }
            let masked = if by == Side::Client { 0x80 } else { 0 };
            for first in [0xc1, 0x42] {
                let told = format!("{by} {work:?} {first:x} without permessage-deflate");
                let stage = stage_for(work, None).await;
                let bytes = [first, masked];
                check_broken(stage, by, false, &bytes, Violation::ReservedBit, &told).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn content_is_the_receivers_to_judge() {
    let messages: &[&[(bool, Opcode, &[u8])]] = &[
        // Invalid UTF-8: whole, split inside a letter, cut off inside one, behind a good beginning.
        &[(true, Opcode::Text, b"\xff\xfe")],
        &[
            (false, Opcode::Text, b"\xc3"),
            (true, Opcode::Continuation, b"x"),
        ],
        &[
            (false, Opcode::Text, b"good \xe2\x82"),
            (true, Opcode::Continuation, b""),
        ],
        &[(true, Opcode::Text, b"{\"op\":2,\"d\":\"\xed\xa0\x80\"}")],
        // Good, though split inside a letter.
        &[
            (false, Opcode::Text, b"\xe2\x82"),
            (true, Opcode::Continuation, b"\xac"),
        ],
        &[(true, Opcode::Ping, b"")],
        &[(true, Opcode::Ping, &[7; 125])],
        &[(true, Opcode::Pong, b"unasked")],
        &[(true, Opcode::Text, b"")],
        &[(true, Opcode::Binary, b"")],
        &[
            (false, Opcode::Text, b""),
            (false, Opcode::Continuation, b""),
            (false, Opcode::Continuation, b"x"),
            (false, Opcode::Continuation, b""),
            (true, Opcode::Continuation, b""),
        ],
        &[
            (false, Opcode::Binary, b""),
            (true, Opcode::Continuation, b""),
        ],
    ];
    for by in [Side::Client, Side::Server] {
        for work in EVERY_WORK {
            let mut stage = stage_for(work, DEFLATE).await;
            for (frames, mask) in messages
                .iter()
                .flat_map(|frames| [(frames, [0; 4]), (frames, [9, 8, 7, 6])])
            {
                let frames = frames
                    .iter()
                    .flat_map(|(fin, opcode, payload)| frame_of(by, mask, *fin, *opcode, payload));
                let sent: Vec<u8> = frames.collect();
                stage.sends(by, &sent).await;
                let seen = stage.other_gets(by, sent.len()).await;
                assert_eq!(seen, sent, "{by} {work:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn control_frame_between_fragments_passes_at_once() {
    for by in [Side::Client, Side::Server] {
        for work in EVERY_WORK {
            for opcode in [Opcode::Ping, Opcode::Pong] {
                let mut stage = stage_for(work, DEFLATE).await;
                let mask = [1, 2, 3, 4];
                let first = frame_of(by, mask, false, Opcode::Text, b"{\"op\":2,\"d\":");
                let control = frame_of(by, mask, true, opcode, b"now");
                stage.sends(by, &[first, control].concat()).await;
                let before = Instant::now();
                let mut seen = stage.other_sees(by).await;
                if seen == frame(Opcode::Text, b"{\"op\":2,\"d\":") {
                    seen = stage.other_sees(by).await;
                }
                assert_eq!(seen, frame(opcode, b"now"), "{by} {work:?}");
                assert!(before.elapsed() < REST, "{by} {work:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_of_any_kind_passes_and_so_does_what_is_behind_it() {
    let codes = [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535].map(u16::to_be_bytes);
    let others: [&[u8]; 5] = [
        b"",
        b"\x03",
        b"\x03\xe8bye",
        b"\x03\xe8\xff\xfe",
        &[0xc3; 125],
    ];
    let late = [
        frame_of(
            Side::Client,
            [1, 2, 3, 4],
            true,
            Opcode::Text,
            &identify_with(PLACEHOLDER),
        ),
        identify_with(PLACEHOLDER),
        b"\xff\xff and no frame at all".to_vec(),
    ]
    .concat();
    for payload in codes.iter().map(<[u8; 2]>::as_slice).chain(others) {
        for by in [Side::Client, Side::Server] {
            for work in EVERY_WORK {
                let mut stage = stage_for(work, DEFLATE).await;
                let close = frame_of(by, [4, 3, 2, 1], true, Opcode::Close, payload);
                let sent = [close.as_slice(), &late].concat();
                stage.sends(by, &sent).await;
                let seen = stage.other_gets(by, sent.len()).await;
                assert!(seen == sent, "{by} {work:?} {payload:x?}");
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                assert_eq!(stage.end().await.unwrap(), End::Closed { by, code });
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_may_send_no_message_hears_1008_at_its_first_and_the_server_is_heard() {
    let (mut client, near) = duplex(4096);
    let (far, mut server) = duplex(4096);
    let session = Session {
        listen_only: Box::new(|| true),
        ..session()
    };
    let relay = tokio::spawn(relay(near, far, BytesMut::new(), BytesMut::new(), session));
    let heard = server_frame(true, Opcode::Text, b"hello");
    server.write_all(&heard).await.unwrap();
    let seen = receive(&mut client, Sender::Server).await;
    assert_eq!(seen, frame(Opcode::Text, b"hello"));
    let said = client_frame(true, Opcode::Binary, b"hello");
    client.write_all(&said).await.unwrap();
    let seen = receive(&mut client, Sender::Server).await;
    assert_eq!(seen, close_of(1008, "policy_denied"));
    let seen = receive(&mut server, Sender::Client).await;
    assert_eq!(seen, close_of(1001, ""));
    drop((client, server));
    let error = relay.await.unwrap().unwrap_err();
    assert!(matches!(error, WebSocketError::Forbidden));
}

/// With nothing bound and nothing negotiated.
fn session() -> Session {
    Session {
        listen_only: Box::new(|| false),
        trial: None,
        standing: Standing::for_ever(),
        release: Arc::new(release().build()),
        stats: Arc::default(),
        counts_bytes: true,
        deflate: None,
        shutdown: watch::channel(false).1,
    }
}

/// What rustls says where TLS's close_notify is missing.
struct Torn;

impl AsyncRead for Torn {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
    }
}

#[tokio::test(start_paused = true)]
async fn end_without_a_close_is_passed_on_even_without_close_notify() {
    for torn in [false, true] {
        for by in [Side::Client, Side::Server] {
            let (mut client, near) = duplex(4096);
            let (far, mut server) = duplex(4096);
            let session = session();
            let ((near_read, near_write), (far_read, far_write)) = (split(near), split(far));
            let relay = async move {
                let (early, late) = (BytesMut::new(), BytesMut::new());
                if torn {
                    let near = join(near_read.chain(Torn), near_write);
                    let far = join(far_read.chain(Torn), far_write);
                    relay(near, far, early, late, session).await
                } else {
                    let (near, far) = (join(near_read, near_write), join(far_read, far_write));
                    relay(near, far, early, late, session).await
                }
            };
            let relay = tokio::spawn(relay);
            let (ending, other) = match by {
                Side::Client => (&mut client, &mut server),
                Side::Server => (&mut server, &mut client),
            };
            let last = frame_of(by, [1, 2, 3, 4], true, Opcode::Text, b"last");
            ending.write_all(&last).await.unwrap();
            ending.shutdown().await.unwrap();
            let mut seen = Vec::new();
            other.read_to_end(&mut seen).await.unwrap();
            assert_eq!(seen, last, "{by} {torn}: no close of ours");
            drop((client, server));
            assert_eq!(relay.await.unwrap().unwrap(), End::Vanished { by });
        }
    }
}

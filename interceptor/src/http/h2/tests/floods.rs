//! Clients that break the protocol, and clients that want to wear the daemon out (RFC 9113 §§5.4, 8.1.1, 10.5).

use std::time::Duration;

use h2::Reason;
use http::Response;
use tokio::{io::AsyncReadExt as _, time::timeout};

use super::{
    peer::all,
    raw::{Raw, Verdict, field, frame, head},
};
use crate::http::{End, HttpError, Refusal};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;

fn request(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, block)
}

async fn verdict(raw: &mut Raw) -> Verdict {
    let verdict = timeout(Duration::from_secs(10), raw.verdict()).await;
    verdict.expect("an end, not a hang")
}

#[tokio::test]
async fn malformed_requests_are_reset_and_the_server_is_sent_nothing() {
    let without = |missing: &str| -> Vec<u8> {
        [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "api.example.com"),
            (":path", "/"),
        ]
        .iter()
        .filter(|(name, _)| *name != missing)
        .flat_map(|(name, value)| field(name, value))
        .collect()
    };
    let late = [field("x", "y"), head(&[])].concat();
    for (what, block) in [
        ("connection", head(&[("connection", "close")])),
        (
            "transfer-encoding",
            head(&[("transfer-encoding", "chunked")]),
        ),
        ("upgrade", head(&[("upgrade", "websocket")])),
        ("keep-alive", head(&[("keep-alive", "5")])),
        ("proxy-connection", head(&[("proxy-connection", "x")])),
        ("te", head(&[("te", "gzip")])),
        ("upper case", head(&[("X-Upper", "y")])),
        ("two paths", head(&[(":path", "/admin")])),
        ("two authorities", head(&[(":authority", "evil.example")])),
        ("unknown pseudo field", head(&[(":foo", "y")])),
        ("status", head(&[(":status", "200")])),
        ("protocol", head(&[(":protocol", "websocket")])),
        ("pseudo field behind a field", late),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("length", head(&[("content-length", "1")])),
        (
            "two lengths",
            head(&[("content-length", "0"), ("content-length", "1")]),
        ),
    ] {
        let mut raw = Raw::new().await;
        raw.send(&request(&block)).await;
        let verdict = verdict(&mut raw).await;
        assert!(
            matches!(
                verdict,
                Verdict::Reset(PROTOCOL_ERROR) | Verdict::GoAway(PROTOCOL_ERROR)
            ),
            "{what}: {verdict:?}"
        );
        assert!(raw.asked.try_recv().is_err(), "{what}");
    }
}

#[tokio::test]
async fn values_that_two_servers_read_differently_never_pass() {
    for value in ["a\r\nx: y", "a\nb", "a\0b"] {
        let mut raw = Raw::new().await;
        raw.send(&request(&head(&[("x", value)]))).await;
        let verdict = verdict(&mut raw).await;
        assert!(
            matches!(verdict, Verdict::Reset(_) | Verdict::GoAway(_)),
            "{value:?}: {verdict:?}"
        );
        assert!(raw.asked.try_recv().is_err());
    }
}

#[tokio::test]
async fn broken_connections_end_with_their_error() {
    let open = frame(HEADERS, END_HEADERS, 1, &head(&[]));
    let closed = [request(&head(&[])), frame(DATA, 0, 1, b"x")].concat();
    for (what, bytes, codes) in [
        (
            "DATA on stream 0",
            frame(DATA, 0, 0, b"x"),
            &[PROTOCOL_ERROR][..],
        ),
        (
            "DATA on an idle stream",
            frame(DATA, 0, 5, b"x"),
            &[STREAM_CLOSED],
        ),
        (
            "HEADERS on stream 0",
            frame(HEADERS, 5, 0, &head(&[])),
            &[PROTOCOL_ERROR],
        ),
        (
            "HEADERS on a server's stream",
            frame(HEADERS, 5, 2, &head(&[])),
            &[PROTOCOL_ERROR],
        ),
        (
            "a block that is not HPACK",
            request(&[0xff; 20]),
            &[COMPRESSION_ERROR],
        ),
        (
            "PRIORITY of 4 bytes",
            frame(PRIORITY, 0, 1, &[0; 4]),
            &[FRAME_SIZE_ERROR],
        ),
        (
            "RST_STREAM on an idle stream",
            frame(RST_STREAM, 0, 1, &[0; 4]),
            &[PROTOCOL_ERROR],
        ),
        (
            "RST_STREAM of 3 bytes",
            frame(RST_STREAM, 0, 1, &[0; 3]),
            &[FRAME_SIZE_ERROR],
        ),
        (
            "SETTINGS on a stream",
            frame(SETTINGS, 0, 1, &[]),
            &[PROTOCOL_ERROR],
        ),
        (
            "SETTINGS of 5 bytes",
            frame(SETTINGS, 0, 0, &[0; 5]),
            &[FRAME_SIZE_ERROR],
        ),
        (
            "a window beyond 2^31",
            frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
            &[FLOW_CONTROL_ERROR],
        ),
        (
            "PUSH_PROMISE of a client",
            frame(PUSH_PROMISE, 4, 1, &[0; 8]),
            &[PROTOCOL_ERROR],
        ),
        (
            "PING of 7 bytes",
            frame(PING, 0, 0, &[0; 7]),
            &[FRAME_SIZE_ERROR],
        ),
        (
            "PING on a stream",
            frame(PING, 0, 1, &[0; 8]),
            &[PROTOCOL_ERROR],
        ),
        (
            "GOAWAY on a stream",
            frame(GOAWAY, 0, 1, &[0; 8]),
            &[PROTOCOL_ERROR],
        ),
        (
            "WINDOW_UPDATE of nothing",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            &[PROTOCOL_ERROR],
        ),
        (
            "WINDOW_UPDATE over the top",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            &[FLOW_CONTROL_ERROR],
        ),
        (
            "CONTINUATION of nothing",
            frame(CONTINUATION, 4, 1, &[]),
            &[PROTOCOL_ERROR],
        ),
        (
            "a frame inside a head",
            [frame(HEADERS, 0, 1, &head(&[])), frame(PING, 0, 0, &[0; 8])].concat(),
            &[PROTOCOL_ERROR],
        ),
        (
            "a frame beyond 16 KiB",
            frame(DATA, 0, 1, &[0; 16_385]),
            &[FRAME_SIZE_ERROR],
        ),
        (
            "streams that go down",
            [frame(HEADERS, 5, 5, &head(&[])), request(&head(&[]))].concat(),
            &[STREAM_CLOSED],
        ),
        (
            "more padding than payload",
            [open, frame(DATA, 8, 1, &[9, 1])].concat(),
            &[PROTOCOL_ERROR],
        ),
        ("DATA behind the end", closed, &[STREAM_CLOSED]),
    ] {
        let mut raw = Raw::new().await;
        raw.send(&bytes).await;
        let verdict = verdict(&mut raw).await;
        let (Verdict::GoAway(code) | Verdict::Reset(code)) = verdict else {
            panic!("{what}: {verdict:?}");
        };
        // The h2 crate says the general one for some.
        let right = code == PROTOCOL_ERROR || codes.contains(&code);
        assert!(right, "{what}: {code}");
    }
}

#[tokio::test]
async fn a_client_that_speaks_something_else_is_ended() {
    let (exchange, _shutdown, _) =
        super::peer::noting(Box::new(|_| crate::policy::Judgement::Allow));
    let (mut client, client_end) = tokio::io::duplex(64 * 1024);
    let (server_end, _server) = tokio::io::duplex(64 * 1024);
    let relay = tokio::spawn(super::super::relay(client_end, server_end, exchange));
    tokio::io::AsyncWriteExt::write_all(
        &mut client,
        b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
    )
    .await
    .unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    let end = relay.await.unwrap();
    assert!(matches!(end, Err(HttpError::Http2Client(_))), "{end:?}");
}

/// The client reads all along, so that nothing but the count stops it.
async fn floods(
    pieces: impl Iterator<Item = Vec<u8>>,
    begin: &[u8],
) -> (Verdict, Result<End, HttpError>) {
    let mut raw = Raw::new().await;
    raw.send(begin).await;
    let (mut read, mut write) = tokio::io::split(raw.client);
    let reading = tokio::spawn(async move {
        let mut seen = Vec::new();
        read.read_to_end(&mut seen).await.unwrap();
        seen
    });
    let mut asked = raw.asked;
    let answering = tokio::spawn(async move {
        while let Some(mut asked) = asked.recv().await {
            if asked
                .respond
                .send_response(Response::new(()), true)
                .is_err()
            {
                // Taken back.
                continue;
            }
        }
    });
    for piece in pieces {
        if tokio::io::AsyncWriteExt::write_all(&mut write, &piece)
            .await
            .is_err()
        {
            break;
        }
    }
    let end = timeout(Duration::from_secs(20), raw.relay)
        .await
        .expect("an end")
        .unwrap();
    drop(write);
    let seen = reading.await.unwrap();
    answering.abort();
    // The last GOAWAY.
    let mut at = 0;
    let mut verdict = Verdict::Ended;
    while let Some(header) = seen.get(at..at + 9) {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        if header[3] == GOAWAY {
            let code = seen[at + 13..at + 17].try_into().unwrap();
            verdict = Verdict::GoAway(u32::from_be_bytes(code));
        }
        at += 9 + length;
    }
    (verdict, end)
}

async fn is_calmed(pieces: impl Iterator<Item = Vec<u8>>, begin: &[u8], what: &str) {
    let (verdict, end) = floods(pieces, begin).await;
    let calm = u32::from(Reason::ENHANCE_YOUR_CALM);
    assert_eq!(verdict, Verdict::GoAway(calm), "{what}: {end:?}");
    assert!(
        matches!(end, Ok(End::Refused(Refusal::Flood))),
        "{what}: {end:?}"
    );
}

#[tokio::test]
async fn floods_of_control_frames_are_calmed() {
    for (what, one) in [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("frames of no known kind", frame(0x42, 0, 0, &[])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ] {
        let piece = one.repeat(100);
        is_calmed(std::iter::repeat_n(piece, 2000), b"", what).await;
    }
}

#[tokio::test]
async fn a_flood_of_empty_data_is_calmed() {
    let open = frame(HEADERS, END_HEADERS, 1, &head(&[]));
    let piece = frame(DATA, 0, 1, b"").repeat(100);
    is_calmed(std::iter::repeat_n(piece, 2000), &open, "DATA").await;
}

#[tokio::test]
async fn as_much_empty_data_as_anything_that_works_would_send_says_nothing() {
    let mut raw = Raw::new().await;
    raw.send(&frame(HEADERS, END_HEADERS, 1, &head(&[]))).await;
    raw.send(&frame(DATA, 0, 1, b"").repeat(500)).await;
    raw.send(&frame(DATA, END_STREAM, 1, b"hello")).await;
    let mut asked = raw.asked.recv().await.unwrap();
    assert_eq!(all(asked.request.body_mut()).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_client_that_answers_each_small_frame_with_two_window_updates_is_none() {
    const FRAMES: usize = 7_000;
    let mut raw = Raw::new().await;
    for stream in [0, 1] {
        if stream == 1 {
            raw.send(&request(&head(&[]))).await;
        }
        raw.send(&frame(WINDOW_UPDATE, 0, stream, &[0, 0x40, 0, 0]))
            .await;
    }
    let mut asked = raw.asked.recv().await.unwrap();
    let mut download = asked
        .respond
        .send_response(Response::new(()), false)
        .unwrap();
    for _ in 0..FRAMES {
        download.send_data(vec![b'x'; 20].into(), false).unwrap();
    }
    let mut seen = 0;
    while seen < FRAMES {
        let (kind, ..) = raw.next().await.unwrap();
        seen += usize::from(kind == DATA);
    }
    // All of them late, and so at once.
    let updates = [0, 1].map(|stream| frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 20]));
    raw.send(&updates.concat().repeat(FRAMES)).await;
    download.send_data(vec![b'!'].into(), true).unwrap();
    let mut ended = false;
    while !ended {
        let (kind, flags, ..) = raw.next().await.unwrap();
        assert_eq!(kind, DATA);
        ended = flags == END_STREAM;
    }
}

#[tokio::test]
async fn streams_that_are_opened_and_taken_back_are_calmed() {
    let pieces = (0..50_000u32).map(|number| {
        let stream = number * 2 + 1;
        [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(&[])),
            frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
        ]
        .concat()
    });
    is_calmed(pieces, b"", "RST_STREAM").await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_calmed() {
    let begin = frame(HEADERS, 0, 1, &head(&[]));
    let piece = frame(CONTINUATION, 0, 1, &field("x", "y"));
    is_calmed(std::iter::repeat_n(piece, 100_000), &begin, "CONTINUATION").await;
}

#[tokio::test]
async fn a_head_that_unpacks_to_megabytes_is_not_unpacked() {
    // One field of 4,000 bytes into the table, and then a byte each to have it again.
    let mut block = head(&[]);
    block.extend([0x40]);
    block.extend(&field("x", &"a".repeat(3_900))[1..]);
    block.extend(vec![0xbe; 10_000]);
    let mut raw = Raw::new().await;
    raw.send(&request(&block)).await;
    let verdict = verdict(&mut raw).await;
    assert_ne!(verdict, Verdict::Ended);
    assert!(raw.asked.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_given_up() {
    let mut raw = Raw::new().await;
    raw.send(&request(&head(&[]))).await;
    let mut asked = raw.asked.recv().await.unwrap();
    let mut download = asked
        .respond
        .send_response(Response::new(()), false)
        .unwrap();
    // More than the pipe and the client's window hold.
    download.send_data(vec![0; 1 << 20].into(), true).unwrap();
    raw.send(&frame(WINDOW_UPDATE, 0, 0, &[0, 0x40, 0, 0]))
        .await;
    raw.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0x40, 0, 0]))
        .await;
    let end = raw.relay.await.unwrap();
    assert!(matches!(end, Err(HttpError::Http2Client(_))), "{end:?}");
    drop(raw.client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_begins_is_given_up() {
    let (exchange, _shutdown, _) =
        super::peer::noting(Box::new(|_| crate::policy::Judgement::Allow));
    let (_client, client_end) = tokio::io::duplex(64 * 1024);
    let (server_end, _server) = tokio::io::duplex(64 * 1024);
    let end = super::super::relay(client_end, server_end, exchange).await;
    assert!(
        matches!(end, Ok(End::Refused(Refusal::HeadLate(_)))),
        "{end:?}"
    );
}

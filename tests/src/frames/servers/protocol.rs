//! Servers that break the protocol of the connection (RFC 9113 §3 to §6), or flood it.

use super::{Script, script};
use crate::frames::{
    ACK, CONTINUATION, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE,
    LARGEST, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, PING, PRIORITY, RST_STREAM, SETTINGS, UNKNOWN,
    WINDOW_UPDATE, header, number,
    server::OK,
    settings,
    verdict::Right::{Bounded, Dropped, Failed, Ignored, Served},
};

pub(super) fn scripts() -> Vec<Script> {
    [openings(), frames(), floods()].concat()
}

#[rustfmt::skip]
fn openings() -> Vec<Script> {
    vec![
        script("close before SETTINGS", Failed, |s| s.wire.close()).alone(),
        script("answer of HTTP 1", Failed, |s| s.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).alone(),
        script("noise", Failed, |s| s.send(&[0x55; 4096])).alone(),
        script("SETTINGS of five octets", Failed, |s| s.frame(SETTINGS, 0, 0, &[0; 5])).alone(),
        script("ENABLE_PUSH of a server", Dropped, |s| { s.greet(&[(ENABLE_PUSH, 1)])?; s.request()?; s.head(END_STREAM, &[(":status", "200")]) }).alone(),
        script("INITIAL_WINDOW_SIZE too large", Failed, |s| s.send(&settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]))).alone(),
        script("MAX_FRAME_SIZE too small", Failed, |s| s.send(&settings(&[(MAX_FRAME_SIZE, 1)]))).alone(),
        script("streams one by one", Served, |s| {
            s.greet(&[(MAX_CONCURRENT_STREAMS, 1)])?;
            (0..5).try_for_each(|_| { s.request()?; s.head(END_STREAM, &[(":status", "200")]) })
        }).alone().requests(5),
        script("silence before SETTINGS", Ignored, |_| Ok(())).alone(),
        script("silence", Ignored, |_| Ok(())),
        script("silence within a frame", Ignored, |s| s.send(&header(100, HEADERS, END_HEADERS, s.stream))),
        script("silence within a body", Ignored, |s| { s.head(0, &[(":status", "200")])?; s.frame(DATA, 0, s.stream, b"x") }),
        script("silence with a window of nothing", Ignored, |s| s.greet(&[(INITIAL_WINDOW_SIZE, 0)])).alone().posted(),
        script("window of nothing, then of all", Served, |s| {
            s.greet(&[(INITIAL_WINDOW_SIZE, 0)])?;
            s.request()?;
            s.send(&number(WINDOW_UPDATE, s.stream, 1000))?;
            s.head(END_STREAM, &[(":status", "200")])
        }).alone(),
    ]
}

#[rustfmt::skip]
fn frames() -> Vec<Script> {
    vec![
        script("frame above the largest", Failed, |s| s.frame(UNKNOWN, 0, 0, &[0; LARGEST + 1])),
        script("type that nobody knows", Served, |s| { s.frame(UNKNOWN, 0xff, s.stream, b"x")?; s.head(END_STREAM, &[(":status", "200")]) }),
        script("stream of a server", Failed, |s| s.frame(HEADERS, END_HEADERS | END_STREAM, 2, OK)),
        script("stream that was never opened", Failed, |s| s.frame(HEADERS, END_HEADERS | END_STREAM, 99, OK)),
        script("DATA on stream 0", Failed, |s| s.frame(DATA, 0, 0, b"x")),
        script("PING on a stream", Failed, |s| s.frame(PING, 0, s.stream, b"8 octets")),
        script("PING of six octets", Failed, |s| s.frame(PING, 0, 0, b"6 octe")),
        script("RST_STREAM on stream 0", Failed, |s| s.send(&number(RST_STREAM, 0, 1))),
        script("RST_STREAM of three octets", Failed, |s| s.frame(RST_STREAM, 0, s.stream, &[0; 3])),
        script("SETTINGS answered with a payload", Failed, |s| s.frame(SETTINGS, ACK, 0, &[0; 6])),
        script("SETTINGS on a stream", Failed, |s| s.frame(SETTINGS, 0, s.stream, &[])),
        script("WINDOW_UPDATE of 0 on the connection", Failed, |s| s.send(&number(WINDOW_UPDATE, 0, 0))),
        script("WINDOW_UPDATE of 0 on a stream", Failed, |s| s.send(&number(WINDOW_UPDATE, s.stream, 0))),
        script("window of the connection overflows", Failed, |s| s.send(&number(WINDOW_UPDATE, 0, 0x7fff_ffff).repeat(2))),
        script("window of a stream overflows", Failed, |s| s.send(&number(WINDOW_UPDATE, s.stream, 0x7fff_ffff).repeat(2))).posted(),
        script("DATA within a header block", Failed, |s| { s.frame(HEADERS, 0, s.stream, OK)?; s.frame(DATA, END_STREAM, s.stream, b"x") }),
        script("CONTINUATION of nothing", Failed, |s| s.frame(CONTINUATION, END_HEADERS, s.stream, OK)),
        script("CONTINUATION of another stream", Failed, |s| { s.frame(HEADERS, 0, s.stream, OK)?; s.frame(CONTINUATION, END_HEADERS, s.stream + 2, &[]) }),
    ]
}

/// What a flood costs is looked at beside it.
#[rustfmt::skip]
fn floods() -> Vec<Script> {
    vec![
        script("flood of PING", Bounded, |s| s.flood(&[header(8, PING, 0, 0), vec![0; 8]].concat(), 100_000)),
        script("flood of SETTINGS", Bounded, |s| s.flood(&header(0, SETTINGS, 0, 0), 100_000)),
        script("flood of windows", Bounded, |s| s.flood(&[settings(&[(INITIAL_WINDOW_SIZE, 0)]), settings(&[(INITIAL_WINDOW_SIZE, 65_535)])].concat(), 20_000)).requests(50),
        script("flood of WINDOW_UPDATE", Bounded, |s| s.flood(&number(WINDOW_UPDATE, 0, 1), 100_000)),
        script("flood of PRIORITY", Bounded, |s| s.flood(&[header(5, PRIORITY, 0, s.stream), vec![0, 0, 0, 0, 1]].concat(), 100_000)),
        script("flood of types that nobody knows", Bounded, |s| s.flood(&header(0, UNKNOWN, 0, 0), 100_000)),
        // Each makes the client reset a stream, and think that there is room for another.
        script("flood that makes the client reset", Bounded, |s| {
            let stream = s.stream;
            (0..100).try_for_each(|nth| s.send(&number(WINDOW_UPDATE, stream + 2 * nth, 0)))
        }).requests(100),
    ]
}

//! The preface, frames as such, and the states of streams (RFC 9113 §3 to §5).

use super::{
    Case,
    Upstream::{Any, Incomplete, Whole},
    case,
};
use crate::frames::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_SIZE_ERROR, HEADER_TABLE_SIZE,
    HEADERS, LARGEST, MAX_CONCURRENT_STREAMS, PING, PREFACE, PRIORITY, PROTOCOL_ERROR,
    PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, UNKNOWN, WINDOW_UPDATE,
    header, number, settings,
    verdict::Right::{Connection, Ended, Ignored, Served, Stream},
};

const OUT_OF_ORDER: &[u32] = &[PROTOCOL_ERROR, STREAM_CLOSED];
const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];
const SIZE: &[u32] = &[FRAME_SIZE_ERROR, PROTOCOL_ERROR];

pub(super) fn cases() -> Vec<Case> {
    [preface(), sizes(), states(), identifiers()].concat()
}

#[rustfmt::skip]
fn preface() -> Vec<Case> {
    vec![
        // To a peer that does not speak HTTP/2 no GOAWAY has to be sent.
        case("3.4", "preface of another protocol", Ended, |c| c.send(b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")).alone(),
        case("3.4", "request of HTTP 1", Ended, |c| c.send(b"GET /request-of-HTTP-1 HTTP/1.1\r\nHost: example.com\r\n\r\n")).alone(),
        case("3.4", "preface in single bytes", Served, |c| {
            PREFACE.iter().try_for_each(|byte| c.send(&[*byte]))?;
            settings(&[]).iter().try_for_each(|byte| c.send(&[*byte]))?;
            c.get(1)
        }).alone(),
        case("3.4", "preface twice", Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]), |c| c.send(PREFACE)),
        case("3.4", "SETTINGS answered late", Served, |c| {
            c.send(PREFACE)?;
            c.send(&settings(&[(HEADER_TABLE_SIZE, 0)]))?;
            c.get(1)
        }).alone(),
    ]
}

#[rustfmt::skip]
fn sizes() -> Vec<Case> {
    vec![
        case("4.1", "type that nobody knows", Served, |c| { c.frame(UNKNOWN, 0xff, 0, b"what is this")?; c.get(1) }),
        case("4.1", "type that nobody knows on a stream to come", Served, |c| { c.frame(UNKNOWN, 0, 1, b"what is this")?; c.get(1) }),
        case("4.1", "flags that PING does not have", Served, |c| { c.frame(PING, 0xfe, 0, b"8 octets")?; c.get(1) }),
        case("4.1", "reserved bit of a stream", Served, |c| { c.frame(PING, 0, 1 << 31, b"8 octets")?; c.get(1) }),
        case("4.2", "largest DATA", Served, |c| { c.post(1)?; c.frame(DATA, END_STREAM, 1, &[b'x'; LARGEST]) }),
        case("4.2", "DATA above the largest", Stream(SIZE), |c| { c.post(1)?; c.frame(DATA, END_STREAM, 1, &[b'x'; LARGEST + 1]) }).upstream(Incomplete),
        case("4.2", "HEADERS above the largest", Connection(SIZE), |c| { let mut block = c.block("GET"); block.resize(LARGEST + 1, 0x82); c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block) }),
        case("4.2", "SETTINGS above the largest", Connection(SIZE), |c| c.frame(SETTINGS, 0, 0, &[0; 6 * 2731])),
        case("4.2", "CONTINUATION above the largest", Connection(SIZE), |c| { c.frame(HEADERS, END_STREAM, 1, &[])?; c.frame(CONTINUATION, END_HEADERS, 1, &[0x82; LARGEST + 1]) }),
        case("4.2", "unknown type above the largest", Connection(SIZE), |c| c.frame(UNKNOWN, 0, 0, &[0; LARGEST + 1])),
        case("4.2", "sixteen megabytes promised", Connection(SIZE), |c| { c.quiet = true; c.send(&header(0xff_ffff, DATA, 0, 1)) }),
    ]
}

#[rustfmt::skip]
fn states() -> Vec<Case> {
    vec![
        case("5.1", "DATA on an idle stream", Connection(PROTOCOL), |c| c.frame(DATA, END_STREAM, 1, b"x")),
        case("5.1", "RST_STREAM on an idle stream", Connection(PROTOCOL), |c| c.send(&number(RST_STREAM, 1, CANCEL))),
        case("5.1", "WINDOW_UPDATE on an idle stream", Connection(PROTOCOL), |c| c.send(&number(WINDOW_UPDATE, 1, 1))),
        case("5.1", "CONTINUATION on an idle stream", Connection(PROTOCOL), |c| c.frame(CONTINUATION, END_HEADERS, 1, &[0x82])),
        case("5.1", "PRIORITY on an idle stream", Served, |c| { c.frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 7])?; c.get(1) }),
        case("5.1", "DATA on a half-closed stream", Stream(OUT_OF_ORDER), |c| { c.get_with(1, &[("x-held", "1")])?; c.frame(DATA, END_STREAM, 1, b"x") }).upstream(Any),
        case("5.1", "HEADERS on a half-closed stream", Stream(OUT_OF_ORDER), |c| { c.get_with(1, &[("x-held", "1")])?; c.get(1) }).upstream(Any),
        case("5.1", "CONTINUATION on a half-closed stream", Connection(OUT_OF_ORDER), |c| { c.get_with(1, &[("x-held", "1")])?; c.frame(CONTINUATION, END_HEADERS, 1, &[0x82]) }).upstream(Any),
        case("5.1", "WINDOW_UPDATE on a half-closed stream", Served, |c| { c.get(1)?; c.send(&number(WINDOW_UPDATE, 1, 100)) }),
        // Frames may be under way when a reset comes: only a peer that has sent the reset itself is to be told.
        case("5.1", "DATA behind a reset", Stream(OUT_OF_ORDER), |c| { c.post(1)?; c.send(&number(RST_STREAM, 1, CANCEL))?; c.frame(DATA, END_STREAM, 1, b"x") }).upstream(Incomplete),
        case("5.1", "HEADERS behind a reset", Stream(OUT_OF_ORDER), |c| { c.post(1)?; c.send(&number(RST_STREAM, 1, CANCEL))?; c.get(1) }).upstream(Incomplete),
        case("5.1", "CONTINUATION behind a reset", Connection(OUT_OF_ORDER), |c| { c.post(1)?; c.send(&number(RST_STREAM, 1, CANCEL))?; c.frame(CONTINUATION, END_HEADERS, 1, &[0x82]) }).upstream(Incomplete),
        case("5.1", "DATA on a closed stream", Stream(OUT_OF_ORDER), |c| { c.get(1)?; c.settle(1)?; c.frame(DATA, END_STREAM, 1, b"x") }).upstream(Whole),
        case("5.1", "HEADERS on a closed stream", Connection(OUT_OF_ORDER), |c| { c.get(1)?; c.settle(1)?; c.get(1) }).upstream(Whole),
        case("5.1", "CONTINUATION on a closed stream", Connection(OUT_OF_ORDER), |c| { c.get(1)?; c.settle(1)?; c.frame(CONTINUATION, END_HEADERS, 1, &[0x82]) }).upstream(Whole),
        case("5.1", "late frames on a closed stream", Served, |c| {
            c.get(1)?;
            c.settle(1)?;
            c.send(&number(WINDOW_UPDATE, 1, 100))?;
            c.send(&number(RST_STREAM, 1, CANCEL))?;
            c.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 7])
        }),
        case("5.1", "cancelled request", Ignored, |c| { c.get_with(1, &[("x-held", "1")])?; c.send(&number(RST_STREAM, 1, CANCEL)) }).upstream(Any),
        case("5.5", "unknown type within a header block", Connection(PROTOCOL), |c| {
            let block = c.block("GET");
            c.frame(HEADERS, END_STREAM, 1, &block)?;
            c.frame(UNKNOWN, 0, 1, &[])?;
            c.frame(CONTINUATION, END_HEADERS, 1, &[])
        }),
    ]
}

#[rustfmt::skip]
fn identifiers() -> Vec<Case> {
    vec![
        case("5.1.1", "even stream", Connection(PROTOCOL), |c| c.get(2)),
        case("5.1.1", "stream below the last", Connection(OUT_OF_ORDER), |c| { c.get(5)?; c.get(3) }).upstream(Any),
        case("5.1.1", "stream 0", Connection(PROTOCOL), |c| c.get(0)),
        case("5.1.1", "streams left out", Served, |c| { c.get(5)?; c.get(1001) }),
        case("5.1.1", "last of all streams", Served, |c| c.get(0x7fff_ffff)),
        case("5.1.2", "one stream too many", Stream(&[REFUSED_STREAM, PROTOCOL_ERROR]), |c| {
            let most = c.seen.settings.iter().find(|(name, _)| *name == MAX_CONCURRENT_STREAMS);
            let most = most.map_or(0, |(_, value)| *value);
            c.expect((1..=1000).contains(&most), "no limit to the number of streams");
            (0..=most.min(1000)).try_for_each(|number| c.get_with(2 * number + 1, &[("x-held", "1")]))
        }).upstream(Any),
        case("8.4", "PUSH_PROMISE of a client", Connection(PROTOCOL), |c| {
            let block = [&[0, 0, 0, 2], &c.block("GET")[..]].concat();
            c.get_with(1, &[("x-held", "1")])?;
            c.frame(PUSH_PROMISE, END_HEADERS, 1, &block)
        }).upstream(Any),
    ]
}

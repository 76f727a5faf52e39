//! Each type of frame (RFC 9113 §6).

use super::{
    Case,
    Upstream::{Any, Incomplete, Whole},
    case,
};
use crate::frames::{
    ACK, CONTINUATION, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, NO_ERROR, PADDED, PING,
    PRIORITISED, PRIORITY, PROTOCOL_ERROR, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, goaway,
    number, settings,
    verdict::Right::{Connection, Ignored, Served, Stream},
};

const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];
const SIZE: &[u32] = &[FRAME_SIZE_ERROR, PROTOCOL_ERROR];
const FLOW: &[u32] = &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR];

pub(super) fn cases() -> Vec<Case> {
    [
        messages(),
        settings_of(),
        small(),
        windows(),
        continuation(),
    ]
    .concat()
}

#[rustfmt::skip]
fn messages() -> Vec<Case> {
    vec![
        case("6.1", "DATA on stream 0", Connection(PROTOCOL), |c| c.frame(DATA, 0, 0, b"x")),
        case("6.1", "padding of DATA longer than all", Connection(PROTOCOL), |c| { c.post(1)?; c.frame(DATA, PADDED | END_STREAM, 1, &[5, 0, 0, 0, 0]) }).upstream(Incomplete),
        case("6.1", "padded DATA without a length", Connection(SIZE), |c| { c.post(1)?; c.frame(DATA, PADDED | END_STREAM, 1, &[]) }).upstream(Incomplete),
        case("6.1", "DATA of nothing but padding", Served, |c| { c.post(1)?; c.frame(DATA, PADDED | END_STREAM, 1, &[4, 0, 0, 0, 0]) }),
        case("6.2", "padding of HEADERS longer than all", Connection(PROTOCOL), |c| { let block = [&[255][..], &c.block("GET")].concat(); let cut = block[..100].to_vec(); c.frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 1, &cut) }),
        case("6.2", "padded HEADERS without a length", Connection(SIZE), |c| c.frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 1, &[])),
        case("6.2", "padded HEADERS with a priority", Served, |c| {
            let block = [&[3, 0, 0, 0, 0, 15][..], &c.block("GET"), &[0; 3]].concat();
            c.frame(HEADERS, PADDED | PRIORITISED | END_HEADERS | END_STREAM, 1, &block)
        }),
        case("6.2", "priority of HEADERS cut short", Connection(SIZE), |c| c.frame(HEADERS, PRIORITISED | END_HEADERS | END_STREAM, 1, &[0, 0, 0])),
        case("6.2", "DATA within a header block", Connection(PROTOCOL), |c| { let block = c.block("POST"); c.frame(HEADERS, 0, 1, &block)?; c.frame(DATA, END_STREAM, 1, b"x") }),
        case("6.2", "HEADERS of another stream within a header block", Connection(PROTOCOL), |c| { let block = c.block("GET"); c.frame(HEADERS, END_STREAM, 1, &block)?; c.get(3) }),
        case("6.2", "PING within a header block", Connection(PROTOCOL), |c| { let block = c.block("GET"); c.frame(HEADERS, END_STREAM, 1, &block)?; c.frame(PING, 0, 0, b"8 octets")?; c.frame(CONTINUATION, END_HEADERS, 1, &[]) }),
        case("6.3", "PRIORITY of four octets", Stream(SIZE), |c| { c.get_with(1, &[("x-held", "1")])?; c.frame(PRIORITY, 0, 1, &[0; 4]) }).upstream(Any),
        case("6.3", "PRIORITY on stream 0", Connection(PROTOCOL), |c| c.frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 7])),
        case("6.4", "RST_STREAM on stream 0", Connection(PROTOCOL), |c| c.send(&number(RST_STREAM, 0, NO_ERROR))),
        case("6.4", "RST_STREAM of three octets", Connection(SIZE), |c| { c.get_with(1, &[("x-held", "1")])?; c.frame(RST_STREAM, 0, 1, &[0; 3]) }).upstream(Any),
        case("6.4", "RST_STREAM with a code that nobody knows", Ignored, |c| { c.get_with(1, &[("x-held", "1")])?; c.send(&number(RST_STREAM, 1, 0xdead_beef)) }).upstream(Any),
    ]
}

#[rustfmt::skip]
fn settings_of() -> Vec<Case> {
    vec![
        case("6.5", "SETTINGS answered with a payload", Connection(SIZE), |c| c.frame(SETTINGS, ACK, 0, &[0, 1, 0, 0, 0, 0])),
        case("6.5", "SETTINGS on a stream", Connection(PROTOCOL), |c| c.frame(SETTINGS, 0, 1, &[])),
        case("6.5", "SETTINGS of five octets", Connection(SIZE), |c| c.frame(SETTINGS, 0, 0, &[0; 5])),
        case("6.5.2", "ENABLE_PUSH of 2", Connection(PROTOCOL), |c| c.send(&settings(&[(ENABLE_PUSH, 2)]))),
        case("6.5.2", "INITIAL_WINDOW_SIZE too large", Connection(FLOW), |c| c.send(&settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]))),
        case("6.5.2", "MAX_FRAME_SIZE too small", Connection(PROTOCOL), |c| c.send(&settings(&[(MAX_FRAME_SIZE, 16_383)]))),
        case("6.5.2", "MAX_FRAME_SIZE too large", Connection(PROTOCOL), |c| c.send(&settings(&[(MAX_FRAME_SIZE, 1 << 24)]))),
        case("6.5.2", "setting that nobody knows", Served, |c| { c.send(&settings(&[(0xbeef, 7)]))?; c.get(1) }),
        case("6.5.3", "each SETTINGS is answered", Served, |c| {
            c.send(&settings(&[(ENABLE_PUSH, 0), (ENABLE_PUSH, 1), (ENABLE_PUSH, 0)]))?;
            c.send(&settings(&[]))?;
            c.get(1)?;
            c.read_until(|seen| seen.acks == 3)?;
            c.expect(c.seen.acks == 3, "SETTINGS were not answered");
            Ok(())
        }),
    ]
}

#[rustfmt::skip]
fn small() -> Vec<Case> {
    vec![
        case("6.7", "PING on a stream", Connection(PROTOCOL), |c| c.frame(PING, 0, 1, b"8 octets")),
        case("6.7", "PING of six octets", Connection(SIZE), |c| c.frame(PING, 0, 0, b"6 octe")),
        case("6.7", "PING is answered with its payload", Ignored, |c| {
            c.frame(PING, 0, 0, b"\0\xff 8 oct")?;
            c.read_until(|seen| !seen.pongs.is_empty())?;
            c.expect(c.seen.pongs == [b"\0\xff 8 oct"], "another payload came back");
            Ok(())
        }),
        case("6.7", "answer to no PING", Served, |c| { c.frame(PING, ACK, 0, b"8 octets")?; c.get(1) }),
        case("6.8", "GOAWAY on a stream", Connection(PROTOCOL), |c| c.send(&frame(GOAWAY, 0, 1, &[0; 8]))),
        case("6.8", "GOAWAY of seven octets", Connection(SIZE), |c| c.send(&frame(GOAWAY, 0, 0, &[0; 7]))),
        case("6.8", "GOAWAY with a request under way", Served, |c| { c.get(1)?; c.send(&frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0a reason"))?; c.settle(1) }),
        case("6.8", "GOAWAY that says more than the one before", Connection(PROTOCOL), |c| { c.send(&goaway(0, NO_ERROR))?; c.send(&goaway(0x7fff_ffff, NO_ERROR)) }),
    ]
}

#[rustfmt::skip]
fn windows() -> Vec<Case> {
    vec![
        case("6.9", "WINDOW_UPDATE of 0 on the connection", Connection(PROTOCOL), |c| c.send(&number(WINDOW_UPDATE, 0, 0))),
        case("6.9", "WINDOW_UPDATE of 0 on a stream", Stream(PROTOCOL), |c| { c.get_with(1, &[("x-held", "1")])?; c.send(&number(WINDOW_UPDATE, 1, 0)) }).upstream(Any),
        case("6.9", "WINDOW_UPDATE of three octets", Connection(SIZE), |c| c.frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])),
        case("6.9.1", "window of the connection overflows", Connection(FLOW), |c| c.send(&number(WINDOW_UPDATE, 0, 0x7fff_ffff).repeat(2))),
        case("6.9.1", "window of a stream overflows", Stream(FLOW), |c| { c.get_with(1, &[("x-held", "1")])?; c.send(&number(WINDOW_UPDATE, 1, 0x7fff_ffff).repeat(2)) }).upstream(Any),
        case("6.9.2", "windows overflow by a setting", Connection(FLOW), |c| {
            c.get_with(1, &[("x-held", "1")])?;
            c.send(&number(WINDOW_UPDATE, 1, 0x7fff_0000))?;
            c.send(&settings(&[(INITIAL_WINDOW_SIZE, 0x7fff_ffff)]))
        }).upstream(Any),
        case("6.9.1", "DATA beyond every window", Stream(FLOW), |c| {
            c.post_with(1, &[("x-held", "1")])?;
            c.flood(&frame(DATA, 0, 1, &[b'x'; 16_000]), 200)
        }).upstream(Incomplete),
        case("6.9.1", "small DATA that nobody reads", Ignored, |c| { c.post_with(1, &[("x-held", "1")])?; c.flood(&frame(DATA, 0, 1, &[b'x'; 20]), 3_000) }).upstream(Any),
        case("6.9.1", "window of one byte", Served, |c| {
            c.stingy = true;
            c.send(&settings(&[(INITIAL_WINDOW_SIZE, 1)]))?;
            c.get(1)?;
            c.read_until(|seen| seen.data > 0)?;
            c.frame(PING, 0, 0, b"in order")?;
            c.read_until(|seen| !seen.pongs.is_empty())?;
            c.expect(c.seen.data == 1, "more than one byte came");
            c.send(&number(WINDOW_UPDATE, 1, 1_000_000))?;
            c.settle(1)
        }),
        case("6.9.2", "window below zero", Served, |c| {
            c.stingy = true;
            c.send(&settings(&[(INITIAL_WINDOW_SIZE, 3)]))?;
            c.get(1)?;
            c.read_until(|seen| seen.data == 3)?;
            c.send(&settings(&[(INITIAL_WINDOW_SIZE, 0)]))?;
            // Of four bytes three fill up what is missing.
            c.send(&number(WINDOW_UPDATE, 1, 4))?;
            c.read_until(|seen| seen.data > 3)?;
            c.frame(PING, 0, 0, b"in order")?;
            c.read_until(|seen| !seen.pongs.is_empty())?;
            c.expect(c.seen.data == 4, "not exactly one more byte came");
            c.send(&number(WINDOW_UPDATE, 1, 1_000_000))?;
            c.settle(1)
        }).upstream(Whole),
    ]
}

#[rustfmt::skip]
fn continuation() -> Vec<Case> {
    vec![
        case("6.10", "header block in many frames", Served, |c| {
            let block = c.block("GET");
            c.frame(HEADERS, END_STREAM, 1, &[])?;
            block.chunks(40).try_for_each(|part| c.frame(CONTINUATION, 0, 1, part))?;
            c.frame(CONTINUATION, END_HEADERS, 1, &[])
        }),
        case("6.10", "CONTINUATION behind the end of headers", Connection(PROTOCOL), |c| { c.get_with(1, &[("x-held", "1")])?; c.frame(CONTINUATION, END_HEADERS, 1, &[]) }).upstream(Any),
        case("6.10", "CONTINUATION on stream 0", Connection(PROTOCOL), |c| { let block = c.block("GET"); c.frame(HEADERS, END_STREAM, 1, &block)?; c.frame(CONTINUATION, END_HEADERS, 0, &[]) }),
        case("6.10", "CONTINUATION of another stream", Connection(PROTOCOL), |c| { let block = c.block("GET"); c.frame(HEADERS, END_STREAM, 1, &block)?; c.frame(CONTINUATION, END_HEADERS, 3, &[]) }),
        case("6.10", "CONTINUATION behind DATA", Connection(PROTOCOL), |c| { c.post(1)?; c.frame(DATA, 0, 1, b"x")?; c.frame(CONTINUATION, END_HEADERS, 1, &[]) }).upstream(Incomplete),
    ]
}

//! What clients send too much of. Whether it ends the connection is of less interest than what it costs.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADER_TABLE_SIZE, HEADERS,
    INITIAL_WINDOW_SIZE, LARGEST, NO_ERROR, PADDED, PING, PRIORITY, RST_STREAM, SETTINGS, UNKNOWN,
    WINDOW_UPDATE,
    cases::Case,
    client::Client,
    frame, goaway, header,
    hpack::{field, kept},
    number, settings,
    verdict::Right::{Bounded, Ended, Refused, Served},
};

/// Requests that are under way while windows are played with.
const MANY: u32 = 50;

#[rustfmt::skip]
pub fn all() -> Vec<Case> {
    let flood = |name, right, script| super::cases::case("10.5", name, right, script).upstream(super::cases::Upstream::Any);
    vec![
        flood("CONTINUATION without end", Ended, |c| {
            let block = c.block("GET");
            c.frame(HEADERS, END_STREAM, 1, &block)?;
            c.flood(&frame(CONTINUATION, 0, 1, &field(b"x-large", &[b'x'; LARGEST - 16])), 4_000)
        }),
        flood("empty CONTINUATION without end", Ended, |c| { let block = c.block("GET"); c.frame(HEADERS, END_STREAM, 1, &block)?; c.flood(&header(0, CONTINUATION, 0, 1), 200_000) }),
        flood("rapid reset", Ended, |c| in_turn(c, |stream| number(RST_STREAM, stream, CANCEL))),
        flood("reset that the server is made to send", Ended, |c| in_turn(c, |stream| number(WINDOW_UPDATE, stream, 0))),
        flood("reset for DATA behind the end", Ended, |c| in_turn(c, |stream| frame(DATA, 0, stream, b"x"))),
        flood("malformed requests", Bounded, |c| {
            let block = [c.block("GET"), field(b"X-Name", b"")].concat();
            (0..5_000).try_for_each(|number| send_request(c, 2 * number + 1, &block, &[]))
        }),
        flood("SETTINGS", Ended, |c| c.flood(&header(0, SETTINGS, 0, 0), 100_000)),
        flood("PING", Ended, |c| c.flood(&frame(PING, 0, 0, b"8 octets"), 100_000)),
        flood("PRIORITY", Ended, |c| c.flood(&frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 7]), 100_000)),
        flood("RST_STREAM", Ended, |c| { c.get(1)?; c.settle(1)?; c.flood(&number(RST_STREAM, 1, CANCEL), 100_000) }),
        flood("GOAWAY", Ended, |c| c.flood(&goaway(0, NO_ERROR), 100_000)),
        flood("type that nobody knows", Ended, |c| c.flood(&header(0, UNKNOWN, 0, 0), 100_000)),
        flood("empty DATA", Ended, |c| { c.post(1)?; c.flood(&header(0, DATA, 0, 1), 100_000) }),
        flood("DATA of padding", Bounded, |c| { c.post(1)?; c.flood(&frame(DATA, PADDED, 1, &[255; 256]), 10_000) }),
        flood("WINDOW_UPDATE of a byte", Ended, |c| c.flood(&number(WINDOW_UPDATE, 0, 1), 100_000)),
        flood("windows that open and close", Ended, |c| {
            (0..MANY).try_for_each(|number| c.get_with(2 * number + 1, &[("x-held", "1")]))?;
            c.flood(&[settings(&[(INITIAL_WINDOW_SIZE, 0)]), settings(&[(INITIAL_WINDOW_SIZE, 65_535)])].concat(), 20_000)
        }),
        flood("table that is resized", Ended, |c| c.flood(&[settings(&[(HEADER_TABLE_SIZE, 0)]), settings(&[(HEADER_TABLE_SIZE, u32::MAX)])].concat(), 20_000)),
        flood("bomb of references", Refused, |c| {
            let block = [&c.block("GET")[..], &kept(b"x-bomb", &[b'x'; 4000]), &[0xbe; 12_000]].concat();
            c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
        }),
        flood("bombs of references", Bounded, |c| {
            let block = [&c.block("GET")[..], &kept(b"x-bomb", &[b'x'; 4000]), &[0xbe; 12_000]].concat();
            (0..200).try_for_each(|number| send_request(c, 2 * number + 1, &block, &[]))
        }),
        flood("bomb in CONTINUATION", Refused, |c| {
            let block = [c.block("GET"), kept(b"x-bomb", &[b'x'; 4000])].concat();
            c.frame(HEADERS, END_STREAM, 1, &block)?;
            c.flood(&frame(CONTINUATION, 0, 1, &[0xbe; LARGEST]), 200)?;
            c.frame(CONTINUATION, END_HEADERS, 1, &[])
        }),
        flood("answers that nobody reads", Bounded, |c| {
            c.stingy = true;
            c.wire.deaf = true;
            c.send(&settings(&[(INITIAL_WINDOW_SIZE, 0x7fff_ffff)]))?;
            c.send(&number(WINDOW_UPDATE, 0, 0x7fff_0000))?;
            (0..MANY).try_for_each(|number| c.get_with(2 * number + 1, &[("x-large", "100000000")]))?;
            wait(c)
        }),
        flood("answers without a window", Bounded, |c| {
            c.stingy = true;
            c.send(&settings(&[(INITIAL_WINDOW_SIZE, 0)]))?;
            (0..MANY).try_for_each(|number| c.get_with(2 * number + 1, &[("x-large", "100000000")]))?;
            wait(c)
        }),
        flood("PING whose answers nobody reads", Bounded, |c| {
            c.stingy = true;
            c.wire.deaf = true;
            c.flood(&frame(PING, 0, 0, b"8 octets"), 100_000)?;
            wait(c)
        }),
        flood("resets that nobody reads", Bounded, |c| {
            c.stingy = true;
            c.wire.deaf = true;
            in_turn(c, |stream| number(WINDOW_UPDATE, stream, 0))?;
            wait(c)
        }),
        flood("body byte by byte", Served, |c| {
            c.post(1)?;
            for _ in 0..20 {
                c.flood(&frame(DATA, 0, 1, b"x"), 100)?;
                c.frame(PING, 0, 0, b"in order")?;
                let read = c.seen.pongs.len();
                c.read_until(|seen| seen.pongs.len() > read)?;
            }
            c.end(1)
        }),
    ]
}

/// Requests that the next frame ends, one after the other.
fn in_turn(client: &mut Client, end: fn(u32) -> Vec<u8>) -> Result<()> {
    let block = client.block("GET");
    let block = [block, field(b"x-held", b"1")].concat();
    (0..10_000).try_for_each(|number| {
        let stream = 2 * number + 1;
        send_request(client, stream, &block, &end(stream))
    })
}

/// Sends a request which nobody waits for, if the peer still takes any.
fn send_request(client: &mut Client, stream: u32, block: &[u8], more: &[u8]) -> Result<()> {
    let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, block);
    client.flood(&[&request, more].concat(), 1)
}

/// Leaves the peer time to take as much as it ever will.
fn wait(client: &mut Client) -> Result<()> {
    thread::sleep(Duration::from_millis(500));
    client.wire.deaf = false;
    Ok(())
}

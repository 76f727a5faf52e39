//! Answers that are malformed, cut short or more than was asked for (RFC 9113 §8.1).

use std::{thread, time::Duration};

use super::{Script, script};
use crate::frames::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INTERNAL_ERROR, LARGEST,
    NO_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, frame, goaway, header,
    hpack::{field, kept},
    number,
    server::OK,
    verdict::Right::{Bounded, Dropped, Failed, Served, Stream},
};

pub(super) fn scripts() -> Vec<Script> {
    [heads(), bodies(), ends(), resets()].concat()
}

#[rustfmt::skip]
fn heads() -> Vec<Script> {
    vec![
        script("answer in order", Served, |s| { s.head(0, &[(":status", "200")])?; s.frame(DATA, END_STREAM, s.stream, b"x") }),
        script("no status", Failed, |s| s.head(END_STREAM, &[("server", "x")])),
        script("two statuses", Failed, |s| s.head(END_STREAM, &[(":status", "200"), (":status", "200")])),
        script("status that is a word", Failed, |s| s.head(END_STREAM, &[(":status", "fine")])),
        script("status of two digits", Failed, |s| s.head(END_STREAM, &[(":status", "20")])),
        script("status of four digits", Failed, |s| s.head(END_STREAM, &[(":status", "2000")])),
        script("status behind a field", Failed, |s| s.head(END_STREAM, &[("server", "x"), (":status", "200")])),
        script("pseudo-header of a request", Dropped, |s| s.head(END_STREAM, &[(":status", "200"), (":path", "/")])),
        script("pseudo-header that nobody knows", Failed, |s| s.head(END_STREAM, &[(":status", "200"), (":foo", "bar")])),
        script("name with capitals", Failed, |s| s.head(END_STREAM, &[(":status", "200"), ("Server", "x")])),
        script("name with a space", Failed, |s| s.head(END_STREAM, &[(":status", "200"), ("ser ver", "x")])),
        script("name of no letters", Failed, |s| s.head(END_STREAM, &[(":status", "200"), ("", "x")])),
        script("value with a null", Failed, |s| s.head(END_STREAM, &[(":status", "200"), ("server", "a\0b")])),
        script("value with a line break", Failed, |s| s.head(END_STREAM, &[(":status", "200"), ("server", "a\r\nset-cookie: b")])),
        script("Transfer-Encoding", Failed, |s| { s.head(0, &[(":status", "200"), ("transfer-encoding", "chunked")])?; s.frame(DATA, END_STREAM, s.stream, b"0\r\n\r\n") }),
        script("Connection", Failed, |s| s.head(END_STREAM, &[(":status", "200"), ("connection", "close")])),
        script("Keep-Alive", Failed, |s| s.head(END_STREAM, &[(":status", "200"), ("keep-alive", "timeout=5")])),
        script("Upgrade", Failed, |s| s.head(END_STREAM, &[(":status", "200"), ("upgrade", "h2c")])),
        script("switch of protocols", Failed, |s| { s.head(0, &[(":status", "101")])?; s.head(END_STREAM, &[(":status", "200")]) }),
        script("interim answers", Served, |s| {
            s.head(0, &[(":status", "100")])?;
            s.head(0, &[(":status", "103"), ("link", "</x>; rel=preload")])?;
            s.head(END_STREAM, &[(":status", "200")])
        }),
        script("interim answer that ends the stream", Failed, |s| s.head(END_STREAM, &[(":status", "103")])),
        script("interim answers without end", Failed, |s| { let head = [header(13, HEADERS, END_HEADERS, s.stream), field(b":status", b"103")].concat(); s.flood(&head, 20_000) }),
        script("head of a megabyte", Failed, |s| {
            let large = [OK, &field(b"x-large", &[b'x'; LARGEST - 17])].concat();
            s.frame(HEADERS, END_STREAM, s.stream, &large)?;
            (0..64).try_for_each(|_| s.frame(CONTINUATION, 0, s.stream, &large[1..]))?;
            s.frame(CONTINUATION, END_HEADERS, s.stream, &[])
        }),
        script("head without an end", Failed, |s| { s.frame(HEADERS, 0, s.stream, OK)?; s.flood(&[header(0, CONTINUATION, 0, s.stream)].concat(), 100_000) }),
        script("bomb of references", Failed, |s| {
            let bomb = [OK, &kept(b"x-bomb", &[b'x'; 4000]), &[0xbe; 12_000]].concat();
            s.frame(HEADERS, END_HEADERS | END_STREAM, s.stream, &bomb)
        }),
        script("index beyond the tables", Failed, |s| s.frame(HEADERS, END_HEADERS | END_STREAM, s.stream, &[0x88, 0xff, 0x10])),
        script("table made larger than allowed", Failed, |s| s.frame(HEADERS, END_HEADERS | END_STREAM, s.stream, &[0x3f, 0xe1, 0xff, 0x3f, 0x88])),
    ]
}

#[rustfmt::skip]
fn bodies() -> Vec<Script> {
    vec![
        script("DATA before a head", Failed, |s| s.frame(DATA, END_STREAM, s.stream, b"x")),
        script("Content-Length of more than there is", Failed, |s| { s.head(0, &[(":status", "200"), ("content-length", "5")])?; s.frame(DATA, END_STREAM, s.stream, b"123") }),
        script("Content-Length of less than there is", Failed, |s| { s.head(0, &[(":status", "200"), ("content-length", "3")])?; s.frame(DATA, END_STREAM, s.stream, b"12345") }),
        script("Content-Length without a body", Failed, |s| s.head(END_STREAM, &[(":status", "200"), ("content-length", "5")])),
        script("Content-Length twice and different", Failed, |s| { s.head(0, &[(":status", "200"), ("content-length", "3"), ("content-length", "4")])?; s.frame(DATA, END_STREAM, s.stream, b"123") }),
        script("more DATA than windows have room for", Failed, |s| { s.head(0, &[(":status", "200")])?; let data = [header(LARGEST, DATA, 0, s.stream), vec![b'x'; LARGEST]].concat(); s.flood_blindly(&data, 512) }),
        script("DATA above the largest", Failed, |s| { s.head(0, &[(":status", "200")])?; s.frame(DATA, END_STREAM, s.stream, &[b'x'; LARGEST + 1]) }),
        script("padding longer than all", Failed, |s| { s.head(0, &[(":status", "200")])?; s.frame(DATA, 0x8 | END_STREAM, s.stream, &[9, 0]) }),
        script("empty DATA without end", Bounded, |s| { s.head(0, &[(":status", "200")])?; let data = header(0, DATA, 0, s.stream); s.flood(&data, 50_000) }),
        script("small DATA to a client that does not read", Served, |s| { s.head(0, &[(":status", "200")])?; let data = frame(DATA, 0, s.stream, &[b'x'; 20]); s.flood(&data, 6_000)?; s.frame(DATA, END_STREAM, s.stream, b"") }).slowly(),
        script("second answer", Dropped, |s| { s.head(0, &[(":status", "200")])?; s.frame(DATA, 0, s.stream, b"x")?; s.head(END_STREAM, &[(":status", "200")]) }),
        script("trailers", Served, |s| { s.head(0, &[(":status", "200")])?; s.frame(DATA, 0, s.stream, b"x")?; s.head(END_STREAM, &[("x-trailer", "1")]) }),
        script("trailers that do not end the stream", Failed, |s| { s.head(0, &[(":status", "200")])?; s.head(0, &[("x-trailer", "1")]) }),
        script("trailers with capitals", Failed, |s| { s.head(0, &[(":status", "200")])?; s.head(END_STREAM, &[("X-Trailer", "1")]) }),
        script("DATA behind the end", Served, |s| { s.head(END_STREAM, &[(":status", "200")])?; s.settle(); s.frame(DATA, END_STREAM, s.stream, b"x") }),
    ]
}

#[rustfmt::skip]
fn ends() -> Vec<Script> {
    vec![
        script("close without an answer", Failed, |s| s.wire.close()),
        script("close behind a head", Failed, |s| { s.head(0, &[(":status", "200")])?; s.wire.close() }),
        script("close within a body", Failed, |s| { s.head(0, &[(":status", "200"), ("content-length", "5")])?; s.frame(DATA, 0, s.stream, b"123")?; s.wire.close() }),
        script("close within a frame", Failed, |s| { s.head(0, &[(":status", "200")])?; s.send(&[&header(10, DATA, END_STREAM, s.stream)[..], b"123"].concat())?; s.wire.close() }),
        script("GOAWAY before anything", Failed, |s| { s.send(&goaway(0, NO_ERROR))?; s.greet(&[]) }).alone(),
        script("GOAWAY that leaves a request out", Stream(&[REFUSED_STREAM]), |s| s.send(&goaway(0, NO_ERROR))),
        script("GOAWAY that leaves all but the first out", Stream(&[REFUSED_STREAM]), |s| { s.send(&goaway(s.stream, NO_ERROR))?; s.head(END_STREAM, &[(":status", "200")]) }).requests(3),
        script("GOAWAY, then the answer", Served, |s| { s.send(&goaway(s.stream, NO_ERROR))?; s.head(0, &[(":status", "200")])?; s.frame(DATA, END_STREAM, s.stream, b"x") }),
        script("GOAWAY with an error", Failed, |s| { s.send(&goaway(s.stream, INTERNAL_ERROR))?; s.wire.close() }),
        script("GOAWAY within a body", Failed, |s| { s.head(0, &[(":status", "200")])?; s.frame(DATA, 0, s.stream, b"x")?; s.send(&goaway(s.stream, INTERNAL_ERROR))?; s.wire.close() }),
        script("GOAWAY that says more than the one before", Failed, |s| { s.send(&goaway(0, NO_ERROR))?; s.send(&goaway(99, NO_ERROR)) }),
    ]
}

#[rustfmt::skip]
fn resets() -> Vec<Script> {
    vec![
        script("reset with code 1", Stream(&[1]), |s| s.send(&number(RST_STREAM, s.stream, 1))),
        script("reset with code 2", Stream(&[2]), |s| s.send(&number(RST_STREAM, s.stream, 2))),
        script("reset with code 3", Stream(&[3]), |s| s.send(&number(RST_STREAM, s.stream, 3))),
        script("reset with code 4", Stream(&[4]), |s| s.send(&number(RST_STREAM, s.stream, 4))),
        script("reset with code 5", Stream(&[5]), |s| s.send(&number(RST_STREAM, s.stream, 5))),
        script("reset with code 6", Stream(&[6]), |s| s.send(&number(RST_STREAM, s.stream, 6))),
        script("reset with code 7", Stream(&[REFUSED_STREAM]), |s| s.send(&number(RST_STREAM, s.stream, REFUSED_STREAM))),
        script("reset with code 8", Stream(&[CANCEL]), |s| s.send(&number(RST_STREAM, s.stream, CANCEL))),
        script("reset with code 9", Stream(&[9]), |s| s.send(&number(RST_STREAM, s.stream, 9))),
        script("reset with code 10", Stream(&[10]), |s| s.send(&number(RST_STREAM, s.stream, 10))),
        script("reset with code 11", Stream(&[11]), |s| s.send(&number(RST_STREAM, s.stream, 11))),
        script("reset with code 12", Stream(&[12]), |s| s.send(&number(RST_STREAM, s.stream, 12))),
        script("reset with code 13", Stream(&[13]), |s| s.send(&number(RST_STREAM, s.stream, 13))),
        script("reset with a code that nobody knows", Stream(&[0xbeef, INTERNAL_ERROR]), |s| s.send(&number(RST_STREAM, s.stream, 0xbeef))),
        script("reset without a reason", Stream(&[NO_ERROR]), |s| s.send(&number(RST_STREAM, s.stream, NO_ERROR))),
        script("reset behind a head", Stream(&[INTERNAL_ERROR]), |s| { s.head(0, &[(":status", "200")])?; s.send(&number(RST_STREAM, s.stream, INTERNAL_ERROR)) }),
        script("reset within a body", Stream(&[CANCEL]), |s| { s.head(0, &[(":status", "200")])?; s.frame(DATA, 0, s.stream, b"x")?; s.send(&number(RST_STREAM, s.stream, CANCEL)) }),
        script("DATA behind a reset", Failed, |s| { s.send(&number(RST_STREAM, s.stream, CANCEL))?; s.frame(DATA, END_STREAM, s.stream, b"x") }),
        // A server that has answered may say that it does not need the rest of the body (RFC 9113 §8.1).
        script("answer before the body's end", Served, |s| { s.head(0, &[(":status", "200")])?; s.frame(DATA, END_STREAM, s.stream, b"x")?; s.send(&number(RST_STREAM, s.stream, NO_ERROR)) }).posted(),
        script("reset of a body", Stream(&[REFUSED_STREAM]), |s| s.send(&number(RST_STREAM, s.stream, REFUSED_STREAM))).posted(),
        script("push", Failed, |s| { let promised = [&[0, 0, 0, 2, 0x82, 0x87, 0x84][..], &field(b":authority", b"x.example")].concat(); s.frame(PUSH_PROMISE, END_HEADERS, s.stream, &promised)?; s.head(END_STREAM, &[(":status", "200")]) }),
    ]
}

impl super::Server {
    /// As a server that reads nothing of what its client says.
    fn flood_blindly(&mut self, bytes: &[u8], times: usize) -> anyhow::Result<()> {
        (0..times).try_for_each(|_| self.send(bytes))
    }

    /// For what was sent to be read by itself.
    fn settle(&self) {
        thread::sleep(Duration::from_millis(50));
    }
}

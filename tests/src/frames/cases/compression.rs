//! Header blocks that do not decompress (RFC 7541), and some that do in ways that are rarely seen.

use anyhow::Result;

use super::{Case, case};
use crate::frames::{
    COMPRESSION_ERROR, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, LARGEST, PROTOCOL_ERROR,
    client::Client,
    hpack::{field, integer, kept},
    verdict::Right::{Connection, Refused, Served},
};

/// The `h2` crate says of whatever does not parse that it breaks the protocol, which RFC 9113 §7 has for what is not
/// specific: so in all tables. A client does the same upon either.
const COMPRESSION: &[u32] = &[COMPRESSION_ERROR, PROTOCOL_ERROR];

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("RFC 7541 2.3.3", "index beyond the tables", Connection(COMPRESSION), |c| behind(c, &[0xff, 0x00])),
        case("RFC 7541 2.3.3", "index beyond the tables by far", Connection(COMPRESSION), |c| behind(c, &[0xff, 0xff, 0xff, 0x7f])),
        case("RFC 7541 2.3.3", "name beyond the tables", Connection(COMPRESSION), |c| behind(c, &[0x7f, 0x10, 0x01, b'x'])),
        case("RFC 7541 6.1", "index 0", Connection(COMPRESSION), |c| behind(c, &[0x80])),
        case("RFC 7541 5.1", "number without an end", Connection(COMPRESSION), |c| behind(c, &[0xff; 32])),
        case("RFC 7541 5.1", "number that the block ends in", Connection(COMPRESSION), |c| behind(c, &[0xff, 0x80])),
        case("RFC 7541 5.2", "string longer than its block", Connection(COMPRESSION), |c| behind(c, &[0x00, 0x03, b'x', b'-', b'y', 0x7f, 0x70, b'z'])),
        case("RFC 7541 5.2", "string of four gigabytes", Connection(COMPRESSION), |c| behind(c, &[0x00, 0x7f, 0x80, 0xff, 0xff, 0xff, 0x0f])),
        case("RFC 7541 5.2", "EOS in Huffman's code", Connection(COMPRESSION), |c| behind(c, &[0x00, 0x01, b'x', 0x84, 0xff, 0xff, 0xff, 0xff])),
        case("RFC 7541 5.2", "Huffman's padding of a whole octet", Connection(COMPRESSION), |c| behind(c, &[0x00, 0x01, b'x', 0x82, 0x1f, 0xff])),
        case("RFC 7541 5.2", "Huffman's padding of zeros", Connection(COMPRESSION), |c| behind(c, &[0x00, 0x01, b'x', 0x81, 0x18])),
        case("RFC 7541 4.2", "table made larger than allowed", Connection(COMPRESSION), |c| { let mut size = Vec::new(); integer(&mut size, 0x20, 5, 1 << 20); before(c, &size) }),
        case("RFC 7541 4.2", "table resized behind a field", Connection(COMPRESSION), |c| behind(c, &[0x20, 0x82])),
        case("RFC 7541 4.2", "table resized at the end", Connection(COMPRESSION), |c| behind(c, &[0x20])),
        case("RFC 7541 2.3.2", "entry of a table that was emptied", Connection(COMPRESSION), |c| {
            let block = [c.block("GET"), kept(b"x-kept", b"1")].concat();
            c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)?;
            let block = [&[0x20][..], &c.block("GET"), &[0xbe]].concat();
            c.frame(HEADERS, END_HEADERS | END_STREAM, 3, &block)
        }).upstream(super::Upstream::Any),
        case("RFC 7541 4.2", "table made smaller, then as large as before", Served, |c| { let mut sizes = vec![0x20]; integer(&mut sizes, 0x20, 5, 4096); before(c, &sizes) }),
        case("RFC 7541 2.3.2", "fields that the table keeps", Served, |c| {
            let block = [c.block("GET"), kept(b"x-kept", b"1")].concat();
            c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)?;
            let block = [&c.block("GET")[..], &[0xbe]].concat();
            c.frame(HEADERS, END_HEADERS | END_STREAM, 3, &block)
        }),
        case("RFC 7541 4.4", "field larger than the table", Served, |c| {
            let block = [c.block("GET"), kept(b"x-kept", &[b'x'; 5000])].concat();
            c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
        }),
        // Whoever does not read a block to its end loses the table (RFC 9113 §4.3).
        case("4.3", "table behind a request that is malformed", Served, |c| {
            let block = [c.block("GET"), field(b"connection", b"close"), kept(b"x-kept", b"1")].concat();
            c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)?;
            c.settle(1)?;
            let block = [&c.block("GET")[..], &[0xbe]].concat();
            c.frame(HEADERS, END_HEADERS | END_STREAM, 3, &block)
        }),
        case("10.5.1", "head of a megabyte", Refused, |c| {
            let block = c.block("GET");
            c.frame(HEADERS, END_STREAM, 1, &block)?;
            let large = field(b"x-large", &[b'x'; LARGEST - 16]);
            (0..64).try_for_each(|_| c.frame(CONTINUATION, 0, 1, &large))?;
            c.frame(CONTINUATION, END_HEADERS, 1, &[])
        }),
        case("10.5.1", "ten thousand fields", Refused, |c| {
            let block = c.block("GET");
            c.frame(HEADERS, END_STREAM, 1, &block)?;
            let many = field(b"x", b"").repeat(2500);
            (0..4).try_for_each(|_| c.frame(CONTINUATION, 0, 1, &many))?;
            c.frame(CONTINUATION, END_HEADERS, 1, &[])
        }),
    ]
}

/// A request in order, and these octets at its end.
fn behind(client: &mut Client, octets: &[u8]) -> Result<()> {
    let block = [&client.block("GET")[..], octets].concat();
    client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
}

fn before(client: &mut Client, octets: &[u8]) -> Result<()> {
    let block = [octets, &client.block("GET")[..]].concat();
    client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
}

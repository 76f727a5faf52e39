//! What a request says (RFC 9113 §8).

use anyhow::Result;

use super::{
    Case,
    Upstream::{Any, Incomplete},
    case,
};
use crate::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS,
    client::Client,
    hpack,
    verdict::Right::{Dropped, Malformed, Served},
};

pub(super) fn cases() -> Vec<Case> {
    [messages(), fields(), control(), addressees(), lengths()].concat()
}

#[rustfmt::skip]
fn messages() -> Vec<Case> {
    vec![
        case("8.1", "trailers", Served, |c| { c.post(1)?; c.frame(DATA, 0, 1, b"x")?; trailers(c, END_STREAM, &[("x-trailer", "1")]) }),
        case("8.1", "trailers without a body", Served, |c| { c.post(1)?; trailers(c, END_STREAM, &[("x-trailer", "1")]) }),
        case("8.1", "trailers that do not end the stream", Malformed, |c| { c.post(1)?; c.frame(DATA, 0, 1, b"x")?; trailers(c, 0, &[("x-trailer", "1")]) }).upstream(Incomplete),
        case("8.1", "trailers with a pseudo-header", Dropped, |c| { c.post(1)?; c.frame(DATA, 0, 1, b"x")?; trailers(c, END_STREAM, &[(":method", "GET")]) }).upstream(Any),
        case("8.1", "trailers with a path", Malformed, |c| { c.post(1)?; trailers(c, END_STREAM, &[("x-trailer", "1"), (":path", "/")]) }).upstream(Incomplete),
        case("8.1", "trailers with a capital", Malformed, |c| { c.post(1)?; trailers(c, END_STREAM, &[("X-Trailer", "1")]) }).upstream(Incomplete),
        case("8.1", "trailers with a connection field", Malformed, |c| { c.post(1)?; trailers(c, END_STREAM, &[("transfer-encoding", "chunked")]) }).upstream(Incomplete),
        case("8.1", "Expect", Served, |c| { c.post_with(1, &[("expect", "100-continue")])?; c.end(1) }),
    ]
}

#[rustfmt::skip]
fn fields() -> Vec<Case> {
    vec![
        case("8.2", "name with capitals", Malformed, |c| c.get_with(1, &[("X-Name", "1")])),
        case("8.2.1", "name of no letters", Malformed, |c| c.get_with(1, &[("", "1")])),
        case("8.2.1", "name with a space", Malformed, |c| c.get_with(1, &[("x name", "1")])),
        case("8.2.1", "name with a colon within", Malformed, |c| c.get_with(1, &[("x:name", "1")])),
        case("8.2.1", "name with a line break", Malformed, |c| c.get_with(1, &[("x\r\ny", "1")])),
        case("8.2.1", "name with a letter beyond ASCII", Malformed, |c| c.get_with(1, &[("x-näme", "1")])),
        case("8.2.1", "value with a null", Malformed, |c| c.get_with(1, &[("x-name", "a\0b")])),
        case("8.2.1", "value with a line break", Malformed, |c| c.get_with(1, &[("x-name", "a\r\nx-other: b")])),
        case("8.2.1", "value with a line feed", Malformed, |c| c.get_with(1, &[("x-name", "a\nb")])),
        case("8.2.1", "value with a carriage return", Malformed, |c| c.get_with(1, &[("x-name", "a\rb")])),
        case("8.2.1", "value that begins with a space", Malformed, |c| c.get_with(1, &[("x-name", " a")])),
        case("8.2.1", "value that ends with a tab", Malformed, |c| c.get_with(1, &[("x-name", "a\t")])),
        case("8.2.2", "Connection", Malformed, |c| c.get_with(1, &[("connection", "keep-alive")])),
        case("8.2.2", "Keep-Alive", Malformed, |c| c.get_with(1, &[("keep-alive", "timeout=5")])),
        case("8.2.2", "Proxy-Connection", Malformed, |c| c.get_with(1, &[("proxy-connection", "keep-alive")])),
        case("8.2.2", "Transfer-Encoding", Malformed, |c| { c.post_with(1, &[("transfer-encoding", "chunked")])?; c.end(1) }),
        case("8.2.2", "Upgrade", Malformed, |c| c.get_with(1, &[("upgrade", "websocket")])),
        case("8.2.2", "TE of another coding", Malformed, |c| c.get_with(1, &[("te", "gzip")])),
        case("8.2.2", "TE of trailers and another coding", Malformed, |c| c.get_with(1, &[("te", "trailers, gzip")])),
        case("8.2.2", "TE of trailers", Served, |c| c.get_with(1, &[("te", "trailers")])),
        case("8.2.3", "cookie in crumbs", Served, |c| c.get_with(1, &[("cookie", "a=1"), ("cookie", "b=2")])),
    ]
}

#[rustfmt::skip]
fn control() -> Vec<Case> {
    vec![
        case("8.3", "pseudo-header that nobody knows", Malformed, |c| first(c, &[(":foo", "bar")])),
        case("8.3", "pseudo-header of a response", Malformed, |c| first(c, &[(":status", "200")])),
        case("8.3", "pseudo-header behind a field", Malformed, |c| { let mut fields = c.fields("GET"); fields.rotate_right(1); send(c, &fields) }),
        case("8.3", "pseudo-header of no letters", Malformed, |c| first(c, &[(":", "x")])),
        case("8.3.1", "no method", Malformed, |c| c.instead(":method", None)),
        case("8.3.1", "no scheme", Malformed, |c| c.instead(":scheme", None)),
        case("8.3.1", "no path", Malformed, |c| c.instead(":path", None)),
        case("8.3.1", "two methods", Malformed, |c| first(c, &[(":method", "GET")])),
        case("8.3.1", "two schemes", Malformed, |c| first(c, &[(":scheme", "https")])),
        case("8.3.1", "two paths", Malformed, |c| first(c, &[(":path", "/another")])),
        case("8.3.1", "two authorities", Malformed, |c| { let authority = c.host(); first(c, &[(":authority", &authority)]) }),
        case("8.3.1", "empty path", Malformed, |c| c.instead(":path", Some(""))),
        case("8.3.1", "path without a slash", Malformed, |c| c.instead(":path", Some("path-without-a-slash"))),
        case("8.3.1", "path that is a URI", Malformed, |c| c.instead(":path", Some("https://elsewhere.example/path-that-is-a-URI"))),
        case("8.3.1", "path that is an asterisk", Malformed, |c| c.instead(":path", Some("*"))),
        case("8.3.1", "path with a space", Malformed, |c| c.instead(":path", Some("/path-with-a space"))),
        case("8.3.1", "path with a line break", Malformed, |c| c.instead(":path", Some("/path-with-a\r\nline: break"))),
        case("8.3.1", "path with a fragment", Dropped, |c| c.instead(":path", Some("/path-with-a-fragment#there"))).upstream(Any),
        case("8.3.1", "empty method", Malformed, |c| c.instead(":method", Some(""))),
        case("8.3.1", "method with a space", Malformed, |c| c.instead(":method", Some("GET /x"))),
        case("8.3.1", "method with a line break", Malformed, |c| c.instead(":method", Some("GET\r\nx: y"))),
        case("8.3.1", "scheme that is not the connection's", Malformed, |c| c.instead(":scheme", Some("http"))),
        case("8.3.1", "scheme of another kind", Malformed, |c| c.instead(":scheme", Some("ftp"))),
        case("8.3.1", "empty scheme", Malformed, |c| c.instead(":scheme", Some(""))),
        case("8.5", "CONNECT", Malformed, |c| { let authority = c.host(); head(c, &[(":method", "CONNECT"), (":authority", &authority)]) }),
        case("8.5", "CONNECT to another port", Malformed, |c| head(c, &[(":method", "CONNECT"), (":authority", "elsewhere.example:22")])),
        case("8.5", "CONNECT with a path", Malformed, |c| c.instead(":method", Some("CONNECT"))),
        case("8.5", "CONNECT without an authority", Malformed, |c| head(c, &[(":method", "CONNECT")])),
        case("RFC 8441 4", "extended CONNECT that is not offered", Malformed, |c| {
            let offered = c.seen.settings.contains(&(8, 1));
            c.expect(!offered, "extended CONNECT is offered");
            let mut fields = c.fields("CONNECT");
            fields.insert(1, (":protocol".into(), "websocket".into()));
            send(c, &fields)
        }),
        case("RFC 8441 4", "protocol of a GET", Malformed, |c| first(c, &[(":protocol", "websocket")])),
    ]
}

#[rustfmt::skip]
fn addressees() -> Vec<Case> {
    vec![
        case("8.3.1", "authority of another host", Malformed, |c| c.instead(":authority", Some("elsewhere.example"))),
        case("8.3.1", "authority of another port", Malformed, |c| { let other = format!("{}:8443", c.host()); c.instead(":authority", Some(&other)) }),
        case("8.3.1", "authority with a user", Malformed, |c| { let other = format!("user:pass@{}", c.host()); c.instead(":authority", Some(&other)) }),
        case("8.3.1", "empty authority", Malformed, |c| c.instead(":authority", Some(""))),
        case("8.3.1", "authority with a path", Malformed, |c| { let other = format!("{}/x", c.host()); c.instead(":authority", Some(&other)) }),
        case("8.3.1", "authority and Host that differ", Malformed, |c| c.get_with(1, &[("host", "elsewhere.example")])),
        case("8.3.1", "no authority and another Host", Malformed, |c| { let mut fields = c.fields("GET"); fields[2] = ("host".into(), "elsewhere.example".into()); fields.swap(2, 3); send(c, &fields) }),
        case("8.3.1", "neither authority nor Host", Malformed, |c| c.instead(":authority", None)),
        case("8.3.1", "two Hosts", Malformed, |c| { let host = c.host(); c.get_with(1, &[("host", &host), ("host", "elsewhere.example")]) }),
        case("8.3.1", "Host instead of an authority", Served, |c| { let mut fields = c.fields("GET"); fields[2].0 = "host".into(); fields.swap(2, 3); send(c, &fields) }),
        case("8.3.1", "authority with its port and a Host", Served, |c| {
            let mut fields = c.fields("GET");
            let host = c.host();
            fields[2].1.push_str(":443");
            fields.push(("host".into(), host));
            send(c, &fields)
        }),
        case("8.3.1", "another host on the second stream", Malformed, |c| {
            c.get(1)?;
            c.settle(1)?;
            let mut fields = c.fields("GET");
            fields[2].1 = "elsewhere.example".into();
            c.frame(HEADERS, END_HEADERS | END_STREAM, 3, &hpack::block(&fields))
        }).upstream(Any),
    ]
}

#[rustfmt::skip]
fn lengths() -> Vec<Case> {
    vec![
        case("8.1.1", "Content-Length of more than there is", Malformed, |c| { c.post_with(1, &[("content-length", "5")])?; c.frame(DATA, END_STREAM, 1, b"1234") }).upstream(Incomplete),
        case("8.1.1", "Content-Length of less than there is", Malformed, |c| { c.post_with(1, &[("content-length", "3")])?; c.frame(DATA, END_STREAM, 1, b"1234") }).upstream(Incomplete),
        case("8.1.1", "Content-Length of less than there is, later", Malformed, |c| { c.post_with(1, &[("content-length", "3")])?; c.frame(DATA, 0, 1, b"123")?; c.frame(DATA, END_STREAM, 1, b"4") }).upstream(Incomplete),
        case("8.1.1", "Content-Length without a body", Malformed, |c| c.get_with(1, &[("content-length", "5")])),
        case("8.1.1", "Content-Length and trailers too soon", Malformed, |c| { c.post_with(1, &[("content-length", "5")])?; c.frame(DATA, 0, 1, b"123")?; trailers(c, END_STREAM, &[("x-trailer", "1")]) }).upstream(Incomplete),
        case("8.1.1", "Content-Length that is a word", Malformed, |c| { c.post_with(1, &[("content-length", "four")])?; c.frame(DATA, END_STREAM, 1, b"1234") }),
        case("8.1.1", "Content-Length with a sign", Malformed, |c| { c.post_with(1, &[("content-length", "+4")])?; c.frame(DATA, END_STREAM, 1, b"1234") }),
        case("8.1.1", "Content-Length twice and different", Malformed, |c| { c.post_with(1, &[("content-length", "4"), ("content-length", "5")])?; c.frame(DATA, END_STREAM, 1, b"1234") }),
        case("8.1.1", "Content-Length that overflows", Malformed, |c| { c.post_with(1, &[("content-length", "18446744073709551620")])?; c.frame(DATA, END_STREAM, 1, b"1234") }),
        case("8.1.1", "Content-Length that is right", Served, |c| { c.post_with(1, &[("content-length", "4")])?; c.frame(DATA, 0, 1, b"12")?; c.frame(DATA, END_STREAM, 1, b"34") }),
    ]
}

fn trailers(client: &mut Client, flags: u8, fields: &[(&str, &str)]) -> Result<()> {
    client.frame(HEADERS, END_HEADERS | flags, 1, &hpack::block(fields))
}

/// A request with these before everything else.
fn first(client: &mut Client, more: &[(&str, &str)]) -> Result<()> {
    let block = [hpack::block(more), client.block("GET")].concat();
    client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
}

/// A request of nothing but these.
fn head(client: &mut Client, fields: &[(&str, &str)]) -> Result<()> {
    client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &hpack::block(fields))
}

fn send(client: &mut Client, fields: &[(String, String)]) -> Result<()> {
    client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &hpack::block(fields))
}

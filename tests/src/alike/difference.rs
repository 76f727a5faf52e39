//! Comparing what a server saw on the two ways.

use super::Client;
use crate::site::Seen;

/// The first difference, if there is one. Values are told without secrets.
pub(super) fn difference(client: &Client, direct: &[Seen], through: &[Seen]) -> Option<String> {
    let normal = |all: &[Seen]| {
        let mut all: Vec<Seen> = all.iter().map(|seen| normal(client, seen)).collect();
        // Requests may be under way at once.
        all.sort_by(|one, other| key(one).cmp(&key(other)));
        all
    };
    let (direct, through) = (normal(direct), normal(through));
    let tell = |all: &[Seen]| {
        let lines = all.iter().map(|seen| format!("  {seen:?}\n"));
        lines.collect::<String>()
    };
    if direct.len() != through.len() {
        return Some(format!(
            "the server saw\n{}direct, but\n{}through interceptor",
            tell(&direct),
            tell(&through)
        ));
    }
    let mut pairs = direct.iter().zip(&through);
    pairs.find_map(|(one, other)| {
        let what = part(client, one, other)?;
        Some(format!(
            "{one:?}, and {other:?} through interceptor: {what}"
        ))
    })
}

fn key(seen: &Seen) -> (&str, &str, &str, &[u8]) {
    (&seen.host, &seen.target, &seen.method, &seen.body)
}

/// In which part two requests differ, and how.
fn part(client: &Client, one: &Seen, other: &Seen) -> Option<String> {
    let show = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.replace(client.service.secret, "<secret>")
    };
    let lines = |fields: &[(String, Vec<u8>)]| -> Vec<String> {
        let lines = fields.iter();
        lines
            .map(|(name, value)| format!("{name}: {}", show(value)))
            .collect()
    };
    let texts = [
        ("version", one.version, other.version),
        ("host", &one.host, &other.host),
        ("method", &one.method, &other.method),
        ("target", &one.target, &other.target),
    ];
    for (what, one, other) in texts {
        if one != other {
            let (one, other) = (show(one.as_bytes()), show(other.as_bytes()));
            return Some(format!("{what} {one:?}, {other:?}"));
        }
    }
    for (what, one, other) in [
        ("headers", &one.headers, &other.headers),
        ("trailers", &one.trailers, &other.trailers),
    ] {
        if one != other {
            return Some(format!("{what} {:#?}, {:#?}", lines(one), lines(other)));
        }
    }
    if one.body != other.body {
        let (length, other_length) = (one.body.len(), other.body.len());
        let mut pairs = one.body.iter().zip(&other.body);
        let first = pairs.position(|(one, other)| one != other);
        return Some(format!(
            "bodies of {length} and {other_length} bytes, first at {first:?}"
        ));
    }
    None
}

/// Without what a client makes up anew each time.
fn normal(client: &Client, seen: &Seen) -> Seen {
    let mut seen = seen.clone();
    for (name, value) in &mut seen.headers {
        if client
            .volatile
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other))
        {
            *value = b"(made up)".to_vec();
        }
    }
    let Some(boundary) = boundary(&seen) else {
        return seen;
    };
    for (_, value) in &mut seen.headers {
        *value = replaced(value, &boundary);
    }
    seen.body = replaced(&seen.body, &boundary);
    seen
}

/// Of a multipart body.
fn boundary(seen: &Seen) -> Option<Vec<u8>> {
    let kind = std::str::from_utf8(seen.header("content-type")?).ok()?;
    let (_, boundary) = kind.split_once("boundary=")?;
    let boundary = boundary.split(';').next()?.trim_matches('"');
    Some(boundary.as_bytes().to_vec())
}

fn replaced(bytes: &[u8], what: &[u8]) -> Vec<u8> {
    let mut rest = bytes;
    let mut replaced = Vec::new();
    while let Some((first, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(what) {
            replaced.extend_from_slice(b"(boundary)");
            rest = behind;
        } else {
            replaced.push(*first);
            rest = behind;
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alike::CLIENTS;

    fn npm() -> &'static Client {
        CLIENTS.iter().find(|client| client.name == "npm").unwrap()
    }

    fn seen(headers: &[(&str, &str)], body: &str) -> Vec<Seen> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        vec![Seen {
            version: "HTTP/1.1",
            host: "a.example".into(),
            method: "POST".into(),
            target: "/".into(),
            headers: headers.iter().map(own).collect(),
            body: body.into(),
            trailers: Vec::new(),
        }]
    }

    #[test]
    fn every_change_is_told_and_no_secret_is() {
        let client = npm();
        let one = seen(&[("A", "1"), ("B", "2")], "body");
        assert_eq!(difference(client, &one, &one), None);
        for other in [
            seen(&[("B", "2"), ("A", "1")], "body"),
            seen(&[("a", "1"), ("B", "2")], "body"),
            seen(&[("A", "1"), ("B", "2"), ("Via", "x")], "body"),
            seen(&[("A", client.service.secret), ("B", "2")], "body"),
            seen(&[("A", "1"), ("B", "2")], "bodx"),
            [one.clone(), one.clone()].concat(),
            Vec::new(),
        ] {
            let told = difference(client, &one, &other).unwrap();
            assert!(!told.contains(client.service.secret), "{told}");
        }
    }

    #[test]
    fn what_a_client_makes_up_anew_is_no_difference() {
        let form = |boundary: &str| {
            let kind = format!("multipart/form-data; boundary={boundary}");
            let headers = [("Content-Type", kind.as_str()), ("npm-session", boundary)];
            seen(
                &headers,
                &format!("--{boundary}\r\n\r\nx\r\n--{boundary}--"),
            )
        };
        assert_eq!(difference(npm(), &form("one"), &form("another")), None);
    }
}

//! Heads and trailers of HTTP/1 responses without the secrets in them.

use super::{Change, Length};
use crate::rewrite::reflection::{Fill, Patterns};

/// What frames the message, or says what is made of it: no secret stands there, and nothing may be changed by chance.
pub(super) const FRAMING: [&[u8]; 8] = [
    b"connection",
    b"content-encoding",
    b"content-length",
    b"keep-alive",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];
/// Sums of what the body was (RFC 9530, RFC 3230, RFC 1864).
pub(super) const SUMS: [&[u8]; 4] = [b"content-digest", b"repr-digest", b"digest", b"content-md5"];

/// What is put in the place of a Content-Length that does not hold any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Nothing: the close ends the body.
    Nothing,
}

/// A head, or a part of one, and how many secrets were replaced in it.
pub(crate) type Redacted = (Vec<u8>, u64);

/// The head `raw` with `change` made to it.
pub(crate) fn head(raw: &[u8], patterns: &Patterns, change: Change, instead: Instead) -> Redacted {
    let mut lines = raw.split_inclusive(|byte| *byte == b'\n');
    let status = lines.next().unwrap_or_default();
    // The version and the status are no text.
    let text = status.len().min("HTTP/1.1 200 ".len());
    let (before, reason) = status.split_at(text);
    let mut out = before.to_vec();
    let mut count = put(reason, patterns, &mut out);
    for line in lines {
        count += field(line, patterns, change, instead, &mut out);
    }
    (out, count)
}

/// Trailers, whole lines.
pub(crate) fn trailers(raw: &[u8], patterns: &Patterns) -> Redacted {
    let mut out = Vec::with_capacity(raw.len());
    let mut count = 0;
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        count += field(
            line,
            patterns,
            Change::default(),
            Instead::Nothing,
            &mut out,
        );
    }
    (out, count)
}

/// Appends a field's line as it is to be.
fn field(
    line: &[u8],
    patterns: &Patterns,
    change: Change,
    instead: Instead,
    out: &mut Vec<u8>,
) -> u64 {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, rest) = line.split_at(colon.unwrap_or(line.len()));
    let lower = name.to_ascii_lowercase();
    match (lower.as_slice(), change.length) {
        (b"content-encoding", _) if change.decoded => return 0,
        (b"content-length", Length::Exact(length)) => {
            out.extend_from_slice(name);
            out.extend_from_slice(format!(": {length}\r\n").as_bytes());
            return 0;
        }
        (b"content-length", Length::Unknown) => {
            if instead == Instead::Chunked {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            }
            return 0;
        }
        (name, _) if change != Change::default() && SUMS.contains(&name) => return 0,
        (name, _) if FRAMING.contains(&name) => {
            out.extend_from_slice(line);
            return 0;
        }
        _ => {}
    }
    // No placeholder can stand in a name.
    if let Some((_, found)) = patterns.redact(name, Fill::Free) {
        return found;
    }
    out.extend_from_slice(name);
    put(rest, patterns, out)
}

/// Appends `text` without its secrets.
fn put(text: &[u8], patterns: &Patterns, out: &mut Vec<u8>) -> u64 {
    match patterns.redact(text, Fill::Free) {
        Some((redacted, found)) => {
            out.extend_from_slice(&redacted);
            found
        }
        None => {
            out.extend_from_slice(text);
            0
        }
    }
}

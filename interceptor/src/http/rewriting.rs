//! A head of HTTP/1 with some of its parts changed, a request's or a response's. All other bytes stay as its sender wrote
//! them.

use zeroize::Zeroizing;

use super::{framing::Framing, head::Fields};
use crate::rewrite::append;

/// What happens to one field.
pub(crate) enum Edit {
    Keep,
    Drop,
    Value(Zeroizing<Vec<u8>>),
}

/// What happens to a head; one entry of `fields` for each of its fields.
pub(crate) struct Edits {
    pub(crate) target: Option<Zeroizing<Vec<u8>>>,
    pub(crate) fields: Vec<Edit>,
}

impl Edits {
    /// For a head with these fields, all to be kept.
    pub(crate) fn none(fields: &Fields<'_>) -> Self {
        Self {
            target: None,
            fields: fields.iter().map(|_| Edit::Keep).collect(),
        }
    }
}

/// Takes `members` out of the comma-separated `value`; `Drop` if nothing is left.
pub(crate) fn without(value: &[u8], members: &[&str]) -> Edit {
    let kept: Vec<&[u8]> = value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| {
            !member.is_empty()
                && !members
                    .iter()
                    .any(|other| member.eq_ignore_ascii_case(other.as_bytes()))
        })
        .collect();
    if kept.is_empty() {
        return Edit::Drop;
    }
    Edit::Value(Zeroizing::new(kept.join(&b", "[..])))
}

/// Writes `head` with `edits`. `None`: nothing changes.
pub(crate) fn write(head: &[u8], edits: &Edits) -> Option<Zeroizing<Vec<u8>>> {
    let Edits { target, fields } = edits;
    if target.is_none() && fields.iter().all(|edit| matches!(edit, Edit::Keep)) {
        return None;
    }
    let added: usize = fields
        .iter()
        .map(|edit| match edit {
            Edit::Value(value) => value.len(),
            Edit::Keep | Edit::Drop => 0,
        })
        .chain(target.as_ref().map(|target| target.len()))
        .sum();
    // Never reallocated: a buffer that was left behind would keep a secret.
    let mut out = Zeroizing::new(Vec::with_capacity(head.len() + added));
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    match target {
        None => out.extend_from_slice(first),
        Some(target) => write_request_line(first, target, &mut out),
    }
    // No field is folded, so line n + 1 is field n; the empty line at the end has no edit.
    let edits = fields.iter().chain(std::iter::repeat(&Edit::Keep));
    for (line, edit) in lines.zip(edits) {
        match edit {
            Edit::Keep => out.extend_from_slice(line),
            Edit::Drop => {}
            Edit::Value(value) => {
                out.extend_from_slice(before_value(line));
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    Some(out)
}

/// `head`, which has a Content-Length, with another framing.
pub(crate) fn reframe(head: &[u8], framing: Framing) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(head.len() + CHUNKED.len()));
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if !name.eq_ignore_ascii_case(b"content-length") {
            append(line, &mut out);
            continue;
        }
        match framing {
            Framing::Length(length) => {
                append(before_value(line), &mut out);
                append(length.to_string().as_bytes(), &mut out);
                append(b"\r\n", &mut out);
            }
            Framing::Chunked => append(CHUNKED, &mut out),
            Framing::UntilClose => {}
        }
    }
    out
}

const CHUNKED: &[u8] = b"Transfer-Encoding: chunked\r\n";

/// Method and version stay: there is one space on either side of the target, and none in it.
fn write_request_line(line: &[u8], target: &[u8], out: &mut Vec<u8>) {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (method, version) = (words.next(), words.nth(1));
    out.extend_from_slice(method.unwrap_or_default());
    out.push(b' ');
    out.extend_from_slice(target);
    out.push(b' ');
    out.extend_from_slice(version.unwrap_or_default());
}

/// The name, the colon and the white space after it, as the client wrote them.
fn before_value(line: &[u8]) -> &[u8] {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
    let value = line
        .iter()
        .enumerate()
        .skip(colon + 1)
        .find(|(_, byte)| !matches!(byte, b' ' | b'\t'))
        .map_or(colon + 1, |(at, _)| at);
    line.get(..value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &[u8] =
        b"GET /x HTTP/1.1\r\nhOST:x.example\r\nAuthorization: \t old \r\nX-Empty:\r\nCookie:a=b\r\n\r\n";

    fn value(text: &str) -> Edit {
        Edit::Value(Zeroizing::new(text.into()))
    }

    fn write(head: &[u8], fields: impl Into<Vec<Edit>>) -> Option<Zeroizing<Vec<u8>>> {
        let edits = Edits {
            target: None,
            fields: fields.into(),
        };
        super::write(head, &edits)
    }

    #[test]
    fn nothing_is_written_when_nothing_changes() {
        assert!(write(HEAD, [Edit::Keep, Edit::Keep, Edit::Keep, Edit::Keep]).is_none());
    }

    #[test]
    fn only_the_value_of_an_edited_field_changes() {
        let edits = [Edit::Keep, value("new"), Edit::Keep, Edit::Keep];
        let expected = b"GET /x HTTP/1.1\r\nhOST:x.example\r\nAuthorization: \t new\r\nX-Empty:\r\nCookie:a=b\r\n\r\n";
        assert_eq!(write(HEAD, edits).unwrap().as_slice(), expected);
    }

    #[test]
    fn a_dropped_field_leaves_no_trace() {
        let edits = [Edit::Keep, Edit::Drop, value("v"), value("c")];
        let expected = b"GET /x HTTP/1.1\r\nhOST:x.example\r\nX-Empty:v\r\nCookie:c\r\n\r\n";
        assert_eq!(write(HEAD, edits).unwrap().as_slice(), expected);
    }

    #[test]
    fn the_buffer_with_a_secret_is_never_reallocated() {
        let edits = [Edit::Keep, value(&"s".repeat(5000)), Edit::Keep, Edit::Keep];
        let out = write(HEAD, edits).unwrap();
        assert!(out.capacity() >= out.len());
        assert_eq!(out.capacity(), HEAD.len() + 5000);
    }

    #[test]
    fn another_framing_takes_the_place_of_the_length() {
        let head =
            "POST / HTTP/1.1\r\nHost: x\r\ncontent-LENGTH:\t 12\r\nA: content-length: 1\r\n\r\n";
        let expected = |line: &str| head.replace("content-LENGTH:\t 12", line).into_bytes();
        for (framing, line) in [
            (Framing::Length(4096), "content-LENGTH:\t 4096"),
            (Framing::Length(0), "content-LENGTH:\t 0"),
            (Framing::Chunked, "Transfer-Encoding: chunked"),
        ] {
            let out = reframe(head.as_bytes(), framing);
            assert_eq!(*out, expected(line), "{framing:?}");
        }
    }

    #[test]
    fn list_members_are_taken_out() {
        let left = |value: &str| match without(value.as_bytes(), &["upgrade", "http2-settings"]) {
            Edit::Value(value) => Some(String::from_utf8(value.to_vec()).unwrap()),
            Edit::Keep | Edit::Drop => None,
        };
        assert_eq!(left("Upgrade, HTTP2-Settings"), None);
        assert_eq!(
            left("keep-alive,Upgrade , x").as_deref(),
            Some("keep-alive, x")
        );
    }

    proptest! {
        /// Parsing what was written gives the old fields with the edits made, in their order.
        #[test]
        fn edits_and_nothing_else_are_written(
            fields in proptest::collection::vec(("[A-Za-z-]{1,12}", "[ \t]{0,3}", "[!-~]{0,9}", 0u8..3), 0..12),
        ) {
            let lines: String = fields.iter().map(|(name, space, value, _)| format!("{name}:{space}{value}\r\n")).collect();
            let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
            let edits: Vec<Edit> = fields.iter().map(|(_, _, _, edit)| match edit {
                0 => Edit::Keep,
                1 => Edit::Drop,
                _ => value("new"),
            }).collect();
            let expected: String = fields.iter().map(|(name, space, value, edit)| match edit {
                0 => format!("{name}:{space}{value}\r\n"),
                1 => String::new(),
                _ => format!("{name}:{space}new\r\n"),
            }).collect();
            let written = write(head.as_bytes(), edits);
            if fields.iter().all(|(_, _, _, edit)| *edit == 0) {
                prop_assert!(written.is_none());
            } else {
                let written = String::from_utf8(written.unwrap().to_vec()).unwrap();
                prop_assert_eq!(written, format!("GET / HTTP/1.1\r\n{expected}\r\n"));
            }
        }
    }
}

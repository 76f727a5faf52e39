//! A request's head with some of its fields changed. All other bytes stay as the client wrote them.

use zeroize::Zeroizing;

use super::head::Fields;
use crate::{
    rewrite::{
        RELEASES_MAX, Unresolvable, grammar,
        header::{HeaderOutcome, rewrite},
        release::Release,
    },
    secrets::SecretName,
};

/// What happens to one field.
pub(crate) enum Edit {
    Keep,
    Drop,
    Value(Zeroizing<Vec<u8>>),
}

/// What became of the placeholders in a head.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Once for each placeholder that was resolved.
    pub(crate) used: Vec<SecretName>,
    /// Fields with placeholders that stayed the text they are.
    pub(crate) passed: u64,
}

/// Puts secrets in the fields they are bound to; `edits` has one entry for each field.
pub(crate) fn resolve(
    fields: &Fields<'_>,
    release: &Release,
    edits: &mut [Edit],
) -> Result<Tally, Unresolvable> {
    let mut tally = Tally::default();
    for ((name, value), edit) in fields.iter().zip(edits) {
        let name = name.to_ascii_lowercase();
        if !matches!(edit, Edit::Keep) {
            continue;
        }
        if !may_carry_secret(&name, fields) {
            tally.passed += u64::from(grammar::mentions(value));
            continue;
        }
        match rewrite(&name, value, release) {
            HeaderOutcome::Unchanged => {}
            HeaderOutcome::Passed => tally.passed += 1,
            HeaderOutcome::Rewritten { value, used } => {
                tally.used.extend(used);
                if tally.used.len() > RELEASES_MAX {
                    return Err(Unresolvable::TooMany);
                }
                *edit = Edit::Value(value);
            }
            HeaderOutcome::Refused(unresolvable) => return Err(unresolvable),
        }
    }
    Ok(tally)
}

/// Servers repeat these fields in their answers, or they never reach the server that the secret is for: no secret is
/// put in them, whatever the bindings say.
fn may_carry_secret(name: &str, fields: &Fields<'_>) -> bool {
    let echoed = name.starts_with("sec-websocket-")
        || name.starts_with("access-control-request-")
        || matches!(
            name,
            "origin" | "idempotency-key" | "last-event-id" | "content-disposition" | "host"
        );
    // RFC 9110 §7.6.1, and what frames the message.
    let hop_by_hop = matches!(
        name,
        "connection"
            | "content-length"
            | "expect"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    );
    !echoed && !hop_by_hop && !fields.lists("connection", name)
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

/// Writes `head` with `edits`, one for each of its fields in their order. `None`: nothing changes.
pub(crate) fn write(head: &[u8], edits: &[Edit]) -> Option<Zeroizing<Vec<u8>>> {
    if edits.iter().all(|edit| matches!(edit, Edit::Keep)) {
        return None;
    }
    let added: usize = edits
        .iter()
        .map(|edit| match edit {
            Edit::Value(value) => value.len(),
            Edit::Keep | Edit::Drop => 0,
        })
        .sum();
    // Never reallocated: a buffer that was left behind would keep a secret.
    let mut out = Zeroizing::new(Vec::with_capacity(head.len() + added));
    // No field is folded, so line n + 1 is field n; the empty line at the end has no edit.
    let keep = &Edit::Keep;
    let edits = std::iter::once(keep)
        .chain(edits)
        .chain(std::iter::repeat(keep));
    for (line, edit) in head.split_inclusive(|byte| *byte == b'\n').zip(edits) {
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
    use crate::http::head::RequestHead;

    const HEAD: &[u8] =
        b"GET /x HTTP/1.1\r\nhOST:x.example\r\nAuthorization: \t old \r\nX-Empty:\r\nCookie:a=b\r\n\r\n";

    fn value(text: &str) -> Edit {
        Edit::Value(Zeroizing::new(text.into()))
    }

    #[test]
    fn nothing_is_written_when_nothing_changes() {
        assert!(write(HEAD, &[Edit::Keep, Edit::Keep, Edit::Keep, Edit::Keep]).is_none());
    }

    #[test]
    fn only_the_value_of_an_edited_field_changes() {
        let edits = [Edit::Keep, value("new"), Edit::Keep, Edit::Keep];
        let expected = b"GET /x HTTP/1.1\r\nhOST:x.example\r\nAuthorization: \t new\r\nX-Empty:\r\nCookie:a=b\r\n\r\n";
        assert_eq!(write(HEAD, &edits).unwrap().as_slice(), expected);
    }

    #[test]
    fn a_dropped_field_leaves_no_trace() {
        let edits = [Edit::Keep, Edit::Drop, value("v"), value("c")];
        let expected = b"GET /x HTTP/1.1\r\nhOST:x.example\r\nX-Empty:v\r\nCookie:c\r\n\r\n";
        assert_eq!(write(HEAD, &edits).unwrap().as_slice(), expected);
    }

    #[test]
    fn the_buffer_with_a_secret_is_never_reallocated() {
        let edits = [Edit::Keep, value(&"s".repeat(5000)), Edit::Keep, Edit::Keep];
        let out = write(HEAD, &edits).unwrap();
        assert!(out.capacity() >= out.len());
        assert_eq!(out.capacity(), HEAD.len() + 5000);
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

    #[test]
    fn fields_that_servers_echo_never_carry_a_secret() {
        let head = b"GET / HTTP/1.1\r\nConnection: x-private\r\n\r\n";
        let head = RequestHead::parse(head).unwrap();
        for name in [
            "sec-websocket-protocol",
            "sec-websocket-key",
            "origin",
            "access-control-request-headers",
            "idempotency-key",
            "last-event-id",
            "content-disposition",
            "host",
            "te",
            "x-private",
        ] {
            assert!(!may_carry_secret(name, &head.fields), "{name}");
        }
        for name in ["authorization", "cookie", "x-api-key"] {
            assert!(may_carry_secret(name, &head.fields), "{name}");
        }
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
            let written = write(head.as_bytes(), &edits);
            if fields.iter().all(|(_, _, _, edit)| *edit == 0) {
                prop_assert!(written.is_none());
            } else {
                let written = String::from_utf8(written.unwrap().to_vec()).unwrap();
                prop_assert_eq!(written, format!("GET / HTTP/1.1\r\n{expected}\r\n"));
            }
        }
    }
}

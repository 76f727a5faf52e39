//! The head of one part of a multipart form.

use crate::rewrite::body::media::Value;

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A field of this name, to which something is bound.
    Bound(Box<str>),
    /// Nothing is bound to it, or nobody knows what it is.
    Other,
}

impl Part {
    /// `fields`: whole lines. `is_bound` tells of a field's name.
    pub(super) fn read(fields: &[u8], is_bound: impl Fn(&[u8]) -> bool) -> Self {
        match name(fields) {
            Some(name) if is_bound(name.as_bytes()) => Self::Bound(name),
            _ => Self::Other,
        }
    }
}

/// The name of a field whose content is its text. `None`: there is none, or servers may differ about it.
fn name(fields: &[u8]) -> Option<Box<str>> {
    let mut name = None;
    for line in fields.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r\n")?;
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return None;
        }
        let colon = memchr::memchr(b':', line)?;
        let (field, value) = line.split_at(colon);
        let value = value.get(1..)?;
        match field.to_ascii_lowercase().as_slice() {
            b"content-disposition" if name.is_some() => return None,
            b"content-disposition" => name = Some(disposition(value)?),
            b"content-type" if !is_readable(value) => return None,
            // Servers that heed it see other bytes (RFC 7578 §4.7).
            b"content-transfer-encoding" if !is_as_it_is(value) => return None,
            field if field.is_empty() || field.iter().any(u8::is_ascii_whitespace) => return None,
            _ => {}
        }
    }
    name
}

fn disposition(value: &[u8]) -> Option<Box<str>> {
    let value = Value::read(value)?;
    // RFC 7578 §4.2 forbids the other spelling.
    if value.essence != "form-data" || value.parameter("name*").is_some() {
        return None;
    }
    let name = str::from_utf8(value.parameter("name")?).ok()?;
    Some(name.into())
}

/// Its text is ASCII or more, and is not a form of its own.
fn is_readable(value: &[u8]) -> bool {
    Value::read(value).is_some_and(|value| {
        let charset = value.parameter("charset");
        !value.essence.starts_with("multipart/") && charset.is_none_or(super::super::is_utf8)
    })
}

fn is_as_it_is(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    [b"7bit".as_slice(), b"8bit", b"binary"]
        .iter()
        .any(|plain| value.eq_ignore_ascii_case(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leaves_no_doubt_is_read() {
        for fields in [
            "Content-Disposition: form-data; name=\"token\"\r\n",
            "content-disposition:form-data;name=token\r\n",
            "Content-Type: text/plain; charset=UTF-8\r\nContent-Disposition: form-data; filename=\"a;b\"; name=\"token\"\r\n",
            "Content-Disposition: form-data; name=\"token\"; filename*=UTF-8''x\r\nContent-Transfer-Encoding: 8bit\r\nX-Y: z\r\n",
        ] {
            assert_eq!(
                name(fields.as_bytes()).as_deref(),
                Some("token"),
                "{fields}"
            );
        }
    }

    #[test]
    fn a_part_that_servers_may_take_for_another_has_no_name() {
        let good = "Content-Disposition: form-data; name=\"token\"\r\n";
        for fields in [
            "",
            "Content-Disposition: form-data\r\n",
            "Content-Disposition: attachment; name=\"token\"\r\n",
            "Content-Disposition: form-data; name=\"token\"; name=\"text\"\r\n",
            "Content-Disposition: form-data; name=\"token\"; name*=UTF-8''text\r\n",
            "Content-Disposition: form-data; name=\"tok\\en\"\r\n",
            "Content-Disposition: form-data; filename=\"\\\"; name=\"token\"\r\n",
            "Content-Disposition: form-data;\r\n name=\"token\"\r\n",
            "Content-Disposition : form-data; name=\"token\"\r\n",
            "Content-Disposition: form-data; name=\"token\"\n",
            &format!("{good}{good}"),
            &format!("{good}x\r\n"),
            &format!("{good} folded: x\r\n"),
            &format!("X: y\n{good}"),
            &format!("X: y\rz\r\n{good}"),
            &format!("{good}Content-Transfer-Encoding: base64\r\n"),
            &format!("{good}Content-Type: text/plain; charset=utf-16\r\n"),
            &format!("{good}Content-Type: multipart/mixed; boundary=x\r\n"),
        ] {
            assert_eq!(name(fields.as_bytes()), None, "{fields}");
        }
    }
}

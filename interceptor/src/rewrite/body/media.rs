//! Values with parameters: `multipart/form-data; boundary=x`, `form-data; name="token"` (RFC 9110 §5.6.6).
//!
//! Read only as far as all servers read them alike: a backslash in quotes, a parameter that is there twice, anything that
//! is no token where one has to be, and the value has no meaning here.

/// A value, and its parameters with their names in lower case.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// In lower case.
    pub(super) essence: String,
    parameters: Vec<(String, Vec<u8>)>,
}

impl Value {
    /// `None`: not to be read without doubt.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        let (essence, mut rest) = text.split_at(end);
        let essence = essence.trim_ascii_end();
        let is_word = |byte: &u8| is_token_byte(*byte) || *byte == b'/';
        if essence.is_empty() || !essence.iter().all(is_word) {
            return None;
        }
        let mut value = Self {
            essence: lower(essence),
            parameters: Vec::new(),
        };
        while let Some(after) = rest.strip_prefix(b";") {
            let after = after.trim_ascii_start();
            // Empty ones are allowed, and common at the end.
            if after.is_empty() || after.starts_with(b";") {
                rest = after;
                continue;
            }
            let (name, text) = token(after)?;
            let text = text.strip_prefix(b"=")?;
            let (content, text) = match text.strip_prefix(b"\"") {
                Some(quoted) => quoted_text(quoted)?,
                None => token(text)?,
            };
            let name = lower(name);
            if value.parameters.iter().any(|(other, _)| *other == name) {
                return None;
            }
            value.parameters.push((name, content.to_vec()));
            rest = text.trim_ascii_start();
        }
        rest.is_empty().then_some(value)
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&[u8]> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|(other, _)| other == name);
        found.map(|(_, content)| content.as_slice())
    }
}

/// A token from the front of `text`, and what is behind it.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| !is_token_byte(*byte));
    let (token, rest) = text.split_at(end.unwrap_or(text.len()));
    (!token.is_empty()).then_some((token, rest))
}

/// What stands before the closing quote, and what is behind it.
fn quoted_text(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'"', text)?;
    let (content, rest) = text.split_at(end);
    let plain = content
        .iter()
        .all(|byte| *byte != b'\\' && (*byte == b'\t' || !byte.is_ascii_control()));
    plain.then_some((content, rest.get(1..)?))
}

fn lower(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_ascii_lowercase()
}

/// RFC 9110 §5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn essence_and_parameters_are_read() {
        for (text, essence, name, content) in [
            ("Text/Plain", "text/plain", "charset", None),
            ("text/plain;", "text/plain", "charset", None),
            (
                " text/plain ;Charset=UTF-8 ;; ",
                "text/plain",
                "charset",
                Some("UTF-8"),
            ),
            (
                "multipart/form-data; boundary=\"a b;c\"",
                "multipart/form-data",
                "boundary",
                Some("a b;c"),
            ),
            (
                "form-data; name=\"t\u{e9}\"; filename*=UTF-8''x",
                "form-data",
                "name",
                Some("t\u{e9}"),
            ),
            ("form-data; name=\"\"", "form-data", "name", Some("")),
        ] {
            let value = Value::read(text.as_bytes()).unwrap();
            assert_eq!(value.essence, essence, "{text}");
            assert_eq!(value.parameter(name), content.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn what_servers_read_in_two_ways_has_no_meaning() {
        for text in [
            "",
            ";",
            "text plain",
            "a/b, c/d",
            "a/b; c",
            "a/b; c=",
            "a/b; c =d",
            "a/b; c=d e=f",
            "a/b; c=\"d",
            "a/b; c=\"d\" e",
            "a/b; c=\"d\\\"e\"",
            "a/b; c=\"d\u{1}\"",
            "a/b; c=d; C=e",
            "a/b; c=d\u{e9}",
        ] {
            assert_eq!(Value::read(text.as_bytes()), None, "{text}");
        }
    }
}

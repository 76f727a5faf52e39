//! What a policy looks at in a request: its method, the path that a server will make of its target, its query.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// A request as rules see it.
#[derive(Debug)]
pub(crate) struct RequestView<'r> {
    pub(crate) method: &'r str,
    pub(super) path: Result<Path, Ambiguity>,
    /// Names and values, decoded (`+` is a space), in their order.
    pub(super) query: Vec<(Vec<u8>, Vec<u8>)>,
    /// Some servers separate parameters by `;` too.
    pub(super) has_semicolons: bool,
}

/// A path in its one form: decoded once, without empty segments and without `;parameters`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) text: Vec<u8>,
    /// A slash was encoded: it stands in `text` as `%2F`, and separates nothing.
    pub(super) has_encoded_slash: bool,
}

/// Two servers could take the request for two different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ambiguity {
    #[error("a percent sign in the path is not followed by two hexadecimal digits")]
    Escape,
    #[error("the path begins with two slashes, behind which some servers look for a host")]
    Host,
    #[error("a segment of the path is `.` or `..`, plain or encoded: send the path that is meant")]
    Dots,
    #[error("the path has a backslash or a control byte, plain or encoded")]
    Byte,
    #[error("a dot, slash or backslash of the path is encoded twice")]
    Twice,
    #[error("a slash of the path is encoded, and `allow_encoded_slash` is not set")]
    EncodedSlash,
    #[error("the query has a `;`, which some servers take for an `&`")]
    Semicolon,
}

impl<'r> RequestView<'r> {
    /// `target` is in origin form, in absolute form, or `*`.
    pub(crate) fn new(method: &'r str, target: &str) -> Self {
        let origin = match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => {
                rest.find(['/', '?']).map_or("", |at| rest.split_at(at).1)
            }
            _ => target,
        };
        let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
        Self {
            method,
            path: Path::read(path),
            query: query
                .split('&')
                .filter(|parameter| !parameter.is_empty())
                .map(|parameter| {
                    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                    (
                        form_decoded(name.as_bytes()),
                        form_decoded(value.as_bytes()),
                    )
                })
                .collect(),
            has_semicolons: query.contains(';'),
        }
    }
}

impl Path {
    /// How a server may take the path: a slash at its end is no difference to many, nor is an encoded one inside to some.
    pub(super) fn readings(&self) -> Vec<Vec<u8>> {
        let bare = |text: &[u8]| text.strip_suffix(b"/").unwrap_or(text).to_vec();
        let mut readings = vec![bare(&self.text)];
        if self.has_encoded_slash {
            let mut decoded = Vec::with_capacity(self.text.len());
            let mut rest = self.text.as_slice();
            while let Some((first, after)) = rest.split_first() {
                let slash = rest.strip_prefix(b"%2F");
                let byte = if slash.is_some() { b'/' } else { *first };
                if byte != b'/' || decoded.last() != Some(&b'/') {
                    decoded.push(byte);
                }
                rest = slash.unwrap_or(after);
            }
            readings.push(bare(&decoded));
        }
        let ended = |reading: &Vec<u8>| [reading.as_slice(), b"/"].concat();
        let ended: Vec<_> = readings.iter().map(ended).collect();
        readings.extend(ended);
        readings
    }

    fn read(path: &str) -> Result<Self, Ambiguity> {
        let mut out = Self {
            text: Vec::with_capacity(path.len()),
            has_encoded_slash: false,
        };
        if path == "*" {
            out.text.push(b'*');
            return Ok(out);
        }
        // A path of slashes only leads to the root whatever it is taken for.
        if path.starts_with("//") && path.bytes().any(|byte| byte != b'/') {
            return Err(Ambiguity::Host);
        }
        for segment in path.split('/') {
            let segment = segment.split(';').next().unwrap_or_default();
            if !segment.is_empty() {
                out.push(segment)?;
            }
        }
        if out.text.is_empty() || path.ends_with('/') {
            out.text.push(b'/');
        }
        Ok(out)
    }

    fn push(&mut self, segment: &str) -> Result<(), Ambiguity> {
        if !well_escaped(segment.as_bytes()) {
            return Err(Ambiguity::Escape);
        }
        let plain: Cow<'_, [u8]> = percent_decode(segment.as_bytes()).into();
        // Some servers decode first, and look for slashes and parameters then.
        let mut parts = plain.split(|byte| *byte == b'/');
        if parts.any(|part| {
            matches!(
                part,
                b"." | b".." | [b'.', b';', ..] | [b'.', b'.', b';', ..]
            )
        }) {
            return Err(Ambiguity::Dots);
        }
        if plain.iter().any(|b| *b == b'\\' || b.is_ascii_control()) {
            return Err(Ambiguity::Byte);
        }
        let twice: Cow<'_, [u8]> = percent_decode(&plain).into();
        let significant = |text: &[u8]| {
            text.iter()
                .filter(|byte| matches!(byte, b'.' | b'/' | b'\\'))
                .count()
        };
        if significant(&twice) > significant(&plain) {
            return Err(Ambiguity::Twice);
        }
        self.text.push(b'/');
        for byte in &*plain {
            if *byte == b'/' {
                self.has_encoded_slash = true;
                self.text.extend_from_slice(b"%2F");
            } else {
                self.text.push(*byte);
            }
        }
        Ok(())
    }
}

/// Every percent sign begins an escape (RFC 3986 §2.1).
fn well_escaped(text: &[u8]) -> bool {
    let mut escapes = text.split(|byte| *byte == b'%').skip(1);
    escapes.all(|escape| {
        escape
            .first_chunk::<2>()
            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    })
}

/// A name or a value of a form or a query as a server reads it (WHATWG URL §5.1): a plus is a space.
pub(crate) fn form_decoded(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    percent_decode(&spaced).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(target: &str) -> Result<String, Ambiguity> {
        let path = RequestView::new("GET", target).path?;
        Ok(String::from_utf8_lossy(&path.text).into_owned())
    }

    #[test]
    fn paths_have_one_form() {
        for (target, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/a///b", "/a/b"),
            ("//", "/"),
            ("/a//", "/a/"),
            ("/%61/b%20c", "/a/b c"),
            ("/a;x=1/b;y", "/a/b"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%2fb/c", "/a%2Fb/c"),
            ("/...", "/..."),
            ("/a.b/.c", "/a.b/.c"),
            ("/100%25", "/100%"),
            ("/;a", "/"),
            ("*", "*"),
            ("/a?b=/c", "/a"),
            ("https://h.example/a?b", "/a"),
            ("https://h.example", "/"),
            ("https://h.example?x", "/"),
            ("/x://y", "/x:/y"),
        ] {
            assert_eq!(path(target).as_deref(), Ok(expected), "{target}");
        }
    }

    #[test]
    fn paths_that_servers_read_differently_have_none() {
        for (target, ambiguity) in [
            ("//a/b", Ambiguity::Host),
            ("https://h.example//a/b", Ambiguity::Host),
            ("/a/../b", Ambiguity::Dots),
            ("/a/%2e%2E/b", Ambiguity::Dots),
            ("/a/.%2e", Ambiguity::Dots),
            ("/./a", Ambiguity::Dots),
            ("/..;x/a", Ambiguity::Dots),
            ("/..%3Bx/a", Ambiguity::Dots),
            ("/a%2F..%2Fb", Ambiguity::Dots),
            ("/a/.%2Fb", Ambiguity::Dots),
            ("/a%", Ambiguity::Escape),
            ("/a%2", Ambiguity::Escape),
            ("/a%zz", Ambiguity::Escape),
            ("/a\\b", Ambiguity::Byte),
            ("/a%5Cb", Ambiguity::Byte),
            ("/a%00", Ambiguity::Byte),
            ("/a%252e%252e/b", Ambiguity::Twice),
            ("/a%252Fb", Ambiguity::Twice),
        ] {
            assert_eq!(path(target), Err(ambiguity), "{target}");
        }
    }

    #[test]
    fn queries_are_decoded_once() {
        let view = RequestView::new("GET", "/x?a=1&&b=c+d%2B&a=%26&e&%66=g?h");
        let expected: [(&[u8], &[u8]); 5] = [
            (b"a", b"1"),
            (b"b", b"c d+"),
            (b"a", b"&"),
            (b"e", b""),
            (b"f", b"g?h"),
        ];
        let found = view.query.iter().map(|(name, value)| (&**name, &**value));
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert!(!view.has_semicolons);
        assert!(RequestView::new("GET", "/x?a;b").has_semicolons);
    }

    proptest! {
        /// A path in its one form stays as it is, and begins with a slash.
        #[test]
        fn the_one_form_is_one(target in "(/|a|;|%2[eEfF]|\\.|%25|%41){0,10}") {
            let target = format!("/{target}");
            if let Ok(once) = path(&target) {
                prop_assert!(once.starts_with('/') && !once.contains("//"));
                let again = once.replace('%', "%25").replace("%252F", "%2F");
                prop_assert_eq!(path(&again), Ok(once));
            }
        }
    }
}

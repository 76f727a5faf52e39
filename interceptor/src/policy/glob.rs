//! Globs as OpenShell's policies write them: for paths, for values in a query, for executables.
//!
//! | written | matches |
//! |---|---|
//! | `*` | any bytes, in a path none that is a slash |
//! | `**` | any bytes, slashes too |
//! | `?` | one byte, in a path no slash |
//! | `[a-z]`, `[!a-z]` | one byte of the class, or (no slash in a path) outside it |
//! | `{a,b}` | one of some globs |
//! | `\*` | the character itself |
//!
//! So `/api/*` is one segment below `/api`, `/api/**` everything below it, and `**` everything. Neither matches `/api`.

use std::{fmt, str::FromStr};

use regex::bytes::{Regex, RegexBuilder};

/// Longest glob, in bytes.
const MAX: usize = 1024;

/// Memory that one may take when it is compiled, in bytes.
const COMPILED_MAX: usize = 256 * 1024;

/// A glob over segments that slashes separate.
#[derive(Clone, Debug)]
pub(crate) struct PathGlob(Glob);

/// A glob over text without segments.
#[derive(Clone, Debug)]
pub(crate) struct TextGlob(Glob);

#[derive(Clone)]
struct Glob {
    text: Box<str>,
    regex: Regex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GlobError {
    #[error("the glob is longer than {MAX} bytes")]
    Long,
    #[error("a `[` or `{{` of the glob is not closed, or its class is empty")]
    Open,
    #[error("the glob ends with a backslash")]
    Escape,
    #[error("the glob is malformed, or too large once its alternatives are written out")]
    Compile,
}

impl PathGlob {
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        self.0.regex.is_match(path)
    }

    /// Every path matches.
    pub(crate) fn is_everything(&self) -> bool {
        matches!(&*self.0.text, "**" | "/**")
    }
}

impl TextGlob {
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.0.regex.is_match(text)
    }
}

impl FromStr for PathGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        Glob::compile(text, true).map(Self)
    }
}

impl FromStr for TextGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        Glob::compile(text, false).map(Self)
    }
}

impl PartialEq for PathGlob {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl PartialEq for TextGlob {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for PathGlob {}
impl Eq for TextGlob {}

impl Glob {
    fn compile(text: &str, segments: bool) -> Result<Self, GlobError> {
        if text.len() > MAX {
            return Err(GlobError::Long);
        }
        let regex = RegexBuilder::new(&translate(text, segments)?)
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(COMPILED_MAX)
            .build()
            .ok()
            .ok_or(GlobError::Compile)?;
        Ok(Self {
            text: text.into(),
            regex,
        })
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The glob as a regular expression.
fn translate(text: &str, segments: bool) -> Result<String, GlobError> {
    let one = if segments { "[^/]" } else { "." };
    let mut out = String::from("^(?:");
    let mut open = 0_u32;
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' => {
                let mut stars = 1;
                while bytes.next_if_eq(&b'*').is_some() {
                    stars += 1;
                }
                out.push_str(if stars > 1 { "." } else { one });
                out.push('*');
            }
            b'?' => out.push_str(one),
            b'[' => class(&mut bytes, segments, &mut out)?,
            b'{' => {
                open += 1;
                out.push_str("(?:");
            }
            b'}' if open > 0 => {
                open -= 1;
                out.push(')');
            }
            b',' if open > 0 => out.push('|'),
            b'\\' => literal(bytes.next().ok_or(GlobError::Escape)?, &mut out),
            byte => literal(byte, &mut out),
        }
    }
    if open > 0 {
        return Err(GlobError::Open);
    }
    out.push_str(")$");
    Ok(out)
}

/// What follows a `[`, up to its `]`.
fn class(
    bytes: &mut std::iter::Peekable<std::str::Bytes<'_>>,
    segments: bool,
    out: &mut String,
) -> Result<(), GlobError> {
    out.push('[');
    if bytes.next_if(|byte| matches!(byte, b'!' | b'^')).is_some() {
        out.push('^');
        if segments {
            literal(b'/', out);
        }
    }
    let mut empty = true;
    loop {
        match bytes.next().ok_or(GlobError::Open)? {
            b']' if empty => return Err(GlobError::Open),
            b']' => break,
            b'-' if !empty && bytes.peek().is_some_and(|next| *next != b']') => out.push('-'),
            b'\\' => literal(bytes.next().ok_or(GlobError::Escape)?, out),
            byte => literal(byte, out),
        }
        empty = false;
    }
    out.push(']');
    Ok(())
}

fn literal(byte: u8, out: &mut String) {
    if byte.is_ascii_alphanumeric() {
        out.push(char::from(byte));
    } else {
        out.push_str(&format!(r"\x{byte:02X}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stays_in_its_segment_and_two_do_not() {
        for (glob, path, expected) in [
            ("/api/*", "/api/users", true),
            ("/api/*", "/api/", true),
            ("/api/*", "/api", false),
            ("/api/*", "/api/users/1", false),
            ("/api/**", "/api/users/1", true),
            ("/api/**", "/api/", true),
            ("/api/**", "/api", false),
            ("/api/**", "/apis/x", false),
            ("**", "/", true),
            ("/**", "/", true),
            ("/bot*/**", "/bot1:2/getMe", true),
            ("/bot*/**", "/bot1:2", false),
            ("/bot*/getMe", "/bot1/x/getMe", false),
            ("/a?c", "/abc", true),
            ("/a?c", "/a/c", false),
            ("/v[1-3]/x", "/v2/x", true),
            ("/v[1-3]/x", "/v4/x", false),
            ("/v[!1-3]/x", "/v4/x", true),
            ("/v[!1-3]x", "/v/x", false),
            ("/{a,b*}/c", "/bz/c", true),
            ("/{a,b*}/c", "/c/c", false),
            (r"/\*", "/*", true),
            (r"/\*", "/x", false),
            ("/a.c", "/abc", false),
            ("/a,b", "/a,b", true),
            ("/A", "/a", false),
        ] {
            let glob: PathGlob = glob.parse().unwrap();
            assert_eq!(glob.matches(path.as_bytes()), expected, "{glob:?} {path}");
        }
        let text: TextGlob = "a*z".parse().unwrap();
        assert!(text.matches(b"a/\n\xff/z") && !text.matches(b"a/zz/"));
    }

    #[test]
    fn malformed_globs_are_refused() {
        for (glob, error) in [
            ("/[a", GlobError::Open),
            ("/[]a", GlobError::Open),
            ("/{a", GlobError::Open),
            ("/a\\", GlobError::Escape),
            ("/[z-a]", GlobError::Compile),
            (&"x".repeat(MAX + 1), GlobError::Long),
        ] {
            assert_eq!(glob.parse::<PathGlob>().unwrap_err(), error, "{glob}");
        }
    }

    /// The definition, followed to the letter.
    fn oracle(glob: &[u8], path: &[u8]) -> bool {
        match (glob, path) {
            ([], []) => true,
            ([b'*', b'*', rest @ ..], _) => {
                (0..=path.len()).any(|skip| oracle(rest, &path[skip..]))
            }
            ([b'*', rest @ ..], _) => (0..=path.len())
                .take_while(|skip| !path[..*skip].contains(&b'/'))
                .any(|skip| oracle(rest, &path[skip..])),
            ([b'?', rest @ ..], [byte, path @ ..]) => *byte != b'/' && oracle(rest, path),
            ([byte, rest @ ..], [other, path @ ..]) => byte == other && oracle(rest, path),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_defined(glob in "(a|/|\\*|\\*\\*|\\?){0,6}", path in "[a/b]{0,8}") {
            // Three stars are two, which the oracle reads from the left.
            let compiled: PathGlob = glob.parse().unwrap();
            prop_assert_eq!(compiled.matches(path.as_bytes()), oracle(glob.as_bytes(), path.as_bytes()));
        }

        #[test]
        fn no_glob_is_too_odd(glob in "\\PC{0,40}", path in ".{0,20}") {
            if let Ok(glob) = glob.parse::<PathGlob>() {
                glob.matches(path.as_bytes());
            }
        }
    }
}

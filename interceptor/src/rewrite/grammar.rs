//! What a placeholder looks like: four forms, byte-exact and case-sensitive.
//!
//! | form | grammar |
//! |---|---|
//! | canonical | `openshell:resolve:env:` KEY |
//! | revision | `openshell:resolve:env:v` DIGITS `_` KEY |
//! | stable handle | `openshell:resolve:env:s` 64 lower-case hex digits `_` KEY |
//! | token-shaped alias | LEAD `OPENSHELL-RESOLVE-ENV-` KEY, LEAD one or more of `[A-Za-z0-9_.~-]` |
//!
//! KEY is `[A-Za-z0-9_]`, 1 to [`SecretName::MAX`] bytes. A placeholder ends at the first byte outside that set, at the
//! end of the text, or where a canonical one begins: of these ends the one with the longest known key wins. Revisions
//! and handles name the same secret as their KEY, after [`MARKER`] as well.
//!
//! The first three forms need no boundary on their left (`Botopenshell:resolve:env:X`); what stands before them stays.
//! An alias is a whole token of LEAD's characters and is replaced with its LEAD. A longer KEY or LEAD than the bounds
//! here is ordinary text: a matcher must not be made to hold back without end.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::secrets::SecretName;

/// Begins the canonical form, the revision and the stable handle.
pub(crate) const PREFIX: &[u8] = b"openshell:resolve:env:";

/// Stands between an alias's LEAD and KEY.
pub(crate) const MARKER: &[u8] = b"OPENSHELL-RESOLVE-ENV-";

/// Bound on an alias's LEAD: room for the first two segments of a JSON Web Token.
pub(crate) const LEAD_MAX: usize = 128;

/// Longest text that can be needed to decide whether a placeholder begins at its first byte.
pub(crate) const LONGEST: usize = LEAD_MAX + MARKER.len() + RUN_MAX + PREFIX.len();

/// `s`, 64 hex digits, `_`, KEY; the digits of a revision share this bound.
const RUN_MAX: usize = 66 + SecretName::MAX;

/// The part of [`PREFIX`] that looks like more of the KEY before it.
const PREFIX_WORD: &[u8] = b"openshell";

static PREFIX_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PREFIX));
static MARKER_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARKER));

/// What follows [`PREFIX`] or [`MARKER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail<'t> {
    /// A placeholder for `key`; `len` bytes belong to it (a revision or handle is longer than its key).
    Key { key: &'t str, len: usize },
    /// No placeholder.
    Text,
    /// More bytes are needed to tell.
    Incomplete,
}

/// Can there be a placeholder in `text`? No false negatives; 31 GB/s.
pub(crate) fn mentions(text: &[u8]) -> bool {
    find_prefix(text).is_some() || find_marker(text).is_some()
}

/// Where [`PREFIX`] first stands.
pub(crate) fn find_prefix(text: &[u8]) -> Option<usize> {
    PREFIX_FINDER.find(text)
}

/// Where [`MARKER`] first stands.
pub(crate) fn find_marker(text: &[u8]) -> Option<usize> {
    MARKER_FINDER.find(text)
}

/// May stand in an alias's LEAD, and so bounds an alias.
pub(crate) fn is_lead_byte(byte: u8) -> bool {
    is_key_byte(byte) || matches!(byte, b'-' | b'.' | b'~')
}

/// Reads what follows [`PREFIX`]. `end`: no byte follows `rest`.
pub(crate) fn canonical_tail<'t>(
    rest: &'t [u8],
    end: bool,
    known: impl Fn(&str) -> bool,
) -> Tail<'t> {
    tail(rest, end, known, |_| true)
}

/// Reads what follows [`MARKER`]: an alias also ends its token.
pub(crate) fn alias_tail<'t>(rest: &'t [u8], end: bool, known: impl Fn(&str) -> bool) -> Tail<'t> {
    tail(rest, end, known, |next| !next.is_some_and(is_lead_byte))
}

fn tail<'t>(
    rest: &'t [u8],
    end: bool,
    known: impl Fn(&str) -> bool,
    may_end_before: impl Fn(Option<u8>) -> bool,
) -> Tail<'t> {
    let limit = RUN_MAX + PREFIX_WORD.len() + 1;
    let run = rest
        .iter()
        .take(limit)
        .take_while(|byte| is_key_byte(**byte))
        .count();
    if run == limit {
        return Tail::Text;
    }
    let (run, after) = rest.split_at(run);
    if after.is_empty() && !end {
        return Tail::Incomplete;
    }
    let whole = Some(run).filter(|_| may_end_before(after.first().copied()));
    let whole = whole.and_then(key);
    if let Some(key) = whole.filter(|key| known(key)) {
        return placeholder(key, run);
    }
    // The run's last word may be the beginning of the next placeholder.
    if let Some(cut) = run.strip_suffix(PREFIX_WORD) {
        let (_, word_end) = PREFIX.split_at(PREFIX_WORD.len());
        if after.starts_with(word_end) {
            if let Some(key) = key(cut) {
                return placeholder(key, cut);
            }
        } else if !end && word_end.starts_with(after) {
            return Tail::Incomplete;
        }
    }
    whole.map_or(Tail::Text, |key| placeholder(key, run))
}

fn placeholder<'t>(key: &'t str, run: &[u8]) -> Tail<'t> {
    let len = run.len();
    Tail::Key { key, len }
}

/// The KEY of `KEY`, `v<digits>_KEY` or `s<64 hex>_KEY`, if the lengths are in bounds.
fn key(run: &[u8]) -> Option<&str> {
    let text = str::from_utf8(run).ok()?;
    let key = unversioned(text).unwrap_or(text);
    let fits = run.len() <= RUN_MAX && (1..=SecretName::MAX).contains(&key.len());
    fits.then_some(key)
}

fn unversioned(text: &str) -> Option<&str> {
    let (version, key) = text.split_once('_')?;
    let is_version = match version.as_bytes().split_first()? {
        (b'v', digits) => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        (b's', hex) => {
            hex.len() == 64 && hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        }
        _ => false,
    };
    (is_version && !key.is_empty()).then_some(key)
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Tail<'_> {
        canonical_tail(rest.as_bytes(), true, |key| {
            ["X", "XY", "Xopenshell"].contains(&key)
        })
    }

    fn key_of(key: &str, len: usize) -> Tail<'_> {
        Tail::Key { key, len }
    }

    #[test]
    fn all_versions_name_the_same_key() {
        let handle = format!("s{}_X", "0a".repeat(32));
        for rest in ["X", "v1_X", "v00123_X", &handle] {
            assert_eq!(read(rest), key_of("X", rest.len()), "{rest}");
        }
    }

    #[test]
    fn what_only_looks_like_a_version_is_a_key() {
        let short = format!("s{}_X", "0a".repeat(31));
        let upper = format!("s{}_X", "0A".repeat(32));
        for rest in [
            "v_X", "v1X", "v1_", "va_X", "V1_X", "s_X", "_X", &short, &upper,
        ] {
            assert_eq!(read(rest), key_of(rest, rest.len()), "{rest}");
        }
    }

    #[test]
    fn key_ends_at_the_first_foreign_byte_or_the_end() {
        for (rest, key) in [
            ("X", "X"),
            ("X\"", "X"),
            ("XY-", "XY"),
            ("XY.z", "XY"),
            ("X:", "X"),
            ("XZ", "XZ"),
            ("X\u{e9}", "X"),
        ] {
            assert_eq!(read(rest), key_of(key, key.len()), "{rest}");
        }
        assert_eq!(read(""), Tail::Text);
        assert_eq!(read("-X"), Tail::Text);
    }

    #[test]
    fn longest_known_key_wins_before_another_placeholder() {
        assert_eq!(read("Xopenshell:resolve:env:X"), key_of("Xopenshell", 10));
        assert_eq!(read("XYopenshell:resolve:env:X"), key_of("XY", 2));
        assert_eq!(read("v2_XYopenshell:resolve:env:X"), key_of("XY", 5));
        assert_eq!(read("Zopenshell:resolve:env:X"), key_of("Z", 1));
        assert_eq!(
            read("XYopenshell:resolve:en"),
            key_of("XYopenshell", 11),
            "nothing follows at once"
        );
        assert_eq!(read("openshell:resolve:env:X"), key_of("openshell", 9));
    }

    #[test]
    fn alias_ends_its_token() {
        let read = |rest: &'static str| alias_tail(rest.as_bytes(), true, |key| key == "X");
        for rest in ["X-", "X.y", "X~", ""] {
            assert_eq!(read(rest), Tail::Text, "{rest}");
        }
        for rest in ["X", "X\"", "X ", "X:", "Xopenshell:resolve:env:X"] {
            assert_eq!(read(rest), key_of("X", 1), "{rest}");
        }
    }

    #[test]
    fn over_long_key_is_text() {
        let key = "K".repeat(SecretName::MAX);
        let handle = format!("s{}_{key}", "0".repeat(64));
        assert_eq!(read(&key), key_of(&key, key.len()));
        assert_eq!(read(&handle), key_of(&key, handle.len()));
        for rest in [
            format!("{key}K"),
            format!("{handle}K"),
            "K".repeat(9000),
            format!("{key}Kopenshell:resolve:env:X"),
        ] {
            assert_eq!(read(&rest), Tail::Text, "{} bytes", rest.len());
        }
    }

    #[test]
    fn undecided_only_as_long_as_a_byte_could_change_the_answer() {
        let read = |rest: &str| {
            matches!(
                canonical_tail(rest.as_bytes(), false, |key| key == "X"),
                Tail::Incomplete
            )
        };
        for rest in [
            "",
            "X",
            "XY",
            "Xopens",
            "Yopenshell",
            "Yopenshell:",
            "Yopenshell:resolve:env",
        ] {
            assert!(read(rest), "{rest}");
        }
        for rest in [
            "X\"",
            "Y:",
            "Yopenshell:resolve:envy",
            "Yopenshell:resolve:env:",
            "Yopenshell\"",
        ] {
            assert!(!read(rest), "{rest}");
        }
        assert!(!read(&"K".repeat(LONGEST)));
    }
}

//! Puts secrets into single cookies of a Cookie header (RFC 6265 §4.2.1).
//!
//! In a bound cookie a placeholder has to stand alone, perhaps in quotes; it may be percent-encoded, as libraries do that
//! encode every value, and then its secret is as well. All other cookies keep their bytes.

use percent_encoding::AsciiSet;
use zeroize::Zeroizing;

use super::{
    RELEASES_MAX, Unresolvable, append, grammar,
    outcome::HeadOutcome,
    release::Release,
    target::{IN_QUERY, mentions, put},
};
use crate::secrets::SecretName;

/// Rewrites the value of a Cookie header. `None`: no cookie in it that something is bound to mentions a placeholder.
pub(super) fn rewrite(value: &[u8], release: &Release) -> Option<HeadOutcome> {
    let concerns = |cookie| {
        let (name, value) = split(cookie);
        release.binds_cookie(name.trim_ascii()) && mentions(value)
    };
    if !value.split(|byte| *byte == b';').any(concerns) {
        return None;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() + 4096));
    let mut used = Vec::new();
    let mut passed = 0;
    let mut cookies = value.split(|byte| *byte == b';').enumerate();
    let done = cookies.try_for_each(|(index, cookie)| {
        append(if index == 0 { b"" } else { b";" }, &mut out);
        if concerns(cookie) {
            return rewrite_one(cookie, release, &mut used, &mut out);
        }
        passed += u64::from(mentions(cookie));
        append(cookie, &mut out);
        Ok(())
    });
    Some(HeadOutcome::settle(done, out, used, passed))
}

fn rewrite_one(
    cookie: &[u8],
    release: &Release,
    used: &mut Vec<SecretName>,
    out: &mut Zeroizing<Vec<u8>>,
) -> Result<(), Unresolvable> {
    let (name, value) = split(cookie);
    let (before, text, after) = bare(value);
    let name_end = cookie.len() - value.len();
    append(cookie.split_at(name_end).0, out);
    append(before, out);
    let plain = grammar::mentions(text);
    let encoded = if plain { &AsciiSet::EMPTY } else { IN_QUERY };
    let left = RELEASES_MAX.saturating_sub(used.len());
    let put = put(text, encoded, release, left, out, |key| {
        let found = release.cookie(name.trim_ascii(), key)?;
        Some(Some(found).filter(|(_, secret)| !plain || secret.iter().all(may_stand_in_a_cookie)))
    })?;
    used.extend(put);
    append(after, out);
    Ok(())
}

/// The name, and what is behind the first `=`.
fn split(cookie: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', cookie) {
        None => (cookie, b""),
        Some(at) => {
            let (name, value) = cookie.split_at(at);
            (name, value.get(1..).unwrap_or_default())
        }
    }
}

/// The value without white space and quotes round it, which come before and after.
fn bare(value: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let text = value.trim_ascii_start();
    let (mut before, text) = value.split_at(value.len() - text.len());
    let (mut text, mut after) = text.split_at(text.trim_ascii_end().len());
    if let Some(quoted) = text.strip_prefix(b"\"")
        && let Some(quoted) = quoted.strip_suffix(b"\"")
    {
        before = value.split_at(before.len() + 1).0;
        text = quoted;
        after = value.split_at(before.len() + text.len()).1;
    }
    (before, text, after)
}

/// RFC 6265 §4.1.1, `cookie-octet`.
fn may_stand_in_a_cookie(byte: &u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::release::builder::release;

    const TOKEN: &str = "openshell:resolve:env:TOKEN";

    fn outcome(value: &str) -> Option<HeadOutcome> {
        let release = release()
            .cookie("TOKEN", b"s3cr3t+/=", "session")
            .cookie("ODD", b"a;b", "session")
            .elsewhere("OTHER")
            .build();
        rewrite(value.as_bytes(), &release)
    }

    fn rewritten(value: &str) -> (String, usize, u64) {
        match outcome(value) {
            Some(HeadOutcome::Rewritten {
                value,
                used,
                passed,
            }) => {
                let value = String::from_utf8(value.to_vec()).unwrap();
                (value, used.len(), passed)
            }
            other => panic!("{value}: {other:?}"),
        }
    }

    #[test]
    fn a_placeholder_alone_in_its_cookie_becomes_the_secret() {
        let encoded = TOKEN.replace(':', "%3A");
        for (value, expected) in [
            (format!("session={TOKEN}"), "session=s3cr3t+/="),
            (
                format!("a=b;  session = {TOKEN} ;c=\"d\""),
                "a=b;  session = s3cr3t+/= ;c=\"d\"",
            ),
            (format!("session=\"{TOKEN}\""), "session=\"s3cr3t+/=\""),
            (
                format!("session={encoded}; e"),
                "session=s3cr3t%2B%2F%3D; e",
            ),
            (
                "session=a.b-OPENSHELL-RESOLVE-ENV-TOKEN".to_owned(),
                "session=s3cr3t+/=",
            ),
        ] {
            assert_eq!(rewritten(&value), (expected.to_owned(), 1, 0), "{value}");
        }
    }

    #[test]
    fn other_cookies_keep_their_placeholders() {
        let (value, used, passed) = rewritten(&format!(
            "Session={TOKEN}; session={TOKEN}; session2={TOKEN}; session={TOKEN}"
        ));
        let expected =
            format!("Session={TOKEN}; session=s3cr3t+/=; session2={TOKEN}; session=s3cr3t+/=");
        assert_eq!((value, used, passed), (expected, 2, 2));
        for value in [
            format!("other={TOKEN}"),
            format!("session; x={TOKEN}"),
            "session=plain".to_owned(),
            TOKEN.to_owned(),
        ] {
            assert!(outcome(&value).is_none(), "{value}");
        }
        let unchanged = outcome("session=openshell:resolve:env:");
        assert!(matches!(unchanged, Some(HeadOutcome::Unchanged)));
        let others = outcome(&format!(
            "session=openshell:resolve:env:; a={TOKEN}; b={TOKEN}"
        ));
        assert!(matches!(others, Some(HeadOutcome::Passed(2))));
    }

    #[test]
    fn what_cannot_be_resolved_in_a_bound_cookie_is_refused() {
        for (value, why) in [
            (
                "openshell:resolve:env:OTHER".to_owned(),
                Unresolvable::BoundElsewhere,
            ),
            (
                "openshell:resolve:env:NOBODYS".to_owned(),
                Unresolvable::Unavailable,
            ),
            // Its secret has a semicolon.
            (
                "openshell:resolve:env:ODD".to_owned(),
                Unresolvable::Unavailable,
            ),
            (format!("x {TOKEN}"), Unresolvable::Misplaced),
            (TOKEN.repeat(RELEASES_MAX + 1), Unresolvable::TooMany),
        ] {
            match outcome(&format!("session={value}")) {
                Some(HeadOutcome::Refused(refused)) => assert_eq!(refused, why, "{value}"),
                other => panic!("{value}: {other:?}"),
            }
        }
    }
}

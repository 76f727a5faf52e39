//! Puts secrets into the target of a request: a segment of its path, a parameter of its query.
//!
//! At a bound place a placeholder has to stand alone, plain or percent-encoded (RFC 3986 §2.1, once). Beside other text it
//! is refused there: the other side could only reject it. Anywhere else in the target it is the harmless text that it is.
//! What no secret goes into keeps its bytes.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use zeroize::Zeroizing;

use super::{
    RELEASES_MAX, Unresolvable, append, grammar, make_room,
    matcher::{Matcher, Piece},
    outcome::HeadOutcome,
    release::Release,
};
use crate::{policy::form_decoded, secrets::SecretName};

/// What a secret keeps in a query (RFC 3986 §2.3, unreserved): `+`, `&` and `=` have meanings of their own there.
pub(super) const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What it keeps in a segment of a path (RFC 3986 §3.3, `pchar`).
const IN_PATH: &AsciiSet = &IN_QUERY
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Rewrites a target in origin form (`/path?query`) or in absolute form (`https://host/path?query`).
pub(crate) fn rewrite(target: &[u8], release: &Release) -> HeadOutcome {
    if !mentions(target) {
        return HeadOutcome::Unchanged;
    }
    let (origin, path, query) = split(target);
    let mut rewriting = Rewriting {
        release,
        out: Zeroizing::new(Vec::with_capacity(target.len() + 4096)),
        used: Vec::new(),
        passed: 0,
    };
    rewriting.keep(origin);
    let done = rewriting
        .path(path)
        .and_then(|()| query.map_or(Ok(()), |query| rewriting.query(query)));
    let Rewriting {
        out, used, passed, ..
    } = rewriting;
    HeadOutcome::settle(done, out, used, passed)
}

/// Can there be a placeholder in `text`, plain or percent-encoded?
pub(super) fn mentions(text: &[u8]) -> bool {
    grammar::mentions(text) || text.contains(&b'%') && grammar::mentions(&decoded(text))
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    percent_decode(text).into()
}

/// Scheme and host, path, and what follows the first `?`.
fn split(target: &[u8]) -> (&[u8], &[u8], Option<&[u8]>) {
    let authority = memchr::memmem::find(target, b"://").map(|at| at + 3);
    let path = match authority {
        Some(start) if !target.starts_with(b"/") => {
            let rest = target.get(start..).unwrap_or_default();
            let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
            length.map_or(target.len(), |length| start + length)
        }
        _ => 0,
    };
    let (origin, rest) = target.split_at(path);
    match memchr::memchr(b'?', rest) {
        None => (origin, rest, None),
        Some(at) => {
            let (path, query) = rest.split_at(at);
            (origin, path, query.get(1..))
        }
    }
}

struct Rewriting<'r> {
    release: &'r Release,
    out: Zeroizing<Vec<u8>>,
    used: Vec<SecretName>,
    passed: u64,
}

impl Rewriting<'_> {
    fn keep(&mut self, text: &[u8]) {
        append(text, &mut self.out);
    }

    fn pass(&mut self, text: &[u8]) {
        self.passed += u64::from(mentions(text));
        self.keep(text);
    }

    /// Places are tried in their order; the first that the path has is the one.
    fn path(&mut self, path: &[u8]) -> Result<(), Unresolvable> {
        let release = self.release;
        let found = release.path_places().find_map(|place| {
            let rest = path.strip_prefix(place.before.as_bytes())?;
            let segment = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            let (segment, behind) = rest.split_at(segment);
            let (own, onward) = place.after.split_once('/').unwrap_or((&place.after, ""));
            let middle = segment.strip_suffix(own.as_bytes())?;
            let goes_on = if place.after.len() == own.len() {
                behind.is_empty()
            } else {
                let onward = behind.strip_prefix(b"/")?.strip_prefix(onward.as_bytes())?;
                onward.is_empty() || place.after.ends_with('/')
            };
            goes_on.then_some((place, middle))
        });
        let Some((place, middle)) = found.filter(|(_, middle)| mentions(middle)) else {
            self.pass(path);
            return Ok(());
        };
        let (before, rest) = path.split_at(place.before.len());
        let after = rest.split_at(middle.len()).1;
        self.keep(before);
        self.put(middle, IN_PATH, |key| {
            let found = release.path(place, key)?;
            Some(Some(found).filter(|(_, secret)| may_stand_in_a_path(secret)))
        })?;
        self.pass(after);
        Ok(())
    }

    fn query(&mut self, query: &[u8]) -> Result<(), Unresolvable> {
        for (index, parameter) in query.split(|byte| *byte == b'&').enumerate() {
            self.keep(if index == 0 { b"?" } else { b"&" });
            let value = memchr::memchr(b'=', parameter).map_or(parameter.len(), |at| at + 1);
            let (name, value) = parameter.split_at(value);
            self.pass(name);
            let name = form_decoded(name.strip_suffix(b"=").unwrap_or(name));
            if !self.release.binds_query(&name) || !mentions(value) {
                self.pass(value);
                continue;
            }
            let release = self.release;
            self.put(value, IN_QUERY, |key| release.query(&name, key).map(Some))?;
        }
        Ok(())
    }

    fn put<'f>(
        &mut self,
        text: &[u8],
        encoded: &'static AsciiSet,
        find: impl Fn(&str) -> Option<Option<(&'f SecretName, &'f [u8])>>,
    ) -> Result<(), Unresolvable> {
        let left = RELEASES_MAX.saturating_sub(self.used.len());
        let used = put(text, encoded, self.release, left, &mut self.out, find)?;
        self.used.extend(used);
        Ok(())
    }
}

/// Appends the secret for the placeholder that `text` is, plain or percent-encoded, and names it; `left` may be put in.
/// `find` finds the one that is bound here, `Some(None)` if it has no form here.
pub(super) fn put<'f>(
    text: &[u8],
    encoded: &'static AsciiSet,
    release: &Release,
    left: usize,
    out: &mut Zeroizing<Vec<u8>>,
    find: impl Fn(&str) -> Option<Option<(&'f SecretName, &'f [u8])>>,
) -> Result<Vec<SecretName>, Unresolvable> {
    let mut used = Vec::new();
    let mut found = 0;
    let mut misplaced = false;
    let mut sink = |piece: Piece<'_>| {
        let Piece::Placeholder { raw, key } = piece else {
            misplaced = true;
            return Ok(());
        };
        found += 1;
        match find(key) {
            Some(Some(_)) if used.len() >= left => Err(Unresolvable::TooMany),
            Some(Some((name, secret))) => {
                make_room(out, secret.len() * 3);
                for part in percent_encode(secret, encoded) {
                    out.extend_from_slice(part.as_bytes());
                }
                release.reflection().note(name, secret, raw);
                used.push(name.clone());
                Ok(())
            }
            Some(None) => Err(Unresolvable::Unavailable),
            None => Err(release.why_not(key)),
        }
    };
    let plain = decoded(text);
    let known = |key: &str| release.knows(key);
    Matcher::whole(&plain, &known, &mut sink)?;
    match (found, misplaced) {
        // The prefix or the marker was there, but no placeholder.
        (0, _) => {
            append(text, out);
            Ok(used)
        }
        (_, true) => Err(Unresolvable::Misplaced),
        (_, false) => Ok(used),
    }
}

/// A server could take such a path for another one, encoded or not.
fn may_stand_in_a_path(secret: &[u8]) -> bool {
    let separates = |byte: &u8| matches!(byte, b'/' | b'\\' | b'?' | b'#');
    let climbs = secret == b"." || memchr::memmem::find(secret, b"..").is_some();
    !climbs && !secret.iter().any(separates)
}

#[cfg(test)]
mod tests;

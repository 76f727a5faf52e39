//! Puts secrets into the value of a request's header.
//!
//! Where a secret is bound to the header, a placeholder may stand in the value's one word, or in the one word behind a
//! scheme (`Bearer`, `Bot`, any token), or anywhere in what Basic's base64 spells (RFC 7617). Elsewhere in a bound
//! header it is refused: the other side could only reject it. In a header to which nothing is bound it is the harmless
//! text that it is.

use zeroize::Zeroizing;

use super::{
    RELEASES_MAX, Unresolvable, append, cookie,
    encode::Base64,
    grammar, make_room,
    matcher::{Matcher, Piece},
    outcome::HeadOutcome,
    release::Release,
};
use crate::secrets::SecretName;

/// Rewrites the value of the header `name` (lower case).
pub(crate) fn rewrite(name: &str, value: &[u8], release: &Release) -> HeadOutcome {
    if name == "cookie"
        && let Some(outcome) = cookie::rewrite(value, release)
    {
        return outcome;
    }
    let trimmed = value.trim_ascii();
    let (scheme, credential) = split_scheme(trimmed);
    let basic = scheme
        .filter(|scheme| scheme.trim_ascii_end().eq_ignore_ascii_case(b"basic"))
        .and_then(|_| Base64::decode(credential))
        .filter(|(_, decoded)| grammar::mentions(decoded));
    if basic.is_none() && !grammar::mentions(value) {
        return HeadOutcome::Unchanged;
    }
    if !release.binds_header(name) {
        return HeadOutcome::Passed(1);
    }
    let mut used = Vec::new();
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() + 4096));
    out.extend_from_slice(scheme.unwrap_or_default());
    let resolved = match basic {
        Some((spelling, decoded)) => {
            let mut plain = Zeroizing::new(Vec::with_capacity(decoded.len() + 4096));
            resolve(name, &decoded, release, &mut used, &mut plain).map(|()| {
                make_room(&mut out, plain.len().div_ceil(3) * 4);
                spelling.encode(&plain, &mut out);
            })
        }
        None if credential.iter().any(u8::is_ascii_whitespace) => Err(Unresolvable::Misplaced),
        None => resolve(name, credential, release, &mut used, &mut out)
            .and_then(|()| may_stand_in_a_header(&out)),
    };
    // None passes: where something is bound it is refused.
    HeadOutcome::settle(resolved, out, used, 0)
}

/// `<scheme> <credential>`, the white space going with the scheme; or no scheme at all.
fn split_scheme(value: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let Some(space) = value.iter().position(u8::is_ascii_whitespace) else {
        return (None, value);
    };
    let (_, rest) = value.split_at(space);
    let credential = rest.trim_ascii_start();
    let (scheme, credential) = value.split_at(value.len() - credential.len());
    (Some(scheme), credential)
}

/// Appends `text` with its placeholders resolved to `out`.
fn resolve(
    name: &str,
    text: &[u8],
    release: &Release,
    used: &mut Vec<SecretName>,
    out: &mut Zeroizing<Vec<u8>>,
) -> Result<(), Unresolvable> {
    let mut sink = |piece: Piece<'_>| {
        match piece {
            Piece::Text(text) => append(text, out),
            Piece::Placeholder { raw, key } => match release.header(name, key) {
                Some(_) if used.len() == RELEASES_MAX => return Err(Unresolvable::TooMany),
                Some((name, secret)) => {
                    append(secret, out);
                    release.reflection().note(name, secret, raw);
                    used.push(name.clone());
                }
                None => return Err(release.why_not(key)),
            },
        }
        Ok(())
    };
    let known = |key: &str| release.knows(key);
    Matcher::whole(text, &known, &mut sink)
}

/// RFC 9110 §5.5: no control byte but a tab.
fn may_stand_in_a_header(value: &[u8]) -> Result<(), Unresolvable> {
    let control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if value.iter().any(control) {
        return Err(Unresolvable::Unavailable);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

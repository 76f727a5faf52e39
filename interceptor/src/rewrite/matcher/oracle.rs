//! What the matcher has to find, said again in the simplest way.

#![allow(
    clippy::unwrap_used,
    reason = "only tests and fuzzers are built with it"
)]

use std::convert::Infallible;

use super::{LEAD_MAX, LONGEST, MARKER, Matcher, PREFIX, Piece};
use crate::secrets::SecretName;

/// What `sink` got, with neighbouring text joined.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(Vec<u8>),
    Placeholder { raw: Vec<u8>, key: String },
}

/// Keys that the oracle and [`collect`] know.
pub(crate) fn known(key: &str) -> bool {
    ["X", "XY", "Xopenshell", "_", "TOKEN"].contains(&key)
}

/// What a matcher makes of a text that comes in `chunks`.
pub(crate) fn collect<'t>(chunks: impl IntoIterator<Item = &'t [u8]>) -> Vec<Part> {
    let mut matcher = Matcher::default();
    let mut parts = Vec::new();
    let mut sink = |piece: Piece<'_>| keep(piece, &mut parts);
    for chunk in chunks {
        matcher.push(chunk, &known, &mut sink).unwrap();
        assert!(matcher.held() <= LONGEST, "{} held", matcher.held());
    }
    matcher.finish(&known, &mut sink).unwrap();
    assert_eq!(matcher.held(), 0);
    parts
}

/// What one makes of a text that is all there.
pub(crate) fn collect_whole(text: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    Matcher::whole(text, &known, &mut |piece| keep(piece, &mut parts)).unwrap();
    parts
}

fn keep(piece: Piece<'_>, parts: &mut Vec<Part>) -> Result<(), Infallible> {
    match (piece, parts.last_mut()) {
        (Piece::Text(text), Some(Part::Text(last))) => last.extend_from_slice(text),
        (Piece::Text(text), _) => parts.push(Part::Text(text.to_vec())),
        (Piece::Placeholder { raw, key }, _) => parts.push(Part::Placeholder {
            raw: raw.to_vec(),
            key: key.to_owned(),
        }),
    }
    Ok(())
}

/// The grammar once more, read from the left with all of the text in hand.
pub(crate) fn oracle(text: &[u8]) -> Vec<Part> {
    let is_key = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let is_lead = |b: &u8| is_key(b) || b"-.~".contains(b);
    let tail = |at: usize, alias: bool| -> Option<(usize, String)> {
        let run = text[at..].iter().take_while(|b| is_key(b)).count();
        let ends_token = !text.get(at + run).is_some_and(is_lead);
        let mut ends = Vec::new();
        if !alias || ends_token {
            ends.push(run);
        }
        if run >= 9 && text[at + run - 9..].starts_with(PREFIX) {
            ends.push(run - 9);
        }
        let keys = ends.iter().filter_map(|&end| {
            let run = str::from_utf8(&text[at..at + end]).unwrap();
            let key = run
                .split_once('_')
                .filter(|(version, key)| {
                    let digits = version.strip_prefix('v').unwrap_or_default();
                    let hex = version.strip_prefix('s').unwrap_or_default();
                    let digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                    let hex =
                        hex.len() == 64 && hex.bytes().all(|b| b"0123456789abcdef".contains(&b));
                    !key.is_empty() && (digits || hex)
                })
                .map_or(run, |(_, key)| key);
            let fits = end <= 194 && !key.is_empty() && key.len() <= SecretName::MAX;
            fits.then(|| (end, key.to_owned()))
        });
        let keys: Vec<_> = keys.collect();
        let best = keys.iter().find(|(_, key)| known(key)).or(keys.last());
        best.map(|(end, key)| (at + end, key.clone()))
    };
    let at = |start: usize, given: usize| -> Option<(usize, String)> {
        if text[start..].starts_with(PREFIX)
            && let Some(found) = tail(start + PREFIX.len(), false)
        {
            return Some(found);
        }
        let begins = start == 0 || !is_lead(&text[start - 1]);
        if !begins || start < given {
            return None;
        }
        let word = text[start..].iter().take_while(|b| is_lead(b)).count();
        (1..=LEAD_MAX.min(word))
            .filter(|lead| text[start + lead..].starts_with(MARKER))
            .find_map(|lead| tail(start + lead + MARKER.len(), true))
    };
    let mut parts = Vec::new();
    let mut given = 0;
    let mut start = 0;
    while start < text.len() {
        if let Some((end, key)) = at(start, given) {
            if given < start {
                parts.push(Part::Text(text[given..start].to_vec()));
            }
            let raw = text[start..end].to_vec();
            parts.push(Part::Placeholder { raw, key });
            given = end;
            start = end;
        } else {
            start += 1;
        }
    }
    if given < text.len() {
        parts.push(Part::Text(text[given..].to_vec()));
    }
    parts
}

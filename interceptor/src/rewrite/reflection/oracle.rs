//! What a redactor should do, told as simply as can be.

use std::sync::Arc;

use super::{Fill, Patterns, Redactor, forms};

/// Released together: one begins like the other, one needs escapes, one repeats itself.
pub(crate) const SECRETS: [&str; 4] = [
    "secret-one",
    "secret-one-longer",
    "a\"quo/te+é\\",
    "abababab",
];

pub(crate) fn placeholder(index: usize) -> Arc<[u8]> {
    format!("openshell:resolve:env:TOKEN_{index}")
        .into_bytes()
        .into()
}

pub(crate) fn patterns() -> Arc<Patterns> {
    let forms = SECRETS
        .iter()
        .enumerate()
        .flat_map(|(index, secret)| forms::of(secret.as_bytes(), &placeholder(index)));
    Arc::new(Patterns::new(forms))
}

/// The first spelling from the left, of several that begin there the longest, is replaced; then on behind it.
pub(crate) fn oracle(mut text: &[u8], fill: Fill) -> Vec<u8> {
    let forms: Vec<_> = SECRETS
        .iter()
        .enumerate()
        .flat_map(|(index, secret)| forms::of(secret.as_bytes(), &placeholder(index)))
        .collect();
    let mut out = Vec::new();
    while let Some((&first, rest)) = text.split_first() {
        let best = forms
            .iter()
            .filter(|form| text.starts_with(&form.pattern))
            .max_by_key(|form| form.pattern.len());
        match best {
            Some(form) => {
                out.extend_from_slice(match (&form.placeholder, fill) {
                    (Some(placeholder), Fill::Free) => placeholder,
                    _ => &form.overlay,
                });
                text = text.get(form.pattern.len()..).unwrap_or_default();
            }
            None => {
                out.push(first);
                text = rest;
            }
        }
    }
    out
}

/// What a redactor makes of a text that comes in `pieces`.
pub(crate) fn redact<'t>(pieces: impl IntoIterator<Item = &'t [u8]>, fill: Fill) -> Vec<u8> {
    let mut redactor = Redactor::new(&patterns(), fill);
    let mut out = Vec::new();
    for piece in pieces {
        redactor.push(piece, &mut out);
    }
    redactor.finish(&mut out);
    out
}

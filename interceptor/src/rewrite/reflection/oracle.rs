//! What a redactor should do, told as simply as can be.

use std::sync::{Arc, LazyLock};

use super::{
    Fill, Patterns, Redactor, Reflection,
    forms::{self, Form},
};

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

/// A connection on which all of them were written.
pub(crate) fn reflection() -> Arc<Reflection> {
    let reflection = Reflection::default();
    for (index, secret) in SECRETS.iter().enumerate() {
        if let Ok(name) = format!("TOKEN_{index}").parse() {
            reflection.note(&name, secret.as_bytes(), &placeholder(index));
        }
    }
    Arc::new(reflection)
}

static PATTERNS: LazyLock<Arc<Patterns>> =
    LazyLock::new(|| Arc::new(Patterns::new(Vec::new(), forms())));

static FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| forms().collect());

fn forms() -> impl Iterator<Item = Form> {
    let secrets = SECRETS.iter().enumerate();
    secrets.flat_map(|(index, secret)| forms::of(secret.as_bytes(), &placeholder(index)))
}

pub(crate) fn patterns() -> Arc<Patterns> {
    Arc::clone(&PATTERNS)
}

/// The first spelling from the left, of several that begin there the longest, is replaced; then on behind it.
pub(crate) fn oracle(mut text: &[u8], fill: Fill) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((&first, rest)) = text.split_first() {
        let best = FORMS
            .iter()
            .filter(|form| form.pattern.first() == Some(&first) && text.starts_with(&form.pattern))
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

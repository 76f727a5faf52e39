//! Finds every form of every secret at once.

use std::{ops::Range, sync::Arc};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

use super::{
    SHORTEST, Written,
    forms::{FILLER, Form},
};

/// What the forms of a connection's secrets look like.
///
/// The automaton holds the secrets' bytes, and is not wiped when it goes: it lives as long as a connection that needs it,
/// in the daemon's memory, which no other user can read.
pub(crate) struct Patterns {
    /// What the forms are of.
    pub(super) written: Vec<Arc<Written>>,
    automaton: Option<AhoCorasick>,
    /// By their number in the automaton.
    forms: Vec<Form>,
    /// Bytes with which some form begins.
    first: [bool; 256],
    /// Bytes of the longest form.
    longest: usize,
}

/// How much room a placeholder may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// What it needs, as in text and JSON.
    Free,
    /// What was there, as in a format that counts its bytes.
    Same,
}

/// Where a form stands.
pub(super) struct Found<'p> {
    pub(super) at: Range<usize>,
    form: &'p Form,
}

impl Patterns {
    pub(super) fn new(written: Vec<Arc<Written>>, forms: impl Iterator<Item = Form>) -> Self {
        let forms: Vec<Form> = forms.collect();
        let mut first = [false; 256];
        for byte in forms.iter().filter_map(|form| form.pattern.first()) {
            if let Some(first) = first.get_mut(usize::from(*byte)) {
                *first = true;
            }
        }
        // A DFA of a token takes 300 KiB, this 10.
        let automaton = AhoCorasickBuilder::new()
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(forms.iter().map(|form| form.pattern.as_slice()));
        Self {
            written,
            // Fails beyond 2^31 bytes of patterns.
            automaton: automaton.ok(),
            first,
            longest: forms
                .iter()
                .map(|form| form.pattern.len())
                .max()
                .unwrap_or(0),
            forms,
        }
    }

    /// Some secret stands in `text`.
    #[cfg(test)]
    pub(crate) fn concern(&self, text: &[u8]) -> bool {
        self.automaton
            .as_ref()
            .is_some_and(|automaton| automaton.is_match(text))
    }

    /// A whole `text` without its secrets, and how many they were; `None` if there are none.
    pub(crate) fn redact(&self, text: &[u8], fill: Fill) -> Option<(Vec<u8>, u64)> {
        let mut next = Some(self.find(text)?);
        let mut rest = text;
        let mut out = Vec::with_capacity(text.len());
        let mut count = 0;
        while let Some(found) = next {
            out.extend_from_slice(rest.get(..found.at.start).unwrap_or_default());
            out.extend_from_slice(found.replacement(fill));
            rest = rest.get(found.at.end..).unwrap_or_default();
            count += 1;
            next = self.find(rest);
        }
        out.extend_from_slice(rest);
        Some((out, count))
    }

    /// Overwrites the secrets in a whole `text`, one that is cut off at its end too. Returns how many they were.
    pub(crate) fn overwrite(&self, text: &mut [u8]) -> u64 {
        let mut count = 0;
        if let Some((redacted, found)) = self.redact(text, Fill::Same) {
            text.copy_from_slice(&redacted);
            count = found;
        }
        let open = self.open(text);
        let end = text.get_mut(open..).unwrap_or_default();
        if end.len() >= SHORTEST {
            end.fill(FILLER);
            count += 1;
        }
        count
    }

    /// The first form in `text`, the longest of those that begin there.
    pub(super) fn find(&self, text: &[u8]) -> Option<Found<'_>> {
        let found = self.automaton.as_ref()?.find(text)?;
        Some(Found {
            at: found.range(),
            form: self.forms.get(found.pattern().as_usize())?,
        })
    }

    /// Where the longest end of `text` begins that may be the beginning of a form.
    pub(super) fn open(&self, text: &[u8]) -> usize {
        let from = text.len().saturating_sub(self.longest.saturating_sub(1));
        let tail = text.get(from..).unwrap_or_default();
        let begins = |at: usize| {
            let end = tail.get(at..).unwrap_or_default();
            self.forms
                .iter()
                .any(|form| form.pattern.len() > end.len() && form.pattern.starts_with(end))
        };
        let open = tail
            .iter()
            .enumerate()
            .filter(|(_, byte)| {
                self.first
                    .get(usize::from(**byte))
                    .is_some_and(|first| *first)
            })
            .map(|(at, _)| at)
            .find(|at| begins(*at));
        from + open.unwrap_or(tail.len())
    }
}

impl Found<'_> {
    pub(super) fn replacement(&self, fill: Fill) -> &[u8] {
        match (&self.form.placeholder, fill) {
            (Some(placeholder), Fill::Free) => placeholder,
            _ => &self.form.overlay,
        }
    }
}

//! Replaces secrets in a stream of bytes.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::patterns::{Fill, Patterns};
use crate::rewrite::make_room;

/// Redacts one text that comes in pieces. Holds back no more than what may be the beginning of a secret.
pub(crate) struct Redactor {
    patterns: Arc<Patterns>,
    fill: Fill,
    held: Zeroizing<Vec<u8>>,
    count: u64,
}

impl Redactor {
    pub(crate) fn new(patterns: &Arc<Patterns>, fill: Fill) -> Self {
        Self {
            patterns: Arc::clone(patterns),
            fill,
            held: Zeroizing::default(),
            count: 0,
        }
    }

    /// Searches for `patterns` from here on.
    pub(crate) fn arm(&mut self, patterns: &Arc<Patterns>) {
        if !Arc::ptr_eq(&self.patterns, patterns) {
            self.patterns = Arc::clone(patterns);
        }
    }

    /// Takes more of the text and appends to `out` what is decided.
    pub(crate) fn push(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if self.held.is_empty() {
            let taken = self.advance(text, out);
            make_room(&mut self.held, text.len() - taken);
            self.held
                .extend_from_slice(text.get(taken..).unwrap_or_default());
            return;
        }
        make_room(&mut self.held, text.len());
        self.held.extend_from_slice(text);
        let held = std::mem::take(&mut self.held);
        let taken = self.advance(&held, out);
        self.held = held;
        self.held.drain(..taken);
    }

    /// The text is complete: appends the rest to `out`.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let rest = std::mem::take(&mut self.held);
        match self.patterns.redact(&rest, self.fill) {
            Some((redacted, count)) => {
                self.count += count;
                out.extend_from_slice(&redacted);
            }
            None => out.extend_from_slice(&rest),
        }
    }

    /// How many secrets were replaced since this was last asked.
    pub(crate) fn count(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }

    /// Appends to `out` what is decided of `text`; returns how much of it that is.
    fn advance(&mut self, text: &[u8], out: &mut Vec<u8>) -> usize {
        let mut taken = 0;
        loop {
            let rest = text.get(taken..).unwrap_or_default();
            let open = self.patterns.open(rest);
            // One that begins behind may be a part of what is open, one that begins there of a longer one.
            let found = self
                .patterns
                .find(rest)
                .filter(|found| found.at.start < open);
            let Some(found) = found else {
                out.extend_from_slice(rest.get(..open).unwrap_or_default());
                return taken + open;
            };
            out.extend_from_slice(rest.get(..found.at.start).unwrap_or_default());
            out.extend_from_slice(found.replacement(self.fill));
            self.count += 1;
            taken += found.at.end;
        }
    }
}

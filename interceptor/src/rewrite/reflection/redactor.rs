//! Replaces secrets in a stream of bytes.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{
    SHORTEST,
    forms::FILLER,
    patterns::{Fill, Patterns},
};
use crate::rewrite::make_room;

/// Redacts one text that comes in pieces. Holds back no more than what may be the beginning of a secret.
pub(crate) struct Redactor {
    patterns: Arc<Patterns>,
    fill: Fill,
    held: Zeroizing<Vec<u8>>,
    /// Bytes at the front of `held` that have gone out all the same.
    given: usize,
    count: u64,
    /// Bytes that were given before the first ones that are not the text's own.
    intact: u64,
    replaced: bool,
}

/// What may be the beginning of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Nothing,
    /// Of no use to anybody.
    Short,
    /// [`Redactor::cut`] overwrites it.
    Long,
}

impl Redactor {
    pub(crate) fn new(patterns: &Arc<Patterns>, fill: Fill) -> Self {
        Self {
            patterns: Arc::clone(patterns),
            fill,
            held: Zeroizing::default(),
            given: 0,
            count: 0,
            intact: 0,
            replaced: false,
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

    /// From here on there is room as `fill` says.
    pub(crate) fn refill(&mut self, fill: Fill) {
        self.fill = fill;
    }

    /// What waits for more of the text.
    pub(crate) fn waiting(&self) -> Waiting {
        match self.held.len() {
            held if held <= self.given => Waiting::Nothing,
            ..SHORTEST => Waiting::Short,
            _ => Waiting::Long,
        }
    }

    /// What is held can wait no longer, though the text goes on: appends it to `out`, overwritten where it is long enough
    /// to be of use to somebody. From here on there is room as `fill` says.
    pub(crate) fn cut(&mut self, fill: Fill, out: &mut Vec<u8>) {
        let waiting = self.held.get(self.given..).unwrap_or_default();
        // With what has gone of it before.
        if self.held.len() < SHORTEST {
            if !self.replaced {
                self.intact += waiting.len() as u64;
            }
            out.extend_from_slice(waiting);
        } else {
            self.replaced = true;
            out.resize(out.len() + waiting.len(), FILLER);
        }
        self.given = self.held.len();
        self.fill = fill;
    }

    /// The text is complete: appends the rest to `out`.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let rest = std::mem::take(&mut self.held);
        match self.patterns.redact(&rest, self.room()) {
            Some((redacted, count)) => {
                self.count += count;
                self.replaced = true;
                self.give(&redacted, out);
            }
            None => self.give(&rest, out),
        }
    }

    /// How much of what was given is the text as it came.
    pub(crate) fn intact(&self) -> u64 {
        self.intact
    }

    /// How many secrets were replaced since this was last asked.
    pub(crate) fn count(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }

    /// Appends to `out` what is decided of `text`; returns how much of it that is.
    fn advance(&mut self, text: &[u8], out: &mut Vec<u8>) -> usize {
        let patterns = Arc::clone(&self.patterns);
        let mut taken = 0;
        let mut open = patterns.open(text);
        loop {
            let rest = text.get(taken..).unwrap_or_default();
            if open < taken {
                open = taken + patterns.open(rest);
            }
            // One that begins behind may be a part of what is open, one that begins there of a longer one.
            let found = patterns
                .find(rest)
                .filter(|found| taken + found.at.start < open);
            let Some(found) = found else {
                self.give(text.get(taken..open).unwrap_or_default(), out);
                return open;
            };
            self.give(rest.get(..found.at.start).unwrap_or_default(), out);
            self.replaced = true;
            self.give(found.replacement(self.room()), out);
            self.count += 1;
            taken += found.at.end;
        }
    }

    /// What has gone out is not given again.
    fn give(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let given = self.given.min(text.len());
        self.given -= given;
        let fresh = text.get(given..).unwrap_or_default();
        if !self.replaced {
            self.intact += fresh.len() as u64;
        }
        out.extend_from_slice(fresh);
    }

    /// A secret whose beginning has gone out keeps its length.
    fn room(&self) -> Fill {
        if self.given > 0 {
            Fill::Same
        } else {
            self.fill
        }
    }
}

//! A body without content codings.

use std::{sync::Arc, time::Duration};

use super::{Change, HOLD, Length, PATIENCE, REST};
use crate::rewrite::reflection::{Fill, Patterns, Redactor, Waiting};

/// Looks through one body.
pub(super) struct Plain {
    patterns: Arc<Patterns>,
    /// Of the whole body, and of one that has begun to go.
    fill: Fill,
    streamed: Fill,
    redactor: Redactor,
    /// All of a body whose length has been told, as long as the head waits for it.
    held: Option<Vec<u8>>,
    change: Change,
    count: u64,
    rested: bool,
}

impl Plain {
    /// `length`: as the head tells it.
    pub(super) fn new(patterns: &Arc<Patterns>, fill: Fill, length: Option<u64>) -> Self {
        let holds = fill == Fill::Free && length.is_some_and(|length| length <= HOLD as u64);
        let streamed = if length.is_some() { Fill::Same } else { fill };
        Self {
            redactor: Redactor::new(patterns, streamed),
            patterns: Arc::clone(patterns),
            fill,
            streamed,
            held: holds.then(Vec::new),
            change: Change::default(),
            count: 0,
            rested: false,
        }
    }

    pub(super) fn arm(&mut self, patterns: &Arc<Patterns>) {
        self.patterns = Arc::clone(patterns);
        self.redactor.arm(patterns);
    }

    pub(super) fn holds(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn change(&self) -> Change {
        self.change
    }

    pub(super) fn count(&mut self) -> u64 {
        std::mem::take(&mut self.count) + self.redactor.count()
    }

    pub(super) fn patience(&self) -> Option<Duration> {
        if self.held.is_some() {
            return Some(REST);
        }
        match self.redactor.waiting() {
            Waiting::Nothing => None,
            _ if self.rested => None,
            Waiting::Short => Some(REST),
            Waiting::Long => Some(PATIENCE),
        }
    }

    pub(super) fn push(&mut self, data: &[u8], out: &mut Vec<u8>) {
        self.rested = false;
        match &mut self.held {
            Some(held) => held.extend_from_slice(data),
            None => self.redactor.push(data, out),
        }
    }

    pub(super) fn rest(&mut self, out: &mut Vec<u8>) {
        match self.held.take() {
            Some(held) => self.redactor.push(&held, out),
            None => {
                self.redactor.cut(self.streamed, out);
                self.rested = true;
            }
        }
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        let Some(mut whole) = self.held.take() else {
            return self.redactor.finish(out);
        };
        if let Some((redacted, found)) = self.patterns.redact(&whole, self.fill) {
            whole = redacted;
            self.count += found;
            self.change.length = Length::Exact(whole.len() as u64);
        }
        out.append(&mut whole);
    }
}

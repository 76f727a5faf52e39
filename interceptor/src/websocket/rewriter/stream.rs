//! A message that is streamed: what has come of it, and what has not gone.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{FRAGMENT_MIN, HOLD};
use crate::{
    rewrite::document::{Document, Rules},
    stats::connection::Connection,
    websocket::{filter::Stop, inflate::Inflater},
};

/// A message that goes on while it comes.
pub(super) struct Stream {
    pub(super) document: Document,
    /// `None`: its text comes as it is.
    pub(super) deflated: Option<Deflated>,
    /// Rewritten text that is no frame yet.
    pub(super) staged: Zeroizing<Vec<u8>>,
    /// Its first fragment has gone.
    pub(super) started: bool,
}

/// The compressed side of a streamed message.
pub(in crate::websocket) struct Deflated {
    inflater: Inflater,
    /// Payload that has come.
    backlog: Vec<u8>,
    /// Bytes of it that the inflater took.
    taken: usize,
    /// The backlog holds the message's end.
    ends: bool,
}

impl Stream {
    pub(super) fn begin(rules: &Arc<Rules>, ahead: &[u8], stats: &Arc<Connection>) -> Box<Self> {
        Box::new(Self {
            document: Document::begin(rules, ahead, false, stats),
            deflated: None,
            staged: Zeroizing::new(Vec::with_capacity(HOLD + FRAGMENT_MIN)),
            started: false,
        })
    }

    /// Bytes of memory in use for buffers, without the inflater's own.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        let deflated = self.deflated.as_ref();
        self.staged.capacity() + deflated.map_or(0, |deflated| deflated.backlog.capacity())
    }

    /// There is text to be had without more input.
    pub(super) fn is_behind(&self) -> bool {
        self.deflated.as_ref().is_some_and(Deflated::is_behind)
    }
}

impl Deflated {
    pub(super) fn new(backlog: Vec<u8>, ends: bool) -> Self {
        Self::inflated_by(Inflater::new(), backlog, ends)
    }

    pub(in crate::websocket) fn inflated_by(
        inflater: Inflater,
        backlog: Vec<u8>,
        ends: bool,
    ) -> Self {
        Self {
            inflater,
            backlog,
            taken: 0,
            ends,
        }
    }

    pub(in crate::websocket) fn is_behind(&self) -> bool {
        self.taken < self.backlog.len() || self.inflater.is_full() || self.ends
    }

    /// Swaps the backlog, all of it taken, for `payload`.
    pub(in crate::websocket) fn refill(&mut self, payload: &mut Vec<u8>, ends: bool) {
        std::mem::swap(&mut self.backlog, payload);
        self.taken = 0;
        self.ends = ends;
    }

    /// Appends the next piece of text to `out`. Returns whether that was the message's last.
    pub(in crate::websocket) fn step(&mut self, out: &mut Vec<u8>) -> Result<bool, Stop> {
        let rest = self.backlog.get(self.taken..).unwrap_or_default();
        if rest.is_empty() && self.ends {
            return Ok(self.inflater.finish(out)?);
        }
        self.taken += self.inflater.push(rest, out)?;
        Ok(false)
    }
}

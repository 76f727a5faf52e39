//! A message that is streamed: what has come of it, and what has not gone.

use zeroize::{Zeroize as _, Zeroizing};

use super::{FRAGMENT_MIN, HOLD, outbox::Outbox};
use crate::{
    rewrite::document::Document,
    websocket::{
        filter::Stop,
        frame::Opcode,
        inflate::{History, Inflater},
    },
};

/// A message that goes on while it comes.
pub(super) struct Stream {
    body: Body,
    /// Of the next fragment.
    opcode: Opcode,
    /// `None`: its text comes as it is.
    pub(super) deflated: Option<Deflated>,
    /// Rewritten text that is no frame yet.
    staged: Zeroizing<Vec<u8>>,
}

/// What is looked for in a message.
#[expect(
    clippy::large_enum_variant,
    reason = "boxed with its stream, and a document nearly always"
)]
pub(super) enum Body {
    Json(Document),
    /// Nothing: all that is done to it is to inflate it.
    Opaque,
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
    pub(super) fn begin(opcode: Opcode, body: Body, deflated: Option<Deflated>) -> Box<Self> {
        Box::new(Self {
            body,
            opcode,
            deflated,
            staged: Zeroizing::new(Vec::with_capacity(HOLD + FRAGMENT_MIN)),
        })
    }

    /// Takes more of the message's text.
    pub(super) fn push(&mut self, text: &[u8]) -> Result<(), Stop> {
        match &mut self.body {
            Body::Json(document) => document.push(text, &mut self.staged)?,
            Body::Opaque => self.staged.extend_from_slice(text),
        }
        Ok(())
    }

    /// The message is complete.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        if let Body::Json(document) = &mut self.body {
            document.finish(&mut self.staged)?;
        }
        Ok(())
    }

    /// Makes a fragment of what is staged, the message's `last` one even if that is nothing.
    pub(super) fn emit(&mut self, last: bool, out: &mut Outbox) -> Result<(), Stop> {
        if !last && self.staged.is_empty() {
            return Ok(());
        }
        let secret = match &self.body {
            Body::Json(document) => document.has_released(),
            Body::Opaque => false,
        };
        out.put(last, self.opcode, &self.staged, secret)?;
        self.opcode = Opcode::Continuation;
        if secret {
            let capacity = self.staged.capacity();
            self.staged.zeroize();
            self.staged.reserve(capacity);
        }
        self.staged.clear();
        Ok(())
    }

    /// There is enough for a fragment.
    pub(super) fn is_ripe(&self) -> bool {
        self.staged.len() >= FRAGMENT_MIN
    }

    /// There is nothing for a fragment.
    pub(super) fn is_bare(&self) -> bool {
        self.staged.is_empty()
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
    /// `history`: what the message may refer to; `None` if it stands alone.
    pub(super) fn new(backlog: Vec<u8>, ends: bool, history: Option<&History>) -> Self {
        Self::inflated_by(Inflater::new(history), backlog, ends)
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

    /// The message ended with a last block of its own.
    pub(super) fn brought_last(&self) -> bool {
        self.inflater.brought_last()
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

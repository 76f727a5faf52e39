//! Messages that are all here: searched, and passed on or replaced.

use bytes::Buf as _;
use zeroize::Zeroizing;

use super::{
    HOLD, Rewriter,
    held::{self, Kind},
};
use crate::{
    rewrite::{
        binary::{self, Outcome},
        document,
    },
    websocket::{
        filter::Stop,
        frame::Header,
        inflate::{self, History, Survey},
    },
};

/// What a look at a whole message found.
struct Look {
    /// There may be a placeholder.
    concerns: bool,
    /// All of its text is at hand.
    whole: bool,
    /// What the next message may refer to, if this one does not stand alone.
    behind: Option<History>,
}

/// What becomes of a whole message.
enum Settled {
    AsItCame,
    /// This goes in its place, uncompressed.
    Put(Zeroizing<Vec<u8>>),
    /// It is streamed from here on.
    Streamed,
}

impl Rewriter {
    /// A message in one frame, all here.
    pub(super) fn search_frame(&mut self, header: &Header) -> Result<bool, Stop> {
        let kind = self.kind();
        let total = header.total();
        self.scratch.clear();
        let unread = self.input.get(self.ready..).unwrap_or_default();
        held::unmask_next(unread, &mut self.scratch);
        let look = self.look(kind)?;
        if self.ready > 0 && !self.goes_as_it_came(kind, &look) {
            // What comes before it goes first.
            return Ok(false);
        }
        match self.settle(kind, look)? {
            Settled::AsItCame => {
                self.ready += total;
                self.end_message();
            }
            Settled::Put(text) => {
                self.input.advance(total);
                self.put_message(kind, &text)?;
            }
            Settled::Streamed => self.input.advance(total),
        }
        Ok(true)
    }

    /// A message in fragments, all of them held.
    pub(super) fn search_held(&mut self) -> Result<(), Stop> {
        let kind = self.kind();
        self.scratch.clear();
        self.held.unmask(&mut self.scratch);
        let look = self.look(kind)?;
        let settled = self.settle(kind, look)?;
        let frames = self.held.take();
        match settled {
            Settled::AsItCame => {
                self.out.bytes = frames;
                self.end_message();
            }
            Settled::Put(text) => self.put_message(kind, &text)?,
            Settled::Streamed => {}
        }
        Ok(())
    }

    /// Searches the whole message in `scratch`; its text is left in `inflated` if it is compressed.
    fn look(&mut self, kind: Kind) -> Result<Look, Stop> {
        let Survey {
            concerns,
            whole,
            behind,
        } = if kind.compressed {
            let history = self.window.history();
            inflate::survey(&self.scratch, true, HOLD, history, &mut self.inflated)?
        } else {
            Survey {
                concerns: document::concerns(&self.scratch),
                whole: true,
                behind: None,
            }
        };
        Ok(Look {
            concerns: concerns && self.rules.is_some(),
            whole,
            behind,
        })
    }

    /// Nothing can make the message that was looked at another one.
    fn goes_as_it_came(&self, kind: Kind, look: &Look) -> bool {
        !(look.concerns || kind.compressed && self.window.is_out_of_step())
    }

    /// Decides on the whole message that was looked at.
    fn settle(&mut self, kind: Kind, look: Look) -> Result<Settled, Stop> {
        if self.goes_as_it_came(kind, &look) {
            self.window.replace(look.behind);
            return Ok(Settled::AsItCame);
        }
        if !look.whole {
            let json = kind.is_json(&self.inflated);
            if let Some(rules) = &self.rules
                && look.concerns
                && !json
            {
                rules.pass_opaque(&self.stats)?;
            }
            if json || self.window.is_out_of_step() {
                self.stream_whole(kind);
                return Ok(Settled::Streamed);
            }
            self.window.replace(look.behind);
            return Ok(Settled::AsItCame);
        }
        self.window.replace(look.behind);
        let rewritten = if look.concerns {
            self.rewrite(kind)?
        } else {
            None
        };
        Ok(match rewritten {
            Some(text) => {
                if kind.compressed {
                    self.window.miss();
                }
                Settled::Put(text)
            }
            None if kind.compressed && self.window.is_out_of_step() => {
                Settled::Put(Zeroizing::new(std::mem::take(&mut self.inflated)))
            }
            None => Settled::AsItCame,
        })
    }

    /// The message that was looked at, with its secrets; `None` if it goes on as it is.
    fn rewrite(&self, kind: Kind) -> Result<Option<Zeroizing<Vec<u8>>>, Stop> {
        let Some(rules) = &self.rules else {
            return Ok(None);
        };
        let plain = if kind.compressed {
            &self.inflated
        } else {
            &self.scratch
        };
        if kind.is_json(plain) {
            return Ok(document::rewrite(rules, plain, &self.stats)?);
        }
        Ok(match binary::rewrite(rules, plain, &self.stats)? {
            Outcome::Rewritten(message) => Some(message),
            Outcome::Unchanged | Outcome::Opaque => None,
        })
    }

    fn put_message(&mut self, kind: Kind, text: &[u8]) -> Result<(), Stop> {
        self.out.put(true, kind.opcode(), text, true)?;
        self.end_message();
        Ok(())
    }
}

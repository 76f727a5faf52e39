//! Inflating a client's compressed messages (RFC 7692 §7.2.2), to look into them. Nothing is ever deflated.
//!
//! Each message stands alone, since the client was told `client_no_context_takeover`; where a client does not take that,
//! the text that its next message may refer to is kept, and put into the window of each new inflater. So there is an
//! inflater only while a message is under way. Its window is always the largest, which reads what any smaller one wrote:
//! senders that were told 8 bits are known to use 9.
//!
//! What a message says has to be beyond doubt before it may take a secret: it must end at the end of a block, and behind
//! a block that calls itself the last one (BFINAL) there may be no more than the one zero byte of §7.2.3.4. Receivers
//! differ in what they make of anything else, so it is refused.

use zlib_rs::{Inflate, InflateError, InflateFlush, Status};

pub(super) use self::history::History;
use super::close;
use crate::rewrite::document;

mod history;

/// What is inflated at a time, in bytes.
const CHUNK: usize = 16 * 1024;

/// Longer than anything that [`document::concerns`] looks for.
const OVERLAP: usize = 64;

/// Ends a message's last block; its sender took it off.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty last block: can be read only where a block may begin.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// What a message may inflate to.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// In bytes, whatever its ratio.
    free: u64,
    /// Inflated bytes for each byte, beyond `free`. Deflate itself reaches 1032.
    ratio: u64,
    /// In bytes, whatever its ratio.
    total: u64,
}

/// Text of chat messages, JSON and logs has ratios of 3 to 30. Constant memory does not depend on these: they bound the
/// work that a small message makes here, and the bytes that it turns into on the way to the server.
const LIMITS: Limits = Limits {
    free: 1024 * 1024,
    ratio: 128,
    total: 4 * 1024 * 1024 * 1024,
};

/// Why a compressed message may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(
        "it does not inflate by itself: it is damaged, or compressed with what came before it in spite of \
         client_no_context_takeover"
    )]
    Corrupt,
    #[error("it ends inside a block")]
    CutOff,
    #[error("it goes on behind its last block")]
    Trailing,
    #[error(
        "it inflates to more than {} times its size and {} bytes, or to more than {} bytes",
        LIMITS.ratio, LIMITS.free, LIMITS.total
    )]
    Bomb,
}

/// Inflates one message.
pub(super) struct Inflater {
    inflate: Inflate,
    limits: Limits,
    /// Bytes of [`TAIL`] that have gone in.
    tail: usize,
    /// The last block is over.
    ended: bool,
    /// The message brought that block itself.
    brought_last: bool,
    /// The zero byte behind the last block has come.
    padded: bool,
    /// There is more to come out before anything has to go in.
    full: bool,
}

/// What a look through a message found.
pub(super) struct Survey {
    /// There may be a placeholder somewhere.
    pub(super) concerns: bool,
    /// All of the text is there, not only its beginning.
    pub(super) whole: bool,
    /// What the next message may refer to, if this one is complete and may itself refer to what was before it.
    pub(super) behind: Option<History>,
}

impl Fault {
    /// For a client to read.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Corrupt | Self::CutOff | Self::Trailing => "compressed_message_malformed",
            Self::Bomb => "compressed_message_too_large",
        }
    }

    pub(super) fn close_code(self) -> u16 {
        match self {
            Self::Corrupt | Self::CutOff | Self::Trailing => close::INVALID_DATA,
            Self::Bomb => close::TOO_BIG,
        }
    }
}

impl Inflater {
    /// `history`: what the message may refer to; `None` if it stands alone.
    pub(super) fn new(history: Option<&History>) -> Self {
        Self::limited(LIMITS, history)
    }

    /// For what goes on as it came, whatever it inflates to.
    pub(super) fn unlimited() -> Self {
        Self::limited(
            Limits {
                free: u64::MAX,
                ratio: u64::MAX,
                total: u64::MAX,
            },
            None,
        )
    }

    fn limited(limits: Limits, history: Option<&History>) -> Self {
        let mut inflate = Inflate::new(false, 15);
        if let Some(history) = history
            && let Err(error) = inflate.set_dictionary(history.text())
        {
            // Raw deflate takes one anywhere between blocks (zlib's manual). If not, references to it are refused.
            tracing::error!(?error, "a window could not be set");
        }
        Self {
            inflate,
            limits,
            tail: 0,
            ended: false,
            brought_last: false,
            padded: false,
            full: false,
        }
    }

    /// More comes out, even if nothing more goes in.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The message ended with a last block of its own.
    pub(super) fn brought_last(&self) -> bool {
        self.brought_last
    }

    /// Takes some of `input` and appends to `out`, at most [`CHUNK`] bytes. Returns how much it took.
    ///
    /// # Errors
    /// The message may not go on.
    pub(super) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
        if self.ended {
            self.full = false;
            return match input {
                [] => Ok(0),
                [0] if !self.padded => {
                    self.padded = true;
                    Ok(1)
                }
                _ => Err(Fault::Trailing),
            };
        }
        let start = out.len();
        out.resize(start + CHUNK, 0);
        let room = out.get_mut(start..).unwrap_or_default();
        let (taken, made) = self.decompress(input, room)?;
        out.truncate(start + made);
        self.full = made == CHUNK;
        self.brought_last = self.ended;
        if taken < input.len() && !self.full && !self.ended {
            return Err(Fault::Corrupt);
        }
        let (taken_in_all, made_in_all) = (self.inflate.total_in(), self.inflate.total_out());
        let steep = made_in_all > taken_in_all.saturating_mul(self.limits.ratio);
        if made_in_all > self.limits.total || made_in_all > self.limits.free && steep {
            return Err(Fault::Bomb);
        }
        Ok(taken)
    }

    /// All of the message has gone in: appends to `out`, at most [`CHUNK`] bytes. Returns whether that was the rest.
    ///
    /// # Errors
    /// The message may not go on.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<bool, Fault> {
        // Nothing at all is an empty message to everybody.
        if self.ended || self.inflate.total_in() == 0 {
            return Ok(true);
        }
        let tail = TAIL.get(self.tail..).unwrap_or_default();
        self.tail += self.push(tail, out)?;
        if self.ended {
            // A last block may be one whose end was taken off, too.
            return if self.tail == TAIL.len() {
                Ok(true)
            } else {
                Err(Fault::CutOff)
            };
        }
        if self.full || self.tail < TAIL.len() {
            return Ok(false);
        }
        match self.decompress(&LAST_BLOCK, &mut [0]) {
            Ok((2, 0)) if self.ended => Ok(true),
            _ => Err(Fault::CutOff),
        }
    }

    /// Returns how many bytes were taken and made.
    fn decompress(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Fault> {
        let (taken, made) = (self.inflate.total_in(), self.inflate.total_out());
        match self.inflate.decompress(input, out, InflateFlush::NoFlush) {
            Ok(Status::StreamEnd) => self.ended = true,
            Ok(Status::Ok | Status::BufError) => {}
            Err(
                InflateError::NeedDict { .. }
                | InflateError::StreamError
                | InflateError::DataError
                | InflateError::MemError,
            ) => return Err(Fault::Corrupt),
        }
        let count = |now: u64, before| usize::try_from(now - before).unwrap_or(usize::MAX);
        Ok((
            count(self.inflate.total_in(), taken),
            count(self.inflate.total_out(), made),
        ))
    }
}

/// Looks through a message, all of it if it is `complete`, else as far as `least` bytes of text reach. At least these, if
/// there are so many, are left in `text`; never more than a chunk beyond them. `history`: what it may refer to; `None` if
/// it stands alone.
///
/// # Errors
/// The message may not go on.
pub(super) fn survey(
    message: &[u8],
    complete: bool,
    least: usize,
    history: Option<&History>,
    text: &mut Vec<u8>,
) -> Result<Survey, Fault> {
    let mut inflater = Inflater::new(history);
    let mut behind = history.filter(|_| complete).cloned();
    let mut rest = message;
    let mut concerns = false;
    // What comes behind `text`, a chunk at a time.
    let mut window = Vec::new();
    let mut long = false;
    text.clear();
    loop {
        let beyond = text.len() >= least;
        let into = if beyond {
            let last = if window.is_empty() { &*text } else { &window };
            let overlap = last.split_at(last.len().saturating_sub(OVERLAP)).1;
            window = overlap.to_vec();
            &mut window
        } else {
            &mut *text
        };
        let before = into.len();
        let done = if rest.is_empty() && !inflater.is_full() {
            !complete || inflater.finish(into)?
        } else {
            let taken = inflater.push(rest, into)?;
            rest = rest.get(taken..).unwrap_or_default();
            false
        };
        long |= beyond && into.len() > before;
        if let Some(behind) = &mut behind {
            behind.push(into.get(before..).unwrap_or_default());
        }
        let from = before.saturating_sub(OVERLAP);
        concerns = concerns || document::concerns(into.get(from..).unwrap_or_default());
        if done || !complete && text.len() >= least {
            if let Some(behind) = &mut behind
                && inflater.brought_last()
            {
                behind.clear();
            }
            return Ok(Survey {
                concerns,
                whole: complete && !long,
                behind,
            });
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod peers;
#[cfg(test)]
mod tests;

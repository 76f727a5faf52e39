//! A body with content codings: decoded to be looked through, passed as it came.
//!
//! | file | job |
//! |---|---|
//! | `codings` | what Content-Encoding says |
//! | `decoder` | one decoder for whatever that is |
//! | `deflated`, `inflate`, `huffman`, `bits` | gzip, zlib, deflate |
//! | `brotli`, `zstd` | the others |
//! | `seam` | where the original may end and something else follow |
//! | `splice` | what follows |

mod bits;
mod brotli;
mod codings;
mod decoder;
mod deflated;
mod huffman;
mod inflate;
mod seam;
mod splice;
mod zstd;

use std::{sync::Arc, time::Duration};

pub(super) use self::codings::Codings;
use self::{
    decoder::Decoder,
    seam::{Frame, Mark, Marks},
    splice::{Splice, Sum},
};
use super::{Change, HOLD, Length, PATIENCE, REST, Stop};
use crate::rewrite::reflection::{Fill, Patterns, Redactor, Waiting};

/// Bytes of output after which others have their turn.
const ROOM: usize = 64 * 1024;
/// Originals that wait for a seam…
const UNPASSED: usize = 128 * 1024;
/// … and the text in them.
const UNPASSED_TEXT: usize = 512 * 1024;
/// Text that a body may grow to before it has no exact length.
const WHOLE: usize = 256 * 1024;

/// Text beyond this, in bytes…
const FREE: u64 = 16 * 1024 * 1024;
/// … has to come from a body that is no shorter than this part of it. Deflate cannot do more than 1032.
const RATIO: u64 = 1100;

/// It is not what its coding says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Undecodable;

/// Looks through one body.
pub(super) struct Coded {
    codings: Codings,
    patterns: Arc<Patterns>,
    fill: Fill,
    /// The head tells how long the body is.
    sized: bool,
    stage: Stage,
    decoder: Decoder,
    /// Originals, as far as they were not passed.
    held: Vec<u8>,
    /// Bytes of the body before `held`.
    start: u64,
    /// Bytes of `held` that may pass.
    ready: usize,
    /// Bytes of `held` that were decoded.
    fed: usize,
    marks: Marks,
    /// The mark before which originals pass.
    base: Option<Mark>,
    /// Of the member or frame in which that is.
    frame: Frame,
    sum: Sum,
    redactor: Redactor,
    /// Text behind `base` that is decided.
    pending: Vec<u8>,
    /// Bytes of text before `pending`.
    text: u64,
    /// Bytes of text in all.
    made: u64,
    /// A step's text.
    chunk: Vec<u8>,
    count: u64,
    unread: bool,
    rested: bool,
    behind: bool,
    ended: bool,
    done: bool,
}

enum Stage {
    /// Nothing has gone, not even the head.
    Held {
        /// For as long as this, while nothing comes.
        patience: Duration,
    },
    Passing,
    /// Without its coding.
    Decoded {
        /// Not even the head has gone.
        held: bool,
        /// The length of it all, if that is known when the head goes.
        whole: Option<u64>,
    },
    Spliced(Splice),
    /// As it is.
    Unread,
}

impl Coded {
    /// `length`: as the head tells it. `live`: of events, which nothing may delay. `None` if it cannot be decoded.
    pub(super) fn new(
        codings: Codings,
        patterns: &Arc<Patterns>,
        fill: Fill,
        length: Option<u64>,
        live: bool,
    ) -> Option<Self> {
        let fits = length.is_none_or(|length| length <= HOLD as u64);
        // What can be spliced needs no holding, unless its length has been told.
        let holds = fits && !live && (length.is_some() || !codings.has_seams());
        Some(Self {
            decoder: Decoder::of(&codings)?,
            stage: if holds {
                Stage::Held { patience: PATIENCE }
            } else {
                Stage::Passing
            },
            codings,
            patterns: Arc::clone(patterns),
            fill,
            sized: length.is_some(),
            held: Vec::new(),
            start: 0,
            ready: 0,
            fed: 0,
            marks: Marks::default(),
            base: None,
            frame: Frame::default(),
            sum: Sum::None,
            redactor: Redactor::new(patterns, fill),
            pending: Vec::new(),
            text: 0,
            made: 0,
            chunk: Vec::new(),
            count: 0,
            unread: false,
            rested: false,
            behind: false,
            ended: false,
            done: false,
        })
    }

    pub(super) fn arm(&mut self, patterns: &Arc<Patterns>) {
        self.patterns = Arc::clone(patterns);
        self.redactor.arm(patterns);
    }

    pub(super) fn holds(&self) -> bool {
        match self.stage {
            Stage::Held { .. } => true,
            Stage::Decoded { held, .. } => held,
            Stage::Passing | Stage::Spliced(_) | Stage::Unread => false,
        }
    }

    pub(super) fn change(&self) -> Change {
        match self.stage {
            Stage::Decoded { whole, .. } => Change {
                decoded: true,
                length: whole.map_or(Length::Unknown, Length::Exact),
            },
            Stage::Held { .. } | Stage::Passing | Stage::Spliced(_) | Stage::Unread => {
                Change::default()
            }
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    pub(super) fn count(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }

    /// It went on as it was, though it could not be read; since this was last asked.
    pub(super) fn unread(&mut self) -> bool {
        std::mem::take(&mut self.unread)
    }

    pub(super) fn patience(&self) -> Option<Duration> {
        let waiting = self.redactor.waiting();
        match self.stage {
            _ if self.rested || self.behind || self.ended => None,
            Stage::Held { patience } => Some(patience),
            Stage::Decoded { held: true, .. } => Some(PATIENCE),
            Stage::Unread => None,
            Stage::Passing if self.held.is_empty() && waiting == Waiting::Nothing => None,
            Stage::Passing if self.decoder.is_last() => Some(PATIENCE),
            Stage::Decoded { .. } | Stage::Spliced(_) if waiting == Waiting::Nothing => None,
            _ if waiting == Waiting::Long => Some(PATIENCE),
            _ => Some(REST),
        }
    }

    /// Takes more of the body.
    pub(super) fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        self.held.extend_from_slice(data);
        self.rested = false;
        self.advance(out)
    }

    /// Goes on with what was pushed.
    pub(super) fn advance(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        let start = out.len();
        self.behind = false;
        while !self.done {
            if out.len() - start >= ROOM {
                self.behind = true;
                break;
            }
            if matches!(self.stage, Stage::Unread) {
                out.append(&mut self.held);
                self.done = self.ended;
                break;
            }
            self.chunk.clear();
            let input = self.held.get(self.fed..).unwrap_or_default();
            let step = self.decoder.step(input, &mut self.chunk, &mut self.marks);
            let taken = step.unwrap_or(0);
            self.fed += taken;
            self.made += self.chunk.len() as u64;
            if self.made > FREE && self.made / RATIO > self.start + self.fed as u64 {
                return Err(Stop::Bomb);
            }
            if step.is_ok() && taken == 0 && self.chunk.is_empty() {
                if self.ended {
                    self.conclude(out)?;
                    continue;
                }
                break;
            }
            self.redactor.refill(self.room());
            self.redactor.push(&self.chunk, &mut self.pending);
            // Text that came before the damage counts as well.
            self.decide(out)?;
            if step == Err(Undecodable) {
                self.give_up()?;
            }
        }
        if matches!(self.stage, Stage::Held { .. }) && self.held.len() > HOLD {
            self.release(out);
        }
        Ok(())
    }

    /// The sender pauses: what can go goes.
    pub(super) fn rest(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        let (waiting, room) = (self.redactor.waiting(), self.room());
        match &mut self.stage {
            Stage::Held { .. } => {
                self.release(out);
                return Ok(());
            }
            Stage::Decoded { held, .. } => {
                *held = false;
                self.redactor.cut(room, &mut self.pending);
                out.append(&mut self.pending);
            }
            Stage::Spliced(splice) => {
                self.redactor.cut(room, &mut self.pending);
                splice.push(&self.pending, out);
                self.pending.clear();
            }
            Stage::Passing => {
                let long = waiting == Waiting::Long;
                self.redactor.cut(room, &mut self.pending);
                self.settle();
                if long {
                    self.pass(out);
                    self.splice(out)?;
                } else {
                    self.pass_rest(out);
                }
            }
            Stage::Unread => {}
        }
        self.rested = true;
        Ok(())
    }

    /// The body is complete; there may be more to [`advance`](Self::advance) with.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        self.ended = true;
        self.advance(out)
    }

    /// What a placeholder may take.
    fn room(&self) -> Fill {
        match self.stage {
            Stage::Passing | Stage::Spliced(_) if self.decoder.is_sized() => Fill::Same,
            _ => self.fill,
        }
    }

    /// There is more text in `pending`.
    fn decide(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        let found = self.redactor.count();
        self.count += found;
        match &mut self.stage {
            Stage::Held { .. } if found > 0 => return self.start_over(),
            Stage::Passing if found > 0 => {
                self.settle();
                self.pass(out);
                return self.splice(out);
            }
            Stage::Held { .. } => self.settle(),
            Stage::Passing => {
                self.settle();
                self.pass(out);
                // Heads of files and frames to be skipped may be as long as their sender likes.
                if self.fed > 2 * UNPASSED {
                    if self.redactor.waiting() != Waiting::Nothing {
                        return Err(Stop::Bomb);
                    }
                    self.ready = self.fed;
                    self.base = None;
                    self.pass(out);
                }
            }
            Stage::Decoded { held, .. } => {
                *held = *held && self.pending.len() <= WHOLE;
                if !*held {
                    out.append(&mut self.pending);
                }
                self.drop_fed();
            }
            Stage::Spliced(splice) => {
                splice.push(&self.pending, out);
                self.pending.clear();
                self.drop_fed();
            }
            Stage::Unread => {}
        }
        Ok(())
    }

    /// All text was decided on, and all input taken.
    fn conclude(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        self.redactor.finish(&mut self.pending);
        let found = self.redactor.count();
        self.count += found;
        match self.stage {
            Stage::Held { .. } if found > 0 => return self.start_over(),
            Stage::Passing if found > 0 => {
                self.settle();
                self.pass(out);
                self.splice(out)?;
            }
            Stage::Held { .. } | Stage::Passing => {
                self.stage = Stage::Passing;
                self.ready = self.held.len();
                self.pass(out);
            }
            Stage::Decoded { .. } | Stage::Spliced(_) | Stage::Unread => {}
        }
        // What its reader could have seen was cut must not seem whole.
        let torn = !self.decoder.is_complete();
        match &mut self.stage {
            Stage::Decoded { .. } | Stage::Spliced(_) if torn => return Err(Stop::Torn),
            Stage::Spliced(splice) => {
                splice.push(&self.pending, out);
                splice.finish(out);
            }
            Stage::Decoded { held, whole } => {
                *whole = held.then_some(self.pending.len() as u64);
                *held = false;
                out.append(&mut self.pending);
            }
            Stage::Held { .. } | Stage::Passing | Stage::Unread => {}
        }
        self.done = true;
        Ok(())
    }

    /// A secret was found before anything has gone.
    fn start_over(&mut self) -> Result<(), Stop> {
        self.decoder = Decoder::of(&self.codings).ok_or(Stop::Reflected)?;
        self.redactor = Redactor::new(&self.patterns, self.fill);
        self.stage = Stage::Decoded {
            held: true,
            whole: None,
        };
        self.pending.clear();
        (self.fed, self.made, self.count) = (0, 0, 0);
        Ok(())
    }

    /// A secret was found after something has gone.
    fn splice(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        let base = self.base.filter(|_| !self.sized);
        let base = base.ok_or(Stop::Reflected)?;
        let byte = self.held.first().copied().unwrap_or(0);
        let sum = self.sum.clone();
        let splice = self.decoder.splice(base, byte, self.frame, sum, out);
        let mut splice = splice.ok_or(Stop::Reflected)?;
        splice.push(&self.pending, out);
        self.pending.clear();
        self.stage = Stage::Spliced(splice);
        self.drop_fed();
        Ok(())
    }

    /// It cannot be decoded any further.
    fn give_up(&mut self) -> Result<(), Stop> {
        match self.stage {
            Stage::Decoded { .. } | Stage::Spliced(_) => Err(Stop::Torn),
            Stage::Held { .. } | Stage::Passing | Stage::Unread => {
                self.stage = Stage::Unread;
                self.unread = true;
                Ok(())
            }
        }
    }

    /// Nothing is held any longer.
    fn release(&mut self, out: &mut Vec<u8>) {
        self.stage = Stage::Passing;
        self.pass(out);
    }

    /// Moves the base to the last mark before which all is decided.
    fn settle(&mut self) {
        let decided = self.redactor.intact();
        let unpassed = self.fed.saturating_sub(self.ready);
        let seams =
            self.decoder.has_seams() && unpassed <= UNPASSED && self.pending.len() <= UNPASSED_TEXT;
        let Some(last) = self.marks.last(decided, seams) else {
            return;
        };
        while let Some(mark) = self.marks.pop(last) {
            let text = (mark.text - self.text) as usize;
            self.sum.add(self.pending.get(..text).unwrap_or_default());
            self.pending.drain(..text.min(self.pending.len()));
            self.text = mark.text;
            if let Some(frame) = mark.begins {
                self.frame = frame;
                self.sum = self.decoder.sum(frame);
            }
        }
        let ready = (last.bit / 8).checked_sub(self.start);
        self.base = ready.map(|_| last);
        self.ready = self.ready.max(ready.unwrap_or(0) as usize);
    }

    /// Lets go what may go.
    fn pass(&mut self, out: &mut Vec<u8>) {
        let passed = self.held.drain(..self.ready.min(self.held.len()));
        let length = passed.len();
        out.extend(passed);
        self.start += length as u64;
        self.fed = self.fed.saturating_sub(length);
        self.ready = 0;
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.held.capacity() + self.pending.capacity() + self.chunk.capacity()
    }

    /// Lets go whatever may have text in it.
    fn pass_rest(&mut self, out: &mut Vec<u8>) {
        if self.decoder.is_fine() {
            self.ready = self.fed;
        }
        let at = (self.start + self.ready as u64) * 8;
        if self.base.is_some_and(|base| base.bit / 8 * 8 != at) {
            // No seam until the next mark.
            self.base = None;
        }
        self.pass(out);
    }

    fn drop_fed(&mut self) {
        self.held.drain(..self.fed);
        self.start += self.fed as u64;
        self.fed = 0;
        self.marks.clear();
    }
}

#[cfg(test)]
pub(super) mod testing;

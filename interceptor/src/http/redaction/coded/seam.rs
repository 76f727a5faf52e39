//! Places in a compressed stream at which the original may end and something else go on.

use std::collections::VecDeque;

/// A place up to which a stream was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Bits of the stream before it.
    pub(super) bit: u64,
    /// Bytes of text that these make.
    pub(super) text: u64,
    pub(super) seam: Seam,
    /// A member or frame, which sums up its own text, begins here.
    pub(super) begins: Option<Frame>,
}

/// What holds for all blocks of a frame or member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// It tells how much text it has.
    pub(super) sized: bool,
    /// It ends with a sum of its text.
    pub(super) summed: bool,
    /// Most bytes of text in a block.
    pub(super) block: usize,
}

/// How a stream can be gone on with at a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seam {
    /// Not at all: whoever reads it expects nothing but what was there.
    None,
    /// Nothing has to follow.
    Over,
    /// A block may begin.
    Between,
    /// This code ends the block, then another may begin.
    Within { code: u16, length: u32 },
}

/// Marks that were made and not yet passed, in their order.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<Mark>);

impl Marks {
    pub(super) fn note(&mut self, bit: u64, text: u64, seam: Seam) {
        // Of two at the same text the later one lets more go, unless it is no seam.
        if let Some(last) = self.0.back_mut()
            && last.text == text
            && (seam != Seam::None || last.seam == Seam::None)
        {
            *last = Mark { bit, seam, ..*last };
            return;
        }
        self.push(bit, text, seam, None);
    }

    /// A member or frame begins.
    pub(super) fn begin(&mut self, bit: u64, text: u64, frame: Frame) {
        self.push(bit, text, Seam::Between, Some(frame));
    }

    fn push(&mut self, bit: u64, text: u64, seam: Seam, begins: Option<Frame>) {
        self.0.push_back(Mark {
            bit,
            text,
            seam,
            begins,
        });
    }

    /// Takes the first one, if it does not come behind `last`.
    pub(super) fn pop(&mut self, last: Mark) -> Option<Mark> {
        self.0.pop_front_if(|mark| mark.bit <= last.bit)
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<Mark> {
        self.0.iter().copied().collect()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The last one at most `text` bytes into the text that is a seam, or any if not `seams`.
    pub(super) fn last(&self, text: u64, seams: bool) -> Option<Mark> {
        let mut fit = self.0.iter().rev().filter(|mark| mark.text <= text);
        fit.find(|mark| !seams || mark.seam != Seam::None).copied()
    }
}

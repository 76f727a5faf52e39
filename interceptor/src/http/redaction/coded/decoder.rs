//! One decoder for whatever codings a body has.

use super::{
    Undecodable,
    brotli::Brotli,
    codings::{Coding, Codings},
    deflated::{Deflated, Wrap},
    inflate::CHUNK,
    seam::{Frame, Mark, Marks, Seam},
    splice::{Splice, Sum},
    zstd::Zstd,
};

/// Decodes a body, piece by piece.
pub(super) enum Decoder {
    Deflated(Box<Deflated>),
    Brotli(Box<Brotli>),
    Zstd(Box<Zstd>),
    Stacked(Box<Stacked>),
}

/// One coding in another.
pub(super) struct Stacked {
    outer: Decoder,
    inner: Decoder,
    /// What the outer one made and the inner one has not taken.
    between: Vec<u8>,
    /// Bytes that the outer one took, and that the inner one made.
    taken: u64,
    made: u64,
    full: bool,
    /// The outer one is not what it says it is any further.
    damaged: bool,
}

impl Decoder {
    /// `None` if there is no memory.
    pub(super) fn of(codings: &Codings) -> Option<Self> {
        let mut decoders = codings.outermost_first().map(Self::one);
        let mut whole = decoders.next()??;
        for inner in decoders {
            whole = Self::Stacked(Box::new(Stacked {
                outer: whole,
                inner: inner?,
                between: Vec::new(),
                taken: 0,
                made: 0,
                full: false,
                damaged: false,
            }));
        }
        Some(whole)
    }

    fn one(coding: Coding) -> Option<Self> {
        Some(match coding {
            Coding::Gzip => Self::Deflated(Box::new(Deflated::new(Wrap::Gzip))),
            Coding::Deflate => Self::Deflated(Box::new(Deflated::new(Wrap::ZlibOrNothing))),
            Coding::Brotli => Self::Brotli(Box::new(Brotli::new())),
            Coding::Zstd => Self::Zstd(Box::new(Zstd::new()?)),
        })
    }

    /// More text is to be had, even if nothing more goes in.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Deflated(decoder) => decoder.is_full(),
            Self::Brotli(decoder) => decoder.is_full(),
            Self::Zstd(decoder) => decoder.is_full(),
            Self::Stacked(decoder) => decoder.full,
        }
    }

    /// Nothing is missing, as far as anybody can tell.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Deflated(decoder) => decoder.is_complete(),
            Self::Brotli(decoder) => decoder.is_complete(),
            Self::Zstd(decoder) => decoder.is_complete(),
            Self::Stacked(decoder) => decoder.outer.is_complete() && decoder.inner.is_complete(),
        }
    }

    /// Takes some of `input`, appends to `out` what that makes, about [`CHUNK`] at most. Returns how much it took; with
    /// nothing taken and nothing made, more is needed.
    ///
    /// # Errors
    /// It is not what it says it is any further; `out` has what was. Not to be called again.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        marks: &mut Marks,
    ) -> Result<usize, Undecodable> {
        match self {
            Self::Deflated(decoder) => decoder.step(input, out, marks),
            Self::Brotli(decoder) => decoder.step(input, out, marks),
            Self::Zstd(decoder) => decoder.step(input, out, marks),
            Self::Stacked(decoder) => decoder.step(input, out, marks),
        }
    }

    /// Something can go on behind marks.
    pub(super) fn has_seams(&self) -> bool {
        matches!(self, Self::Deflated(_) | Self::Zstd(_))
    }

    /// The text has a length that was told.
    pub(super) fn is_sized(&self) -> bool {
        matches!(self, Self::Zstd(decoder) if decoder.frame().sized)
    }

    /// The sender had everything when it wrote what comes next.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::Deflated(decoder) if decoder.is_last())
    }

    /// Text may be had from a part of what stands between two marks.
    pub(super) fn is_fine(&self) -> bool {
        !matches!(self, Self::Zstd(_))
    }

    /// What sums up the text of a member or frame that begins.
    pub(super) fn sum(&self, frame: Frame) -> Sum {
        match self {
            Self::Deflated(decoder) => Sum::of(decoder.wrap()),
            Self::Zstd(_) => Sum::of_frame(frame),
            Self::Brotli(_) | Self::Stacked(_) => Sum::None,
        }
    }

    /// Leaves the stream at `mark` of `frame`, whose last bits stand in `byte`. `None`: it cannot be gone on with there.
    pub(super) fn splice(
        &self,
        mark: Mark,
        byte: u8,
        frame: Frame,
        sum: Sum,
        out: &mut Vec<u8>,
    ) -> Option<Splice> {
        match self {
            Self::Deflated(_) => Splice::deflate(mark, byte, sum, out),
            Self::Zstd(_) => Splice::zstd(mark, frame, sum),
            Self::Brotli(_) | Self::Stacked(_) => None,
        }
    }
}

impl Stacked {
    fn step(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        marks: &mut Marks,
    ) -> Result<usize, Undecodable> {
        let start = out.len();
        let mut own = Marks::default();
        let mut taken = 0;
        self.full = false;
        while out.len() - start < CHUNK {
            let used = self.inner.step(&self.between, out, &mut own)?;
            self.between.drain(..used);
            if used > 0 || self.inner.is_full() {
                continue;
            }
            if self.damaged {
                return Err(Undecodable);
            }
            let before = self.between.len();
            let rest = input.get(taken..).unwrap_or_default();
            let step = self.outer.step(rest, &mut self.between, &mut own);
            // What it made before the damage is still to be decoded.
            self.damaged = step.is_err();
            if self.damaged {
                continue;
            }
            let used = step.unwrap_or(0);
            taken += used;
            if used == 0 && self.between.len() == before {
                self.taken += taken as u64;
                self.made += (out.len() - start) as u64;
                marks.note(self.taken * 8, self.made, Seam::None);
                return Ok(taken);
            }
        }
        self.full = true;
        self.taken += taken as u64;
        self.made += (out.len() - start) as u64;
        Ok(taken)
    }
}

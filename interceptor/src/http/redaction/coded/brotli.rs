//! Brotli (RFC 7932).

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::{
    Undecodable,
    inflate::CHUNK,
    seam::{Marks, Seam},
};

/// Decodes one stream. Its window is at most the 16 MiB of the RFC: the larger ones of a later draft are refused.
pub(super) struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    taken: u64,
    made: u64,
    full: bool,
    ended: bool,
}

impl Brotli {
    pub(super) fn new() -> Self {
        let alloc = StandardAlloc::default;
        Self {
            state: BrotliState::new_strict(alloc(), alloc(), alloc()),
            taken: 0,
            made: 0,
            full: false,
            ended: false,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn is_complete(&self) -> bool {
        self.ended
    }

    /// Takes some of `input`, appends to `out` what that makes.
    ///
    /// # Errors
    /// It is no brotli.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        marks: &mut Marks,
    ) -> Result<usize, Undecodable> {
        if self.ended {
            return match input {
                [] => Ok(0),
                _ => Err(Undecodable),
            };
        }
        let start = out.len();
        out.resize(start + CHUNK, 0);
        let (mut left, mut taken, mut room, mut made) = (input.len(), 0, CHUNK, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut taken,
            input,
            &mut room,
            &mut made,
            out.get_mut(start..).unwrap_or_default(),
            &mut 0,
            &mut self.state,
        );
        out.truncate(start + made);
        self.taken += taken as u64;
        self.made += made as u64;
        self.full = false;
        match result {
            BrotliResult::ResultFailure => return Err(Undecodable),
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreOutput => self.full = true,
            BrotliResult::NeedsMoreInput => {}
        }
        if !self.full {
            marks.note(self.taken * 8, self.made, Seam::None);
        }
        Ok(taken)
    }
}

//! Long messages that are never whole in memory.

use std::iter;

use anyhow::{Context as _, Result};
use zlib_rs::{Deflate, DeflateFlush};

/// What is written at once. A multiple of a mask's length.
pub const PIECE: usize = 64 * 1024;

/// The payload of one message: a head, filling that compresses to half its size, a tail.
#[derive(Debug)]
pub struct Bulk {
    head: Vec<u8>,
    filling: Vec<u8>,
    times: u64,
    tail: Vec<u8>,
}

impl Bulk {
    /// `length`: of the text, rounded up to whole pieces of filling. `deflate`: as permessage-deflate has it.
    ///
    /// # Errors
    /// The compressor fails.
    pub fn new(head: &str, tail: &str, length: u64, deflate: bool) -> Result<Self> {
        let filling = filling();
        let times = length.div_ceil(PIECE as u64).max(1);
        if !deflate {
            return Ok(Self {
                head: head.into(),
                filling,
                times,
                tail: tail.into(),
            });
        }
        // A full flush makes what follows independent of what was before: the same bytes can be repeated.
        let head = compress(head.as_bytes())?;
        let filling = compress(&filling)?;
        let mut tail = compress(tail.as_bytes())?;
        tail.truncate(tail.len() - 4);
        Ok(Self {
            head,
            filling,
            times,
            tail,
        })
    }

    pub fn length(&self) -> u64 {
        let filling = self.filling.len() as u64 * self.times;
        self.head.len() as u64 + filling + self.tail.len() as u64
    }

    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let times = usize::try_from(self.times).unwrap_or(usize::MAX);
        let filling = iter::repeat_n(self.filling.as_slice(), times);
        iter::once(self.head.as_slice())
            .chain(filling)
            .chain(iter::once(self.tail.as_slice()))
    }
}

/// Hexadecimal digits without a pattern.
fn filling() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"0123456789abcdef"[usize::from((state >> 40) as u8 & 15)]
    })
    .take(PIECE)
    .collect()
}

fn compress(text: &[u8]) -> Result<Vec<u8>> {
    let mut deflate = Deflate::new(6, false, 15);
    let mut out = vec![0; text.len() + 1024];
    deflate
        .compress(text, &mut out, DeflateFlush::FullFlush)
        .map_err(|error| anyhow::anyhow!("{error:?}"))
        .context("compressing")?;
    out.truncate(usize::try_from(deflate.total_out())?);
    Ok(out)
}

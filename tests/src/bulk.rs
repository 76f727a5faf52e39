//! Long messages that are never whole in memory.

use std::{collections::VecDeque, iter};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use zlib_rs::{Deflate, DeflateFlush, crc32::crc32};

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

    /// What a gateway that keeps nothing sends when it is asked for a long message.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn poured(length: u64, deflate: bool) -> Result<Self> {
        Self::new("{\"op\":0,\"x\":\"", "\"}", length, deflate)
    }

    /// The text of `plain` as a gzip file (RFC 1952 §2.3).
    ///
    /// # Errors
    /// The compressor fails.
    pub fn gzip(plain: &Self) -> Result<Self> {
        let crc = plain.pieces().fold(0, crc32);
        // Its length modulo 2^32.
        let length = plain.length() as u32;
        let mut head = GZIP.to_vec();
        head.extend(compress(&plain.head)?);
        let mut tail = compress(&plain.tail)?;
        // The last block, which is empty.
        tail.extend_from_slice(&[3, 0]);
        tail.extend_from_slice(&crc.to_le_bytes());
        tail.extend_from_slice(&length.to_le_bytes());
        Ok(Self {
            head,
            filling: compress(&plain.filling)?,
            times: plain.times,
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

    /// As [`Self::pieces`], owned.
    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        let [head, filling, tail] = [self.head, self.filling, self.tail].map(Bytes::from);
        let times = usize::try_from(self.times).unwrap_or(usize::MAX);
        iter::once(head)
            .chain(iter::repeat_n(filling, times))
            .chain(iter::once(tail))
    }
}

/// What is kept of something long: so many bytes of its beginning, and of its end.
pub const KEPT: usize = 4096;

/// Beginning, end and length of something long.
#[derive(Debug, Default)]
pub struct Ends {
    pub bytes: u64,
    pub head: Vec<u8>,
    tail: VecDeque<u8>,
}

impl Ends {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let room = KEPT - self.head.len();
        self.head.extend(bytes.iter().take(room));
        let kept = bytes.len().min(KEPT);
        self.tail.extend(bytes.iter().skip(bytes.len() - kept));
        let surplus = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..surplus);
    }

    /// Whether `text` stands in its beginning or its end.
    pub fn hold(&self, text: &str) -> bool {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        [&self.head, &tail]
            .iter()
            .any(|end| String::from_utf8_lossy(end).contains(text))
    }
}

/// A gzip file's header without name and time.
pub const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

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

/// A full flush makes what follows independent of what was before: the same bytes can be repeated.
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

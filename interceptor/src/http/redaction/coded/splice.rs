//! Goes on with a compressed stream that was left at a mark, in blocks that are not compressed.

use std::hash::Hasher as _;

use twox_hash::XxHash64;
use zlib_rs::{adler32::adler32, crc32::crc32};

use super::{
    deflated::Wrap,
    seam::{Frame, Mark, Seam},
};

/// Most bytes in a stored block (RFC 1951 §3.2.4).
const STORED: usize = 0xffff;

/// What a stream sums up of its text, so far.
#[derive(Clone)]
pub(super) enum Sum {
    None,
    Gzip { sum: u32, length: u32 },
    Zlib(u32),
    Zstd(Box<XxHash64>),
}

/// The rest of a stream.
pub(super) struct Splice {
    coding: Coding,
    sum: Sum,
    /// The lowest bits of the next byte, and how many there are.
    open: (u8, u32),
}

enum Coding {
    Deflate,
    Zstd(Frame),
}

impl Sum {
    pub(super) fn of(wrap: Wrap) -> Self {
        match wrap {
            Wrap::Gzip => Self::Gzip { sum: 0, length: 0 },
            Wrap::Zlib => Self::Zlib(1),
            Wrap::Nothing | Wrap::ZlibOrNothing => Self::None,
        }
    }

    pub(super) fn of_frame(frame: Frame) -> Self {
        if frame.summed {
            Self::Zstd(Box::new(XxHash64::with_seed(0)))
        } else {
            Self::None
        }
    }

    pub(super) fn add(&mut self, text: &[u8]) {
        match self {
            Self::None => {}
            Self::Gzip { sum, length } => {
                *sum = crc32(*sum, text);
                // Modulo 2^32 by RFC 1952 §2.3.1.
                *length = length.wrapping_add(text.len() as u32);
            }
            Self::Zlib(sum) => *sum = adler32(*sum, text),
            Self::Zstd(sum) => sum.write(text),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Gzip { sum, length } => {
                out.extend_from_slice(&sum.to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
            }
            Self::Zlib(sum) => out.extend_from_slice(&sum.to_be_bytes()),
            // The lower half (RFC 8878 §3.1.1).
            Self::Zstd(sum) => out.extend_from_slice(&(sum.finish() as u32).to_le_bytes()),
        }
    }
}

impl Splice {
    /// Behind `mark`, whose last bits stand in `byte`. `None`: nothing can follow there.
    pub(super) fn deflate(mark: Mark, byte: u8, sum: Sum, out: &mut Vec<u8>) -> Option<Self> {
        let inside = mark.bit % 8;
        let byte = u64::from(byte) & ((1 << inside) - 1);
        let (bits, mut count) = match mark.seam {
            Seam::None | Seam::Over => return None,
            Seam::Between => (byte, inside as u32),
            Seam::Within { code, length } => {
                (byte | u64::from(code) << inside, inside as u32 + length)
            }
        };
        let mut bits = bits;
        while count >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            count -= 8;
        }
        Some(Self {
            coding: Coding::Deflate,
            sum,
            open: (bits as u8, count),
        })
    }

    /// Behind `mark`, between two blocks of `frame`.
    pub(super) fn zstd(mark: Mark, frame: Frame, sum: Sum) -> Option<Self> {
        (mark.seam == Seam::Between).then_some(Self {
            coding: Coding::Zstd(frame),
            sum,
            open: (0, 0),
        })
    }

    /// Goes on with `text`.
    pub(super) fn push(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let most = match &self.coding {
            Coding::Deflate => STORED,
            Coding::Zstd(frame) => frame.block.max(1),
        };
        for piece in text.chunks(most) {
            self.sum.add(piece);
            self.block(piece, false, out);
        }
    }

    /// The text is complete.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.block(&[], true, out);
        self.sum.write(out);
    }

    fn block(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        match self.coding {
            Coding::Deflate => {
                let (bits, count) = std::mem::take(&mut self.open);
                let bits = u16::from(bits) | u16::from(last) << count;
                let [low, high] = bits.to_le_bytes();
                out.push(low);
                if count + 3 > 8 {
                    out.push(high);
                }
                // No more than `STORED`.
                let size = piece.len() as u16;
                out.extend_from_slice(&size.to_le_bytes());
                out.extend_from_slice(&(!size).to_le_bytes());
            }
            Coding::Zstd(_) => {
                // No more than 128 KiB; a raw block (RFC 8878 §3.1.1.2).
                let head = (piece.len() as u32) << 3 | u32::from(last);
                let [first, second, third, _] = head.to_le_bytes();
                out.extend_from_slice(&[first, second, third]);
            }
        }
        out.extend_from_slice(piece);
    }
}

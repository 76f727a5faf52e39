//! Zstandard (RFC 8878), walked block by block: at a block's end the stream can be gone on with in another way.

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::{
    Undecodable,
    inflate::CHUNK,
    seam::{Frame, Marks, Seam},
};

/// Largest window, as a power of 2: what a sender may count on over HTTP (RFC 9659).
const WINDOW_LOG: u32 = 23;
/// Most bytes of text in one block, if the window is no smaller.
const BLOCK: u64 = 128 * 1024;
const MAGIC: u32 = 0xfd2f_b528;
/// The last 4 bits are free.
const SKIPPABLE: u32 = 0x184d_2a50;

/// Decodes frames.
pub(super) struct Zstd {
    context: DCtx<'static>,
    stage: Stage,
    frame: Frame,
    /// Of the frame's header.
    head: Vec<u8>,
    taken: u64,
    made: u64,
    /// There is more to be had without more input.
    full: bool,
    /// What the place that was reached is, as soon as all of the text before it is out.
    reached: Option<Place>,
    complete: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Head,
    BlockHead { read: u32, head: u32 },
    Block { left: usize, last: bool },
    Sum { left: usize },
    Skip { left: usize },
}

#[derive(Clone, Copy)]
enum Place {
    FrameBegin,
    BlockEnd,
    FrameEnd,
}

const BLOCK_HEAD: Stage = Stage::BlockHead { read: 0, head: 0 };

impl Zstd {
    /// `None` if there is no memory.
    pub(super) fn new() -> Option<Self> {
        let mut context = DCtx::try_create()?;
        context
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG))
            .ok()?;
        Some(Self {
            context,
            stage: Stage::Head,
            frame: Frame::default(),
            head: Vec::new(),
            taken: 0,
            made: 0,
            full: false,
            reached: None,
            complete: false,
        })
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete && matches!(self.stage, Stage::Head) && self.head.is_empty()
    }

    /// The frame that is being decoded.
    pub(super) fn frame(&self) -> Frame {
        self.frame
    }

    /// Takes some of `input`, appends to `out` what that makes.
    ///
    /// # Errors
    /// It is no Zstandard, or needs more memory than there is for it.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        marks: &mut Marks,
    ) -> Result<usize, Undecodable> {
        let start = out.len();
        out.resize(start + CHUNK, 0);
        let mut made = 0;
        let mut taken = 0;
        let result = loop {
            let rest = input.get(taken..).unwrap_or_default();
            // What is still to come out would stand behind the mark that is due.
            let wanted = if self.full { 0 } else { self.wanted() };
            let piece = rest.get(..wanted.min(rest.len())).unwrap_or_default();
            if piece.is_empty() && !self.full {
                break Ok(taken);
            }
            let room = out.get_mut(start + made..).unwrap_or_default();
            let all = room.len();
            let mut into = OutBuffer::around(room);
            let mut from = InBuffer::around(piece);
            if self
                .context
                .decompress_stream(&mut into, &mut from)
                .is_err()
            {
                break Err(Undecodable);
            }
            let (fresh, used) = (into.pos(), from.pos());
            made += fresh;
            taken += used;
            self.made += fresh as u64;
            self.taken += used as u64;
            self.full = fresh == all;
            if let Err(error) = self.walk(piece.get(..used).unwrap_or_default()) {
                break Err(error);
            }
            if self.full {
                break Ok(taken);
            }
            self.mark(marks);
            if used < piece.len() && fresh == 0 {
                break Err(Undecodable);
            }
        };
        out.truncate(start + made);
        result
    }

    /// Bytes that may be decoded before something has to be known.
    fn wanted(&self) -> usize {
        match self.stage {
            Stage::Head => 1,
            Stage::BlockHead { read, .. } => 3 - read as usize,
            Stage::Block { left, .. } | Stage::Sum { left } | Stage::Skip { left } => left,
        }
    }

    /// These were decoded.
    fn walk(&mut self, bytes: &[u8]) -> Result<(), Undecodable> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.stage = match self.stage {
            Stage::Head => {
                self.head.extend_from_slice(bytes);
                return self.walk_head();
            }
            Stage::BlockHead { mut read, mut head } => {
                for byte in bytes {
                    head |= u32::from(*byte) << (8 * read);
                    read += 1;
                }
                if read < 3 {
                    Stage::BlockHead { read, head }
                } else {
                    let size = (head >> 3) as usize;
                    let left = match head >> 1 & 3 {
                        0 | 2 => size,
                        // One byte, so many times.
                        1 => 1,
                        _ => return Err(Undecodable),
                    };
                    let last = head & 1 == 1;
                    self.after(Stage::Block { left, last })
                }
            }
            Stage::Block { left, last } => {
                let left = left - bytes.len();
                self.after(Stage::Block { left, last })
            }
            Stage::Sum { left } => {
                let left = left - bytes.len();
                self.after(Stage::Sum { left })
            }
            Stage::Skip { left } => match left - bytes.len() {
                0 => Stage::Head,
                left => Stage::Skip { left },
            },
        };
        Ok(())
    }

    fn after(&mut self, stage: Stage) -> Stage {
        match stage {
            Stage::Block {
                left: 0,
                last: true,
            } if self.frame.summed => Stage::Sum { left: 4 },
            Stage::Block {
                left: 0,
                last: true,
            }
            | Stage::Sum { left: 0 } => {
                self.complete = true;
                self.reached = Some(Place::FrameEnd);
                Stage::Head
            }
            Stage::Block { left: 0, .. } => {
                self.reached = Some(Place::BlockEnd);
                BLOCK_HEAD
            }
            stage => stage,
        }
    }

    /// RFC 8878 §3.1.1.1 and §3.1.2.
    fn walk_head(&mut self) -> Result<(), Undecodable> {
        let Some((magic, rest)) = self.head.split_first_chunk() else {
            return Ok(());
        };
        let magic = u32::from_le_bytes(*magic);
        if magic & !0xf == SKIPPABLE {
            if let Some(size) = rest.first_chunk() {
                self.stage = match u32::from_le_bytes(*size) as usize {
                    0 => Stage::Head,
                    left => Stage::Skip { left },
                };
                self.head.clear();
            }
            return Ok(());
        }
        if magic != MAGIC {
            return Err(Undecodable);
        }
        let Some((&descriptor, rest)) = rest.split_first() else {
            return Ok(());
        };
        let single = descriptor & 0x20 != 0;
        let window = usize::from(!single);
        let dictionary = match descriptor & 3 {
            3 => 4,
            bytes => usize::from(bytes),
        };
        let size = match descriptor >> 6 {
            0 if single => 1,
            0 => 0,
            power => 1 << power,
        };
        if rest.len() < window + dictionary + size {
            return Ok(());
        }
        let span = if single {
            let size = rest.get(dictionary..).unwrap_or_default();
            let little = |sum, byte: &u8| sum << 8 | u64::from(*byte);
            let told = size.iter().rev().fold(0, little);
            if size.len() == 2 { told + 256 } else { told }
        } else {
            let code = rest.first().copied().unwrap_or(0);
            let base = 1_u64 << (10 + (code >> 3));
            base + base / 8 * u64::from(code & 7)
        };
        self.frame = Frame {
            sized: size > 0,
            summed: descriptor & 4 != 0,
            // At most what fits.
            block: span.min(BLOCK) as usize,
        };
        self.head.clear();
        self.complete = false;
        self.stage = BLOCK_HEAD;
        self.reached = Some(Place::FrameBegin);
        Ok(())
    }

    fn mark(&mut self, marks: &mut Marks) {
        let bit = self.taken * 8;
        match self.reached.take() {
            None => {}
            Some(Place::FrameBegin) => marks.begin(bit, self.made, self.frame),
            Some(Place::BlockEnd) => marks.note(bit, self.made, Seam::Between),
            Some(Place::FrameEnd) => marks.note(bit, self.made, Seam::Over),
        }
    }
}

//! What deflated text is wrapped in: gzip (RFC 1952), zlib (RFC 1950), or nothing.

use super::{
    Undecodable,
    bits::Bits,
    inflate::{CHUNK, Inflate},
    seam::{Frame, Marks, Seam},
};

/// Decodes one of the three.
#[derive(Debug)]
pub(super) struct Deflated {
    wrap: Wrap,
    stage: Stage,
    bits: Bits,
    inflate: Inflate,
    /// Some member is over.
    complete: bool,
    /// There is more to be had without more input.
    full: bool,
}

/// What stands around the deflated text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrap {
    Gzip,
    Zlib,
    Nothing,
    /// `deflate` is zlib by the book (RFC 9110 §8.4.1.2), and often is not.
    ZlibOrNothing,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// So many bytes of gzip's fixed head were read; its flags are among them.
    Head {
        read: u32,
        flags: u32,
    },
    ExtraSize {
        flags: u32,
    },
    Extra {
        left: u32,
        flags: u32,
    },
    /// Ends with a zero.
    Name {
        flags: u32,
    },
    Comment {
        flags: u32,
    },
    HeadSum,
    Text,
    /// Bytes that are left of the sums at the end.
    Sums {
        left: u32,
    },
    Ended,
}

/// Flags of gzip's head.
const HEAD_SUM: u32 = 2;
const EXTRA: u32 = 4;
const NAME: u32 = 8;
const COMMENT: u32 = 16;
/// Flag of zlib's head: it cannot be read without something else.
const DICTIONARY: u8 = 32;

impl Deflated {
    pub(super) fn new(wrap: Wrap) -> Self {
        Self {
            wrap,
            stage: Stage::Head { read: 0, flags: 0 },
            bits: Bits::default(),
            inflate: Inflate::behind(0),
            complete: false,
            full: false,
        }
    }

    /// As it turned out to be.
    pub(super) fn wrap(&self) -> Wrap {
        self.wrap
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Nothing is missing, as far as anybody can tell.
    pub(super) fn is_complete(&self) -> bool {
        self.complete && matches!(self.stage, Stage::Ended | Stage::Head { read: 0, .. })
    }

    /// The sender had everything when it wrote what comes next.
    pub(super) fn is_last(&self) -> bool {
        self.inflate.is_last()
    }

    /// Takes some of `input`, appends to `out` what that makes.
    ///
    /// # Errors
    /// It is not what it says it is any further; `out` has what was.
    pub(super) fn step(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        marks: &mut Marks,
    ) -> Result<usize, Undecodable> {
        let (before, start) = (input.len(), out.len());
        self.full = false;
        while self.go_on(&mut input, out, marks)? {
            if out.len() - start >= CHUNK {
                self.full = true;
                break;
            }
        }
        Ok(before - input.len())
    }

    /// Whether there is more to do with the input there is.
    fn go_on(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        marks: &mut Marks,
    ) -> Result<bool, Undecodable> {
        self.stage = match self.stage {
            Stage::Head { read: 0, .. } if self.wrap != Wrap::Gzip => {
                self.bits.fill(input);
                let (ahead, count) = self.bits.ahead();
                if count < 16 {
                    return Ok(false);
                }
                let head = (ahead & 0xffff) as u32;
                if self.wrap == Wrap::ZlibOrNothing {
                    self.wrap = wrapped(head);
                }
                if self.wrap == Wrap::Zlib {
                    if wrapped(head) != Wrap::Zlib {
                        return Err(Undecodable);
                    }
                    self.bits.skip(16);
                }
                self.begin(marks)
            }
            Stage::Head { read, flags } => {
                let Some(byte) = self.bits.take(8, input) else {
                    return Ok(false);
                };
                match (read, byte) {
                    (0, 0x1f) | (1, 0x8b) | (2, 8) | (4.., _) => {}
                    // The rest is reserved.
                    (3, 0..0x20) => {}
                    _ => return Err(Undecodable),
                }
                let flags = if read == 3 { byte } else { flags };
                match read {
                    9 => self.after_head(flags, flags, marks),
                    _ => Stage::Head {
                        read: read + 1,
                        flags,
                    },
                }
            }
            Stage::ExtraSize { flags } => match self.bits.take(16, input) {
                Some(left) => Stage::Extra { left, flags },
                None => return Ok(false),
            },
            Stage::Extra { left: 0, flags } => self.after_head(flags & !EXTRA, flags, marks),
            Stage::Extra { left, flags } => match self.bits.take(8, input) {
                Some(_) => Stage::Extra {
                    left: left - 1,
                    flags,
                },
                None => return Ok(false),
            },
            Stage::Name { flags } => match self.bits.take(8, input) {
                Some(0) => self.after_head(flags & !(EXTRA | NAME), flags, marks),
                Some(_) => self.stage,
                None => return Ok(false),
            },
            Stage::Comment { flags } => match self.bits.take(8, input) {
                Some(0) => self.after_head(flags & HEAD_SUM, flags, marks),
                Some(_) => self.stage,
                None => return Ok(false),
            },
            Stage::HeadSum => match self.bits.take(16, input) {
                Some(_) => self.begin(marks),
                None => return Ok(false),
            },
            Stage::Text => {
                self.inflate.step(&mut self.bits, input, out, marks)?;
                if !self.inflate.is_ended() {
                    return Ok(self.inflate.is_full());
                }
                self.bits.align();
                let left = match self.wrap {
                    Wrap::Gzip => 8,
                    Wrap::Zlib => 4,
                    Wrap::Nothing | Wrap::ZlibOrNothing => 0,
                };
                Stage::Sums { left }
            }
            Stage::Sums { left: 0 } => {
                self.complete = true;
                let text = self.inflate.made();
                marks.note(self.bits.position(), text, Seam::Over);
                match self.wrap {
                    Wrap::Gzip => Stage::Head { read: 0, flags: 0 },
                    Wrap::Zlib | Wrap::Nothing | Wrap::ZlibOrNothing => Stage::Ended,
                }
            }
            Stage::Sums { left } => match self.bits.take(8, input) {
                Some(_) => Stage::Sums { left: left - 1 },
                None => return Ok(false),
            },
            Stage::Ended => match self.bits.take(8, input) {
                Some(_) => return Err(Undecodable),
                None => return Ok(false),
            },
        };
        Ok(true)
    }

    /// What comes behind gzip's fixed head, of which the parts in `left` were not read.
    fn after_head(&mut self, left: u32, flags: u32, marks: &mut Marks) -> Stage {
        match left {
            _ if left & EXTRA > 0 => Stage::ExtraSize { flags },
            _ if left & NAME > 0 => Stage::Name { flags },
            _ if left & COMMENT > 0 => Stage::Comment { flags },
            _ if left & HEAD_SUM > 0 => Stage::HeadSum,
            _ => self.begin(marks),
        }
    }

    fn begin(&mut self, marks: &mut Marks) -> Stage {
        let made = self.inflate.made();
        self.inflate = Inflate::behind(made);
        marks.begin(self.bits.position(), made, Frame::default());
        Stage::Text
    }
}

/// What a stream that begins with `head` is wrapped in (RFC 1950 §2.2).
fn wrapped(head: u32) -> Wrap {
    let [method, flags, ..] = head.to_le_bytes();
    let checked = (u32::from(method) << 8 | u32::from(flags)) % 31 == 0;
    if method & 0x0f == 8 && method >> 4 <= 7 && flags & DICTIONARY == 0 && checked {
        Wrap::Zlib
    } else {
        Wrap::Nothing
    }
}

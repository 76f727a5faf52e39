//! Inflates (RFC 1951), and knows to the bit where each symbol ends: there the stream can be left and gone on with in
//! another way, which no library tells.

use super::{
    Undecodable,
    bits::Bits,
    huffman::{Codes, Next},
    seam::{Marks, Seam},
};

/// Text that is made at a time, in bytes, but for one copy more.
pub(super) const CHUNK: usize = 16 * 1024;
/// How far back a copy may reach.
const WINDOW: usize = 32 * 1024;
/// Text kept before it is cut back to a window.
const KEPT: usize = 96 * 1024;
/// Bytes of text between two marks inside a block.
const SPACING: usize = 64;

/// Order in which the lengths of the code lengths' codes come.
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];
/// Lengths of copies, and the extra bits of each.
const COPIES: [(usize, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
/// Distances of copies, and the extra bits of each.
const DISTANCES: [(usize, u32); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];
/// Ends a block.
const END: u16 = 256;

/// Inflates one stream.
#[derive(Debug)]
pub(super) struct Inflate {
    state: State,
    /// The block is the last one.
    last: bool,
    /// What was made, the newest last.
    text: Vec<u8>,
    /// Bytes that were made in all.
    made: u64,
    full: bool,
}

#[derive(Debug)]
enum State {
    /// A block's first bits come next.
    Block,
    StoredSize,
    Stored {
        left: usize,
    },
    Counts,
    /// Codes of the code lengths.
    Meta {
        counts: Counts,
        lengths: [u8; 19],
        at: usize,
    },
    /// Code lengths.
    Lengths {
        counts: Counts,
        meta: Codes,
        lengths: Vec<u8>,
    },
    Symbols(Box<Symbols>),
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    literals: usize,
    distances: usize,
    meta: usize,
}

#[derive(Debug)]
struct Symbols {
    literals: Codes,
    distances: Codes,
    end: (u16, u32),
}

/// Whether there is more to do with the input there is.
enum Flow {
    On,
    Starved,
}

impl Inflate {
    /// Of a stream that follows `made` bytes of text.
    pub(super) fn behind(made: u64) -> Self {
        Self {
            state: State::Block,
            last: false,
            text: Vec::new(),
            made,
            full: false,
        }
    }

    /// The last block is over.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Bytes of text that were made, those before it too.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// In the last block, which its sender began when it had everything.
    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// There is more text to be had without more input.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Takes some of `input`, appends to `out` what that makes, and notes where it could be left.
    ///
    /// # Errors
    /// It is no deflated text any further; `out` has what was.
    pub(super) fn step(
        &mut self,
        bits: &mut Bits,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        marks: &mut Marks,
    ) -> Result<(), Undecodable> {
        if self.text.len() > KEPT {
            let old = self.text.len() - WINDOW;
            self.text.drain(..old);
        }
        let start = self.text.len();
        self.full = false;
        let mut result = Ok(());
        while !self.is_ended() {
            if self.text.len() - start >= CHUNK {
                self.full = true;
                break;
            }
            match self.go_on(bits, input, start, marks) {
                Ok(Flow::On) => {}
                Ok(Flow::Starved) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        let fresh = self.text.get(start..).unwrap_or_default();
        self.made += fresh.len() as u64;
        out.extend_from_slice(fresh);
        result
    }

    fn go_on(
        &mut self,
        bits: &mut Bits,
        input: &mut &[u8],
        start: usize,
        marks: &mut Marks,
    ) -> Result<Flow, Undecodable> {
        match &mut self.state {
            State::Block => {
                self.mark(bits, start, marks, Seam::Between);
                let Some(head) = bits.take(3, input) else {
                    return Ok(Flow::Starved);
                };
                self.last = head & 1 == 1;
                self.state = match head >> 1 {
                    0 => {
                        bits.align();
                        State::StoredSize
                    }
                    1 => State::Symbols(Box::new(fixed().ok_or(Undecodable)?)),
                    2 => State::Counts,
                    _ => return Err(Undecodable),
                };
            }
            State::StoredSize => {
                let Some(size) = bits.take(32, input) else {
                    return Ok(Flow::Starved);
                };
                if size & 0xffff != !size >> 16 {
                    return Err(Undecodable);
                }
                let left = (size & 0xffff) as usize;
                self.state = State::Stored { left };
            }
            State::Stored { left: 0 } => self.end_block(),
            State::Stored { left } => {
                // What was read ahead comes first.
                if bits.ahead().1 > 0 {
                    let Some(byte) = bits.take(8, input) else {
                        return Err(Undecodable);
                    };
                    self.text.push(byte as u8);
                    *left -= 1;
                    return Ok(Flow::On);
                }
                let room = (start + CHUNK).saturating_sub(self.text.len());
                let (stored, rest) = input.split_at((*left).min(input.len()).min(room));
                if stored.is_empty() {
                    return Ok(Flow::Starved);
                }
                bits.pass(stored.len());
                self.text.extend_from_slice(stored);
                *left -= stored.len();
                *input = rest;
            }
            State::Counts => {
                let Some(counts) = bits.take(14, input) else {
                    return Ok(Flow::Starved);
                };
                let counts = Counts {
                    literals: (counts & 31) as usize + 257,
                    distances: (counts >> 5 & 31) as usize + 1,
                    meta: (counts >> 10) as usize + 4,
                };
                if counts.literals > 286 || counts.distances > 30 {
                    return Err(Undecodable);
                }
                self.state = State::Meta {
                    counts,
                    lengths: [0; 19],
                    at: 0,
                };
            }
            State::Meta {
                counts,
                lengths,
                at,
            } => {
                while *at < counts.meta {
                    let Some(length) = bits.take(3, input) else {
                        return Ok(Flow::Starved);
                    };
                    let place = ORDER.get(*at).and_then(|place| lengths.get_mut(*place));
                    *place.ok_or(Undecodable)? = length as u8;
                    *at += 1;
                }
                self.state = State::Lengths {
                    counts: *counts,
                    meta: Codes::of(lengths.as_slice()).ok_or(Undecodable)?,
                    lengths: Vec::new(),
                };
            }
            State::Lengths {
                counts,
                meta,
                lengths,
            } => {
                if matches!(
                    read_lengths(counts, meta, lengths, bits, input)?,
                    Flow::Starved
                ) {
                    return Ok(Flow::Starved);
                }
                let (literals, distances) = lengths.split_at(counts.literals);
                let symbols = Symbols::of(literals, distances).ok_or(Undecodable)?;
                self.state = State::Symbols(Box::new(symbols));
            }
            State::Symbols(_) => return self.symbols(bits, input, start, marks),
            State::Ended => {}
        }
        Ok(Flow::On)
    }

    /// Symbols, as many as there are and as there is room for.
    fn symbols(
        &mut self,
        bits: &mut Bits,
        input: &mut &[u8],
        start: usize,
        marks: &mut Marks,
    ) -> Result<Flow, Undecodable> {
        let State::Symbols(symbols) = &self.state else {
            return Ok(Flow::On);
        };
        let (code, length) = symbols.end;
        let seam = Seam::Within { code, length };
        let mut marked = self.text.len();
        loop {
            let made = self.text.len();
            if made - marked >= SPACING || made - start >= CHUNK {
                self.mark(bits, start, marks, seam);
                marked = made;
                if made - start >= CHUNK {
                    return Ok(Flow::On);
                }
            }
            bits.fill(input);
            let State::Symbols(symbols) = &self.state else {
                return Ok(Flow::On);
            };
            match symbols.next(bits)? {
                None => {
                    self.mark(bits, start, marks, seam);
                    return Ok(Flow::Starved);
                }
                Some(Symbol::Literal(byte)) => self.text.push(byte),
                Some(Symbol::End) => {
                    self.end_block();
                    return Ok(Flow::On);
                }
                Some(Symbol::Copy { length, distance }) => self.copy(length, distance)?,
            }
        }
    }

    fn copy(&mut self, mut length: usize, distance: usize) -> Result<(), Undecodable> {
        let from = self.text.len().checked_sub(distance).ok_or(Undecodable)?;
        // It may copy what it has just made.
        while length > 0 {
            let piece = length.min(self.text.len() - from);
            self.text.extend_from_within(from..from + piece);
            length -= piece;
        }
        Ok(())
    }

    fn end_block(&mut self) {
        self.state = if self.last {
            State::Ended
        } else {
            State::Block
        };
    }

    fn mark(&self, bits: &Bits, start: usize, marks: &mut Marks, seam: Seam) {
        let seam = if self.last { Seam::None } else { seam };
        let fresh = (self.text.len() - start) as u64;
        marks.note(bits.position(), self.made + fresh, seam);
    }
}

enum Symbol {
    Literal(u8),
    End,
    Copy { length: usize, distance: usize },
}

impl Symbols {
    fn of(literals: &[u8], distances: &[u8]) -> Option<Self> {
        let literals = Codes::of(literals)?;
        Some(Self {
            end: literals.code_of(END)?,
            distances: Codes::of(distances)?,
            literals,
        })
    }

    /// The next symbol, if all of it is there.
    #[inline]
    fn next(&self, bits: &mut Bits) -> Result<Option<Symbol>, Undecodable> {
        let (ahead, count) = bits.ahead();
        let (symbol, used) = match self.literals.find(ahead, count) {
            Next::Symbol { symbol, length } => (symbol, length),
            Next::Unknown => return Ok(None),
            Next::Invalid => return Err(Undecodable),
        };
        if let Ok(byte) = u8::try_from(symbol) {
            bits.skip(used);
            return Ok(Some(Symbol::Literal(byte)));
        }
        if symbol == END {
            bits.skip(used);
            return Ok(Some(Symbol::End));
        }
        let copy = COPIES.get(usize::from(symbol - END - 1));
        let &(length, extra) = copy.ok_or(Undecodable)?;
        let more = (ahead >> used) & ((1 << extra) - 1);
        let used = used + extra;
        if used > count {
            return Ok(None);
        }
        let (symbol, own) = match self.distances.find(ahead >> used, count - used) {
            Next::Symbol { symbol, length } => (symbol, length),
            Next::Unknown => return Ok(None),
            Next::Invalid => return Err(Undecodable),
        };
        let used = used + own;
        let &(distance, extra) = DISTANCES.get(usize::from(symbol)).ok_or(Undecodable)?;
        let further = (ahead >> used) & ((1 << extra) - 1);
        let used = used + extra;
        if used > count {
            return Ok(None);
        }
        bits.skip(used);
        Ok(Some(Symbol::Copy {
            length: length + more as usize,
            distance: distance + further as usize,
        }))
    }
}

/// The codes of blocks that bring none (RFC 1951 §3.2.6).
fn fixed() -> Option<Symbols> {
    let lengths = [(144, 8), (112, 9), (24, 7), (8, 8)];
    let literals: Vec<u8> = lengths
        .iter()
        .flat_map(|(count, length)| std::iter::repeat_n(*length, *count))
        .collect();
    Symbols::of(&literals, &[5; 32])
}

/// Reads the lengths of both sets of codes, which are one list.
fn read_lengths(
    counts: &Counts,
    meta: &Codes,
    lengths: &mut Vec<u8>,
    bits: &mut Bits,
    input: &mut &[u8],
) -> Result<Flow, Undecodable> {
    let all = counts.literals + counts.distances;
    while lengths.len() < all {
        bits.fill(input);
        let (ahead, count) = bits.ahead();
        let (symbol, used) = match meta.find(ahead, count) {
            Next::Symbol { symbol, length } => (symbol, length),
            Next::Unknown => return Ok(Flow::Starved),
            Next::Invalid => return Err(Undecodable),
        };
        let (least, extra) = match symbol {
            16 => (3, 2),
            17 => (3, 3),
            18 => (11, 7),
            _ => (1, 0),
        };
        if used + extra > count {
            return Ok(Flow::Starved);
        }
        let more = (ahead >> used) & ((1 << extra) - 1);
        let length = match symbol {
            16 => *lengths.last().ok_or(Undecodable)?,
            17 | 18 => 0,
            length => u8::try_from(length).map_err(|_over| Undecodable)?,
        };
        let times = least + more as usize;
        if lengths.len() + times > all {
            return Err(Undecodable);
        }
        lengths.extend(std::iter::repeat_n(length, times));
        bits.skip(used + extra);
    }
    Ok(Flow::On)
}

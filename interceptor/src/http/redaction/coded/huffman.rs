//! Huffman codes as deflate has them (RFC 1951 §3.2.2).

/// Bits of the longest code.
const LONGEST: usize = 15;
/// Bits of the codes that are found at one look.
const SHORT: u32 = 9;

/// A set of codes.
#[derive(Debug)]
pub(super) struct Codes {
    /// By the bits that come next: a symbol and its code's length; length 0 for codes that are longer.
    short: Vec<(u16, u8)>,
    /// How many codes have each length.
    counts: [u16; LONGEST + 1],
    /// In the order of their codes.
    symbols: Vec<u16>,
}

/// What the bits that come next stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Symbol {
        symbol: u16,
        length: u32,
    },
    /// More bits are needed to tell.
    Unknown,
    /// No symbol has this code.
    Invalid,
}

impl Codes {
    /// The codes of as many symbols as there are `lengths`. `None` if there are no such codes; an incomplete set is one
    /// only if its longest code has one bit, as zlib has it.
    pub(super) fn of(lengths: &[u8]) -> Option<Self> {
        let mut counts = [0_u16; LONGEST + 1];
        for length in lengths {
            *counts.get_mut(usize::from(*length))? += 1;
        }
        let mut left = 1_i32;
        for count in counts.iter().skip(1) {
            left = left * 2 - i32::from(*count);
            if left < 0 {
                return None;
            }
        }
        let longest = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        if left > 0 && longest > 1 {
            return None;
        }
        let mut offsets = [0_usize; LONGEST + 2];
        let mut codes = [0_u32; LONGEST + 2];
        for (length, count) in counts.iter().enumerate().skip(1) {
            let offset = offsets.get(length).copied().unwrap_or_default();
            let code = codes.get(length).copied().unwrap_or_default();
            *offsets.get_mut(length + 1)? = offset + usize::from(*count);
            *codes.get_mut(length + 1)? = (code + u32::from(*count)) << 1;
        }
        let mut symbols = vec![0; lengths.iter().filter(|length| **length > 0).count()];
        let mut short = vec![(0, 0); 1 << SHORT];
        for (symbol, &length) in lengths
            .iter()
            .enumerate()
            .filter(|(_, length)| **length > 0)
        {
            let symbol = u16::try_from(symbol).ok()?;
            let place = offsets.get_mut(usize::from(length))?;
            *symbols.get_mut(*place)? = symbol;
            *place += 1;
            let code = codes.get_mut(usize::from(length))?;
            let bits = u32::from(length);
            if bits <= SHORT {
                // Codes come with their highest bit first.
                let reversed = code.reverse_bits() >> (32 - bits);
                let step = 1 << bits;
                for slot in short.iter_mut().skip(reversed as usize).step_by(step) {
                    *slot = (symbol, length);
                }
            }
            *code += 1;
        }
        Some(Self {
            short,
            counts,
            symbols,
        })
    }

    /// The symbol whose code stands at the front of `bits`, of which `count` are known.
    #[inline]
    pub(super) fn find(&self, bits: u64, count: u32) -> Next {
        let index = (bits & ((1 << SHORT) - 1)) as usize;
        match self.short.get(index) {
            Some(&(symbol, length)) if length > 0 => {
                let length = u32::from(length);
                if length <= count {
                    Next::Symbol { symbol, length }
                } else {
                    Next::Unknown
                }
            }
            _ => self.find_long(bits, count),
        }
    }

    fn find_long(&self, mut bits: u64, count: u32) -> Next {
        let (mut code, mut first, mut offset) = (0_usize, 0_usize, 0_usize);
        for (length, many) in (1..).zip(self.counts.iter().skip(1)) {
            if length > count {
                return Next::Unknown;
            }
            code |= (bits & 1) as usize;
            bits >>= 1;
            let many = usize::from(*many);
            if code < first + many {
                return match self.symbols.get(offset + code - first) {
                    Some(&symbol) => Next::Symbol { symbol, length },
                    None => Next::Invalid,
                };
            }
            offset += many;
            first = (first + many) << 1;
            code <<= 1;
        }
        Next::Invalid
    }

    /// The code of `symbol` as it stands in the stream, and its length.
    pub(super) fn code_of(&self, symbol: u16) -> Option<(u16, u32)> {
        let mut place = self.symbols.iter().position(|other| *other == symbol)?;
        let mut first = 0_u32;
        for (length, many) in (1..).zip(self.counts.iter().skip(1)) {
            let many = usize::from(*many);
            if place < many {
                let code = first + u32::try_from(place).ok()?;
                let reversed = code.reverse_bits() >> (32 - length);
                return Some((u16::try_from(reversed).ok()?, length));
            }
            place -= many;
            first = (first + u32::try_from(many).ok()?) << 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 1951 §3.2.2: A to H with lengths 3, 3, 3, 3, 3, 2, 4, 4.
        let codes = Codes::of(&[3, 3, 3, 3, 3, 2, 4, 4]).unwrap();
        let expected = [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111_u32];
        for (symbol, code) in (0..).zip(expected) {
            let length = [3, 3, 3, 3, 3, 2, 4, 4][usize::from(symbol)];
            let reversed = code.reverse_bits() >> (32 - length);
            let bits = u64::from(reversed);
            assert_eq!(codes.find(bits, length), Next::Symbol { symbol, length });
            assert_eq!(codes.find(bits, length - 1), Next::Unknown);
            let written = u16::try_from(reversed).unwrap();
            assert_eq!(codes.code_of(symbol), Some((written, length)));
        }
        assert_eq!(codes.code_of(8), None);
    }

    #[test]
    fn long_codes_are_found_bit_by_bit() {
        // One symbol for each length from 1 to 14, two of 15.
        let lengths: Vec<u8> = (1..=15).chain([15]).collect();
        let codes = Codes::of(&lengths).unwrap();
        for symbol in 0..16 {
            let (code, length) = codes.code_of(symbol).unwrap();
            assert_eq!(length, u32::from(lengths[usize::from(symbol)]));
            let bits = u64::from(code);
            assert_eq!(codes.find(bits, length), Next::Symbol { symbol, length });
            assert_eq!(codes.find(bits, length - 1), Next::Unknown);
        }
    }

    #[test]
    fn sets_that_are_none_are_refused() {
        assert!(Codes::of(&[1, 1, 1]).is_none(), "too many");
        assert!(Codes::of(&[2, 2, 2]).is_none(), "too few");
        let one = Codes::of(&[0, 1]).unwrap();
        assert_eq!(one.find(1, 1), Next::Invalid.or_unknown(one.find(1, 15)));
        assert_eq!(one.find(1, 15), Next::Invalid);
        assert_eq!(Codes::of(&[0, 0]).unwrap().find(0, 15), Next::Invalid);
    }

    impl Next {
        /// One bit may not yet tell that no code begins with it.
        fn or_unknown(self, whole: Self) -> Self {
            assert_eq!(self, whole);
            Self::Unknown
        }
    }
}

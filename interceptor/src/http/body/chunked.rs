//! The chunked transfer coding (RFC 9112 §7.1), followed: sizes, extensions and trailers can go on as they were written,
//! or what they frame is given out part by part.

use super::{BodyError, Taken, transcode::Part};

/// Longest extension of one chunk, in bytes.
pub(super) const MAX_EXTENSION: usize = 4096;
/// Longest trailer section, in bytes.
pub(super) const MAX_TRAILERS: usize = 16 * 1024;

/// Trailers that a reader which merges them into the head would route or frame by (RFC 9110 §6.5.1).
const FORBIDDEN: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
/// Longer than any name in [`FORBIDDEN`].
const NAME_KEPT: usize = 24;

/// Where in the coding the next byte stands.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: State,
    /// Bytes of the extension or of the trailer section so far.
    line: usize,
    name: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    SizeLineFeed { size: u64 },
    Data { left: u64 },
    DataCarriageReturn,
    DataLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunked {
    pub(super) fn push<E: From<BodyError>>(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<Taken, E> {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            if let State::Data { left } = self.state {
                let here = input.len() - at;
                let taken = usize::try_from(left).map_or(here, |left| left.min(here));
                sink(Part::Data(input.get(at..at + taken).unwrap_or_default()))?;
                at += taken;
                self.state = match left - taken as u64 {
                    0 => State::DataCarriageReturn,
                    left => State::Data { left },
                };
                continue;
            }
            at += 1;
            if matches!((self.state, byte), (State::LastLineFeed, b'\n')) {
                return Ok(Taken {
                    bytes: at,
                    complete: true,
                });
            }
            self.state = self.step(byte)?;
            if self.in_trailer() {
                sink(Part::Trailer(byte))?;
            }
        }
        Ok(Taken {
            bytes: at,
            complete: false,
        })
    }

    /// The byte that led here belongs to a trailer.
    fn in_trailer(&self) -> bool {
        match self.state {
            State::TrailerName | State::TrailerValue | State::TrailerLineFeed => true,
            // Behind a trailer, not behind the last chunk's size.
            State::TrailerStart => self.line > 0,
            State::Size { .. }
            | State::Extension { .. }
            | State::SizeLineFeed { .. }
            | State::Data { .. }
            | State::DataCarriageReturn
            | State::DataLineFeed
            | State::LastLineFeed => false,
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        match self.state {
            State::Size { size, digits } => self.size(size, digits, byte),
            State::Extension { size } => self.extension(size, byte),
            State::SizeLineFeed { size } => {
                line_feed(byte)?;
                self.line = 0;
                Ok(match size {
                    0 => State::TrailerStart,
                    left => State::Data { left },
                })
            }
            // `push` takes data many bytes at a time.
            State::Data { left } => Ok(State::Data { left }),
            State::DataCarriageReturn => match byte {
                b'\r' => Ok(State::DataLineFeed),
                _ => Err(BodyError::LineEnd),
            },
            State::DataLineFeed => line_feed(byte).map(|()| State::default()),
            State::TrailerStart if byte == b'\r' => Ok(State::LastLineFeed),
            State::TrailerStart => {
                self.name.clear();
                self.trailer_name(byte)
            }
            State::TrailerName => self.trailer_name(byte),
            State::TrailerValue => {
                self.count(MAX_TRAILERS, BodyError::TrailersTooLong)?;
                match byte {
                    b'\r' => Ok(State::TrailerLineFeed),
                    _ if is_value(byte) => Ok(State::TrailerValue),
                    _ => Err(BodyError::Trailer),
                }
            }
            State::TrailerLineFeed => line_feed(byte).map(|()| State::TrailerStart),
            State::LastLineFeed => Err(BodyError::LineEnd),
        }
    }

    fn size(&mut self, size: u64, digits: u8, byte: u8) -> Result<State, BodyError> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            // 16 digits are 64 bits.
            if digits == 16 {
                return Err(BodyError::ChunkSize);
            }
            return Ok(State::Size {
                size: size << 4 | u64::from(digit),
                digits: digits + 1,
            });
        }
        match byte {
            _ if digits == 0 => Err(BodyError::ChunkSize),
            b'\r' => Ok(State::SizeLineFeed { size }),
            b';' => Ok(State::Extension { size }),
            _ => Err(BodyError::ChunkSize),
        }
    }

    fn extension(&mut self, size: u64, byte: u8) -> Result<State, BodyError> {
        self.count(MAX_EXTENSION, BodyError::ExtensionTooLong)?;
        match byte {
            b'\r' => Ok(State::SizeLineFeed { size }),
            b'\n' => Err(BodyError::LineEnd),
            _ if is_value(byte) => Ok(State::Extension { size }),
            _ => Err(BodyError::Extension),
        }
    }

    fn trailer_name(&mut self, byte: u8) -> Result<State, BodyError> {
        self.count(MAX_TRAILERS, BodyError::TrailersTooLong)?;
        match byte {
            b':' if self.name.is_empty() => Err(BodyError::Trailer),
            b':' if FORBIDDEN.contains(&self.name.as_slice()) => Err(BodyError::ForbiddenTrailer),
            b':' => Ok(State::TrailerValue),
            _ if is_token(byte) => {
                if self.name.len() < NAME_KEPT {
                    self.name.push(byte.to_ascii_lowercase());
                }
                Ok(State::TrailerName)
            }
            _ => Err(BodyError::Trailer),
        }
    }

    fn count(&mut self, limit: usize, error: BodyError) -> Result<(), BodyError> {
        self.line += 1;
        if self.line > limit {
            Err(error)
        } else {
            Ok(())
        }
    }
}

fn line_feed(byte: u8) -> Result<(), BodyError> {
    if byte == b'\n' {
        Ok(())
    } else {
        Err(BodyError::LineEnd)
    }
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §5.5: visible, space, tab and the bytes above ASCII.
fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &[u8] =
        b"5;name=\"v;x\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nExpires: never\r\nX-Y:\r\n\r\n";

    fn run(parts: &[&[u8]]) -> Result<(usize, bool), BodyError> {
        let mut chunked = Chunked::default();
        let mut total = 0;
        for part in parts {
            let taken = chunked.push(part, &mut |_| Ok::<_, BodyError>(()))?;
            total += taken.bytes;
            if taken.complete {
                return Ok((total, true));
            }
            assert_eq!(taken.bytes, part.len(), "an open body takes everything");
        }
        Ok((total, false))
    }

    #[test]
    fn the_end_is_found_at_every_split() {
        let mut input = BODY.to_vec();
        input.extend_from_slice(b"GET / HTTP/1.1\r\n");
        for split in 0..=input.len() {
            let (head, tail) = input.split_at(split);
            assert_eq!(
                run(&[head, tail]),
                Ok((BODY.len(), true)),
                "split at {split}"
            );
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(run(&bytes), Ok((BODY.len(), true)));
        assert_eq!(run(&[b"0\r\n\r\n"]), Ok((5, true)));
    }

    #[test]
    fn malformed_coding_is_refused_at_every_split() {
        let cases: [(&[u8], BodyError); 18] = [
            (b"\r\n", BodyError::ChunkSize),
            (b";x\r\n", BodyError::ChunkSize),
            (b"0x5\r\nhello\r\n", BodyError::ChunkSize),
            (b"+5\r\nhello\r\n", BodyError::ChunkSize),
            (b" 5\r\nhello\r\n", BodyError::ChunkSize),
            (b"5 \r\nhello\r\n", BodyError::ChunkSize),
            (b"5\nhello\r\n", BodyError::ChunkSize),
            (b"00000000000000005\r\nhello\r\n", BodyError::ChunkSize),
            (b"5\rhello\r\n", BodyError::LineEnd),
            (b"5;a\nhello\r\n", BodyError::LineEnd),
            (b"5;a\0\r\nhello\r\n", BodyError::Extension),
            (b"5\r\nhelloX\r\n", BodyError::LineEnd),
            (b"5\r\nhello\n", BodyError::LineEnd),
            (b"0\r\n\rX", BodyError::LineEnd),
            (b"0\r\nA b: c\r\n\r\n", BodyError::Trailer),
            (b"0\r\n a: c\r\n\r\n", BodyError::Trailer),
            (b"0\r\na: c\n\r\n", BodyError::Trailer),
            (
                b"0\r\nContent-LENGTH: 5\r\n\r\n",
                BodyError::ForbiddenTrailer,
            ),
        ];
        for (input, error) in cases {
            for split in 0..=input.len() {
                let (head, tail) = input.split_at(split);
                assert_eq!(run(&[head, tail]), Err(error), "{input:?} split at {split}");
            }
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let mut input = b"5;".to_vec();
        input.resize(MAX_EXTENSION + 10, b'a');
        assert_eq!(run(&[&input]), Err(BodyError::ExtensionTooLong));
        let mut input = b"0\r\n".to_vec();
        for _ in 0..MAX_TRAILERS {
            input.extend_from_slice(b"a: b\r\n");
        }
        assert_eq!(run(&[&input]), Err(BodyError::TrailersTooLong));
    }

    proptest! {
        /// Our own encoding of any chunks ends exactly where it ends, however it is split.
        #[test]
        fn encoded_bodies_end_where_they_end(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8),
            tail in proptest::collection::vec(any::<u8>(), 0..20),
            step in 1usize..17,
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                input.extend_from_slice(chunk);
                input.extend_from_slice(b"\r\n");
            }
            input.extend_from_slice(b"0\r\n\r\n");
            let end = input.len();
            input.extend_from_slice(&tail);
            let parts: Vec<&[u8]> = input.chunks(step).collect();
            prop_assert_eq!(run(&parts), Ok((end, true)));
        }

        /// Splits never change the verdict on arbitrary bytes.
        #[test]
        fn splits_do_not_change_the_verdict(
            input in proptest::collection::vec(prop_oneof![
                Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'2'), Just(b':'), Just(b';'), Just(b'a')], 0..40),
            step in 1usize..9,
        ) {
            let parts: Vec<&[u8]> = input.chunks(step).collect();
            prop_assert_eq!(run(&parts), run(&[&input]));
        }
    }
}

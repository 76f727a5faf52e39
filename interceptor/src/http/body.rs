//! Where a message's body ends. Sans-IO: the bytes themselves go on as they are, unless `transcode` takes them apart.

mod chunked;
pub(crate) mod transcode;

use self::{chunked::Chunked, transcode::Part};
use super::framing::Framing;

/// Follows one body through the bytes that carry it.
#[derive(Debug)]
pub(crate) enum Body {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// Why a body's framing is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("a chunk's size is not 1 to 16 hexadecimal digits")]
    ChunkSize,
    #[error("a chunk's extension is longer than {} bytes", chunked::MAX_EXTENSION)]
    ExtensionTooLong,
    #[error("a chunk's extension has a control byte inside")]
    Extension,
    #[error("a line of the chunked coding does not end in a carriage return and a line feed")]
    LineEnd,
    #[error("the trailers are longer than {} bytes", chunked::MAX_TRAILERS)]
    TrailersTooLong,
    #[error("a trailer is malformed")]
    Trailer,
    #[error("a trailer frames or routes the message")]
    ForbiddenTrailer,
}

/// How much of the input belongs to the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) bytes: usize,
    /// The body ends with these bytes.
    pub(crate) complete: bool,
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Takes what belongs to the body from the front of `input`. Not to be called again once complete.
    ///
    /// # Errors
    /// The chunked coding is malformed; nothing of `input` should go on.
    pub(crate) fn push(&mut self, input: &[u8]) -> Result<Taken, BodyError> {
        self.unframe(input, &mut |_| Ok(()))
    }

    /// The same, and gives `sink` what was framed.
    fn unframe<E: From<BodyError>>(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<Taken, E> {
        match self {
            Self::Length(left) => {
                let bytes =
                    usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                sink(Part::Data(input.get(..bytes).unwrap_or_default()))?;
                *left -= bytes as u64;
                Ok(Taken {
                    bytes,
                    complete: *left == 0,
                })
            }
            Self::Chunked(chunked) => chunked.push(input, sink),
            Self::UntilClose => {
                sink(Part::Data(input))?;
                Ok(Taken {
                    bytes: input.len(),
                    complete: false,
                })
            }
        }
    }

    /// The sender's close ends this body; any other is cut short by it.
    pub(crate) fn ends_with_close(&self) -> bool {
        matches!(self, Self::UntilClose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_body_is_complete_before_any_byte() {
        let taken = Body::new(Framing::EMPTY).push(b"GET / HTTP/1.1").unwrap();
        assert_eq!(
            taken,
            Taken {
                bytes: 0,
                complete: true
            }
        );
    }

    #[test]
    fn a_length_ends_where_it_says_at_every_split() {
        let input = b"hello, next message";
        for split in 0..=input.len() {
            let mut body = Body::new(Framing::Length(5));
            let first = body.push(&input[..split]).unwrap();
            assert_eq!(first.bytes, split.min(5));
            assert_eq!(first.complete, split >= 5);
            if !first.complete {
                let second = body.push(&input[split..]).unwrap();
                assert_eq!((second.bytes, second.complete), (5 - split, true));
            }
        }
    }

    #[test]
    fn until_close_never_completes() {
        let mut body = Body::new(Framing::UntilClose);
        let taken = body.push(b"abc").unwrap();
        assert_eq!((taken.bytes, taken.complete), (3, false));
        assert!(body.ends_with_close());
    }
}

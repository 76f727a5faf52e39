//! Takes a body's data out of one framing and puts it into another: for bodies that do not stay the bytes they are.

use zeroize::Zeroizing;

use super::{Body, BodyError, Taken};
use crate::{http::framing::Framing, rewrite::make_room};

/// What a body's framing frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'i> {
    Data(&'i [u8]),
    /// A byte of the trailer section, without the empty line that ends it.
    Trailer(u8),
}

/// Takes a body out of its framing.
#[derive(Debug)]
pub(crate) struct Unframer {
    body: Body,
    trailers: Vec<u8>,
}

/// What a body's data is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framer {
    /// Nothing: the head tells the length, or the close ends it.
    Plain,
    Chunked,
}

impl Unframer {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            body: Body::new(framing),
            trailers: Vec::new(),
        }
    }

    /// Takes what belongs to the body from the front of `input` and gives `sink` its data. Not to be called again once
    /// complete.
    ///
    /// # Errors
    /// Those of `sink`, or the chunked coding is malformed; nothing of `input` should go on.
    pub(crate) fn push<E: From<BodyError>>(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Taken, E> {
        let Self { body, trailers } = self;
        body.unframe(input, &mut |part| match part {
            Part::Data([]) => Ok(()),
            Part::Data(data) => sink(data),
            Part::Trailer(byte) => {
                trailers.push(byte);
                Ok(())
            }
        })
    }

    /// The trailers that came, whole lines as they were written; bounded as `chunked` bounds them.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// The sender's close ends this body; any other is cut short by it.
    pub(crate) fn ends_with_close(&self) -> bool {
        self.body.ends_with_close()
    }
}

impl Framer {
    /// Appends `data`, framed. Nothing if there is none: an empty chunk would be the last.
    pub(crate) fn frame(self, data: &[u8], out: &mut Zeroizing<Vec<u8>>) {
        if data.is_empty() {
            return;
        }
        let size = match self {
            Self::Plain => String::new(),
            Self::Chunked => format!("{:x}\r\n", data.len()),
        };
        make_room(out, size.len() + data.len() + LINE_END.len());
        out.extend_from_slice(size.as_bytes());
        out.extend_from_slice(data);
        if self == Self::Chunked {
            out.extend_from_slice(LINE_END);
        }
    }

    /// Appends the body's end, with `trailers` as [`Unframer::trailers`] gives them.
    pub(crate) fn end(self, trailers: &[u8], out: &mut Zeroizing<Vec<u8>>) {
        if self == Self::Plain {
            return;
        }
        make_room(out, LAST_CHUNK.len() + trailers.len() + LINE_END.len());
        out.extend_from_slice(LAST_CHUNK);
        out.extend_from_slice(trailers);
        out.extend_from_slice(LINE_END);
    }
}

const LINE_END: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Data, trailers, bytes that were taken, and whether that is all.
    type Seen = (Vec<u8>, Vec<u8>, usize, bool);

    fn unframe<'p>(
        framing: Framing,
        parts: impl IntoIterator<Item = &'p [u8]>,
    ) -> Result<Seen, BodyError> {
        let mut unframer = Unframer::new(framing);
        let (mut data, mut total, mut complete) = (Vec::new(), 0, false);
        for part in parts {
            let taken = unframer.push(part, &mut |more| {
                assert!(!more.is_empty());
                data.extend_from_slice(more);
                Ok::<_, BodyError>(())
            })?;
            total += taken.bytes;
            complete = taken.complete;
            if complete {
                break;
            }
        }
        Ok((data, unframer.trailers().to_vec(), total, complete))
    }

    fn frame(framer: Framer, pieces: &[&[u8]], trailers: &[u8]) -> Vec<u8> {
        let mut out = Zeroizing::new(Vec::new());
        for piece in pieces {
            framer.frame(piece, &mut out);
        }
        framer.end(trailers, &mut out);
        out.to_vec()
    }

    #[test]
    fn chunks_come_apart_at_every_split() {
        let input = b"5;name=\"v\"\r\nhello\r\n00A\r\n0123456789\r\n000;x\r\nExpires: never\r\nX-Y:\r\n\r\nGET /";
        let end = input.len() - 5;
        let trailers = b"Expires: never\r\nX-Y:\r\n".to_vec();
        let expected = (b"hello0123456789".to_vec(), trailers, end, true);
        for split in 0..=input.len() {
            let (head, tail) = input.split_at(split);
            let seen = unframe(Framing::Chunked, [head, tail]);
            assert_eq!(seen.as_ref(), Ok(&expected), "split at {split}");
        }
        let seen = unframe(Framing::Chunked, input.chunks(1));
        assert_eq!(seen, Ok(expected));
    }

    #[test]
    fn a_length_and_a_close_frame_what_they_frame() {
        let plain = |data: &[u8], complete| Ok((data.to_vec(), Vec::new(), data.len(), complete));
        let input: &[u8] = b"hello, next message";
        assert_eq!(
            unframe(Framing::Length(5), input.chunks(2)),
            plain(b"hello", true)
        );
        assert_eq!(unframe(Framing::EMPTY, [input]), plain(b"", true));
        assert_eq!(
            unframe(Framing::UntilClose, input.chunks(3)),
            plain(input, false)
        );
    }

    #[test]
    fn chunks_are_written_with_their_size_and_never_empty() {
        let framed = frame(
            Framer::Chunked,
            &[b"hello", b"", &[b'x'; 26]],
            b"X-T: 1\r\n",
        );
        let expected = format!(
            "5\r\nhello\r\n1a\r\n{}\r\n0\r\nX-T: 1\r\n\r\n",
            "x".repeat(26)
        );
        assert_eq!(String::from_utf8(framed).unwrap(), expected);
        assert_eq!(frame(Framer::Plain, &[b"he", b"llo"], b""), b"hello");
    }

    #[test]
    fn a_sink_that_refuses_is_heard() {
        #[derive(Debug, PartialEq)]
        struct Refused;
        impl From<BodyError> for Refused {
            fn from(_: BodyError) -> Self {
                Self
            }
        }
        let mut unframer = Unframer::new(Framing::Chunked);
        let taken = unframer.push(b"1\r\nx\r\n", &mut |_| Err(Refused));
        assert_eq!(taken, Err(Refused));
    }

    proptest! {
        /// What was framed comes apart into the same again, however either is split.
        #[test]
        fn framing_and_unframing_are_each_others_inverse(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8),
            trailers in select_trailers(),
            step in 1usize..17,
        ) {
            let data = pieces.concat();
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let framed = frame(Framer::Chunked, &pieces, trailers);
            let seen = unframe(Framing::Chunked, framed.chunks(step));
            prop_assert_eq!(seen, Ok((data, trailers.to_vec(), framed.len(), true)));
        }
    }

    fn select_trailers() -> impl Strategy<Value = &'static [u8]> {
        prop_oneof![Just(&b""[..]), Just(&b"A: b\r\nC:\t d \r\n"[..])]
    }
}

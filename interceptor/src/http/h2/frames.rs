//! Finds the frames in what a peer sends, without looking into them (RFC 9113 §4.1). Sans-IO.

/// Length, type, flags and stream.
const HEADER: usize = 9;
/// A client's first bytes (RFC 9113 §3.4).
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// What is of interest in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A part of a message, of which HTTP/2 bounds how many there can be.
    Message,
    Reset,
    /// The highest stream that its sender has seen, or will.
    GoAway(u32),
    /// A DATA frame without anything, which is not the last one. The place of its type among the bytes, if that is not
    /// among those of before.
    Nothing(Option<usize>),
    WindowUpdate,
    /// Anything else.
    Control,
}

/// How far a stream of frames was read.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes that are of no interest.
    skip: usize,
    /// A frame's header, and of a GOAWAY's payload what is needed.
    held: [u8; HEADER + 4],
    length: usize,
}

impl Frames {
    pub(super) fn of_client() -> Self {
        Self {
            skip: PREFACE,
            ..Self::of_server()
        }
    }

    pub(super) fn of_server() -> Self {
        Self {
            skip: 0,
            held: [0; HEADER + 4],
            length: 0,
        }
    }

    /// Takes what was read next, and tells of each frame whose beginning is in it.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Seen)) {
        let all = bytes.len();
        loop {
            let skipped = self.skip.min(bytes.len());
            bytes = bytes.split_at(skipped).1;
            self.skip -= skipped;
            let Some((&byte, rest)) = bytes.split_first() else {
                return;
            };
            bytes = rest;
            if let Some(slot) = self.held.get_mut(self.length) {
                *slot = byte;
            }
            self.length += 1;
            if self.length < HEADER {
                continue;
            }
            let [a, b, c, kind, flags, _, _, _, _, last @ ..] = self.held;
            let payload = u32::from_be_bytes([0, a, b, c]) as usize;
            // Its payload begins with the stream; a shorter one is malformed, and ends the connection.
            let needed = if kind == GOAWAY {
                payload.min(last.len())
            } else {
                0
            };
            if self.length < HEADER + needed {
                continue;
            }
            tell(match kind {
                GOAWAY if needed == last.len() => {
                    Seen::GoAway(u32::from_be_bytes(last) & !(1 << 31))
                }
                DATA if payload > 0 => Seen::Message,
                DATA if flags == 0 => {
                    let read = all - bytes.len();
                    Seen::Nothing(read.checked_sub(HEADER - 3))
                }
                HEADERS | CONTINUATION => Seen::Message,
                RST_STREAM => Seen::Reset,
                WINDOW_UPDATE => Seen::WindowUpdate,
                _ => Seen::Control,
            });
            self.skip = payload - needed;
            self.length = 0;
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle {
    use super::{Frames, PREFACE, Seen};

    /// Writes frames of the kinds and lengths that `script` chooses, and looks for them in pieces of `size` bytes.
    ///
    /// # Panics
    /// Others are found, or they are found otherwise.
    pub(crate) fn check(script: &[u8], size: usize, of_client: bool) {
        let mut wire = vec![0xff; if of_client { PREFACE } else { 0 }];
        let mut expected = Vec::new();
        for (number, step) in (1u8..).zip(script.chunks_exact(2)) {
            let (kind, length) = (
                step[0] % 12,
                usize::from(step[1]) * usize::from(step[0] / 12),
            );
            wire.extend(&u32::try_from(length).expect("short").to_be_bytes()[1..]);
            wire.extend([kind, 0, 0, 0, 0, number]);
            wire.extend(std::iter::repeat_n(number, length));
            expected.push(match (kind, length) {
                (0, 1..) | (1 | 9, _) => Seen::Message,
                (0, 0) => Seen::Nothing(None),
                (3, _) => Seen::Reset,
                (8, _) => Seen::WindowUpdate,
                (7, 4..) => Seen::GoAway(u32::from_be_bytes([number; 4]) & 0x7fff_ffff),
                _ => Seen::Control,
            });
            if number == u8::MAX {
                break;
            }
        }
        let mut frames = if of_client {
            Frames::of_client()
        } else {
            Frames::of_server()
        };
        let mut found = Vec::new();
        for piece in wire.chunks(size.max(1)) {
            frames.push(piece, |seen| {
                found.push(match seen {
                    Seen::Nothing(at) => {
                        assert!(at.is_none_or(|at| piece[at] == 0));
                        Seen::Nothing(None)
                    }
                    seen => seen,
                });
            });
        }
        assert_eq!(found, expected, "in pieces of {size}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_are_found_wherever_the_stream_is_split() {
        // SETTINGS, HEADERS, an empty DATA frame, a full one, GOAWAY up to stream 5, RST_STREAM.
        let wire = [
            &[0, 0, 6, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6][..],
            &[0, 0, 1, 1, 5, 0, 0, 0, 1, 9],
            &[0, 0, 0, 0, 1, 0, 0, 0, 1],
            &[0, 0, 2, 0, 1, 0, 0, 0, 1, 7, 7],
            &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x80, 0, 0, 5, 0, 0, 0, 0],
            &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8],
        ]
        .concat();
        let expected = [
            Seen::Control,
            Seen::Message,
            Seen::Control,
            Seen::Message,
            Seen::GoAway(5),
            Seen::Reset,
        ];
        for at in 0..=wire.len() {
            let mut frames = Frames::of_server();
            let mut found = Vec::new();
            let (first, second) = wire.split_at(at);
            frames.push(first, |seen| found.push(seen));
            frames.push(second, |seen| found.push(seen));
            assert_eq!(found, expected, "split at {at}");
        }
    }

    #[test]
    fn the_type_of_a_frame_with_nothing_in_it_is_found_where_it_is() {
        let wire = [
            &[0, 0, 1, 0, 0, 0, 0, 0, 1, 7][..],
            &[0, 0, 0, 0, 0, 0, 0, 0, 1],
        ]
        .concat();
        for at in 0..wire.len() {
            let mut frames = Frames::of_server();
            let (first, second) = wire.split_at(at);
            frames.push(first, |_| {});
            let mut found = Vec::new();
            frames.push(second, |seen| found.push(seen));
            let place = 13usize.checked_sub(at);
            assert_eq!(found.last(), Some(&Seen::Nothing(place)), "split at {at}");
        }
    }

    proptest! {
        #[test]
        fn every_frame_is_found_once(script in any::<Vec<u8>>(), size in 1..70usize, of_client: bool) {
            oracle::check(&script, size, of_client);
        }
    }
}

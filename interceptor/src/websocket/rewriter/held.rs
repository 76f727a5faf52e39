//! The frames of a message as they came.

use crate::websocket::{
    frame::{self, Header, Opcode, Sender},
    mask,
};

/// Fragments that are held, without the one that is still coming.
#[derive(Default)]
pub(super) struct Held(Vec<u8>);

/// What a message's first frame says of all of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) binary: bool,
    pub(super) compressed: bool,
}

/// A frame of a passed or streamed message of which not all has come.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) fin: bool,
    pub(super) mask: [u8; 4],
    /// Payload that has come.
    pub(super) offset: usize,
    /// Payload to come.
    pub(super) left: u64,
}

impl Held {
    pub(super) fn push(&mut self, fragment: &[u8]) {
        self.0.extend_from_slice(fragment);
    }

    /// The frames, which are held no longer.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// Appends the payload of all frames to `out`.
    pub(super) fn unmask(&self, out: &mut Vec<u8>) {
        let mut rest = self.0.as_slice();
        while !rest.is_empty() {
            rest = unmask_next(rest, out);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes of memory in use.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.0.capacity()
    }
}

/// Appends the payload of the data frame that `frames` begin with, as far as it is there, and returns what follows.
pub(super) fn unmask_next<'f>(frames: &'f [u8], out: &mut Vec<u8>) -> &'f [u8] {
    // Held frames were parsed before: RSV1 is no more a question.
    let Ok(Some(header)) = Header::parse(frames, Sender::Client, true) else {
        return &[];
    };
    let (frame, after) = frames.split_at(header.total().min(frames.len()));
    if !header.opcode.is_control() {
        let payload = frame.get(header.size..).unwrap_or_default();
        mask::copy(header.mask, 0, payload, out);
    }
    after
}

impl Kind {
    /// Of a message whose first frame begins with this byte.
    pub(super) fn of(first: u8) -> Self {
        Self {
            binary: first & 0x0f == Opcode::Binary as u8,
            compressed: first & frame::RSV1 != 0,
        }
    }

    pub(super) fn opcode(self) -> Opcode {
        if self.binary {
            Opcode::Binary
        } else {
            Opcode::Text
        }
    }

    /// A message that begins like this is read as JSON. A binary one without a byte is not, nor one that begins with white
    /// space: no client writes any there, and a line feed begins a Protocol Buffers message with the field 1.
    pub(super) fn is_json(self, text: &[u8]) -> bool {
        !self.binary || matches!(text, [b'{' | b'[', ..])
    }
}

impl Frame {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            fin: header.fin,
            mask: header.mask,
            offset: 0,
            left: header.length,
        }
    }

    /// So much of `available` belongs to the frame.
    pub(super) fn clamp(&self, available: usize) -> usize {
        usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(available)
    }

    pub(super) fn take(&mut self, taken: usize) {
        self.offset = (self.offset + taken) % 4;
        self.left -= taken as u64;
    }
}

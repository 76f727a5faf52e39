//! Frames of ours on their way out.

use zeroize::Zeroize as _;

use crate::websocket::{
    filter::Stop,
    frame::{self, Opcode},
    mask,
};

/// Frames that we made and that have not all gone.
#[derive(Default)]
pub(in crate::websocket) struct Outbox {
    pub(in crate::websocket) bytes: Vec<u8>,
    written: usize,
    secret: bool,
}

impl Outbox {
    /// Appends a frame with a fresh mask.
    pub(super) fn put(
        &mut self,
        fin: bool,
        opcode: Opcode,
        text: &[u8],
        secret: bool,
    ) -> Result<(), Stop> {
        let mask = mask::fresh()?;
        self.bytes.reserve(frame::HEADER_MAX + text.len());
        frame::put_header(&mut self.bytes, fin, opcode, Some(mask), text.len());
        mask::copy(mask, 0, text, &mut self.bytes);
        self.secret |= secret;
        Ok(())
    }

    /// Appends a server's frame, which has no mask.
    pub(in crate::websocket) fn put_plain(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) {
        self.bytes.reserve(frame::HEADER_MAX + payload.len());
        frame::put_header(&mut self.bytes, fin, opcode, None, payload.len());
        self.bytes.extend_from_slice(payload);
    }

    pub(in crate::websocket) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(in crate::websocket) fn left(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    pub(in crate::websocket) fn took(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= self.bytes.len() {
            if self.secret {
                // Masked, but with the mask beside it.
                self.bytes.zeroize();
            }
            *self = Self::default();
        }
    }
}

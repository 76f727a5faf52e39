//! A part of a body on its way to a socket.

use bytes::{Buf, Bytes};
use tokio::sync::oneshot;

/// Bytes of a body, or a mark behind them.
#[derive(Debug, Default)]
pub(super) struct Piece {
    bytes: Bytes,
    /// Told by being dropped.
    _passed: Option<oneshot::Sender<()>>,
}

impl Piece {
    /// An empty one, and what resolves once it was written: all that was queued before it was too.
    pub(super) fn mark() -> (Self, oneshot::Receiver<()>) {
        Self::tracked(Bytes::new())
    }

    /// One with these bytes, and what resolves once they were written.
    pub(super) fn tracked(bytes: Bytes) -> (Self, oneshot::Receiver<()>) {
        let (passed, seen) = oneshot::channel();
        let piece = Self {
            bytes,
            _passed: Some(passed),
        };
        (piece, seen)
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            _passed: None,
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.bytes.copy_to_bytes(length)
    }
}

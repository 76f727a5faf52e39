//! The window of a client that goes on using it from message to message.

use crate::websocket::inflate::History;

/// How a client compresses, and with it what its messages may refer to.
#[derive(Default)]
pub(super) struct Window {
    /// `None`: each message stands alone.
    history: Option<History>,
    /// A compressed message reached the server uncompressed, so that the server's window is no longer the client's: no
    /// compressed message may reach it any more.
    out_of_step: bool,
}

impl Window {
    /// Of a client whose messages refer to each other.
    pub(super) fn kept() -> Self {
        Self {
            history: Some(History::default()),
            out_of_step: false,
        }
    }

    /// What the next compressed message may refer to.
    pub(super) fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    pub(super) fn is_kept(&self) -> bool {
        self.history.is_some()
    }

    pub(super) fn is_out_of_step(&self) -> bool {
        self.out_of_step
    }

    /// A compressed message goes uncompressed.
    pub(super) fn miss(&mut self) {
        self.out_of_step = self.is_kept();
    }

    /// A compressed message is complete, and the next may refer to this.
    pub(super) fn replace(&mut self, behind: Option<History>) {
        if behind.is_some() {
            self.history = behind;
        }
    }

    /// More of a compressed message's text has come.
    pub(super) fn push(&mut self, text: &[u8]) {
        if let Some(history) = &mut self.history {
            history.push(text);
        }
    }

    /// A compressed message ended with a last block of its own.
    pub(super) fn clear(&mut self) {
        if let Some(history) = &mut self.history {
            history.clear();
        }
    }

    /// Bytes of memory in use.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.history.as_ref().map_or(0, History::buffered)
    }
}

//! What a client compressed last, to which its next message may refer.

/// The largest window of deflate (RFC 1951 §2): a client that was told a smaller one refers to less.
const WINDOW: usize = 32 * 1024;

/// The text of a client's compressed messages, as it was before anything was put in: its last 32 KiB.
#[derive(Clone, Default)]
pub(crate) struct History(Vec<u8>);

impl History {
    pub(crate) fn push(&mut self, text: &[u8]) {
        let text = text.split_at(text.len().saturating_sub(WINDOW)).1;
        let over = (self.0.len() + text.len()).saturating_sub(WINDOW);
        self.0.drain(..over);
        let room = (self.0.len() + text.len()).next_power_of_two();
        self.0.reserve_exact(room - self.0.len());
        self.0.extend_from_slice(text);
    }

    /// A last block (BFINAL) ends it: the sender begins anew behind one, and so do receivers.
    pub(crate) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.0
    }

    /// Bytes of memory in use.
    #[cfg(test)]
    pub(crate) fn buffered(&self) -> usize {
        self.0.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_what_was_pushed_is_kept_in_bounded_memory() {
        let all: Vec<u8> = (0..100_000_u32).map(|n| (n >> 3) as u8).collect();
        for size in [1, 100, 5000, WINDOW - 1, WINDOW, WINDOW + 1, all.len()] {
            let mut history = History::default();
            for chunk in all.chunks(size) {
                history.push(chunk);
                assert!(history.buffered() <= WINDOW);
            }
            assert!(history.text() == &all[all.len() - WINDOW..], "{size}");
            history.clear();
            assert_eq!((history.text(), history.buffered()), (&[][..], 0));
        }
    }
}

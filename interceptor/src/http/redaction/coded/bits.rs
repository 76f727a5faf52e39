//! Bits of a stream that comes in pieces, the lowest of each byte first (RFC 1951 §3.1.1).

/// Reads ahead by up to 8 bytes, and knows how far it has come all the same.
#[derive(Debug, Default)]
pub(super) struct Bits {
    ahead: u64,
    /// Bits in `ahead`.
    count: u32,
    /// Bytes that were read, those ahead too.
    read: u64,
}

impl Bits {
    /// Reads ahead as far as there is room: then at least 56 bits are there, if there is that much input.
    pub(super) fn fill(&mut self, input: &mut &[u8]) {
        while self.count <= 56
            && let Some((&byte, rest)) = input.split_first()
        {
            self.ahead |= u64::from(byte) << self.count;
            self.count += 8;
            self.read += 1;
            *input = rest;
        }
    }

    /// The bits that are there, and how many they are.
    pub(super) fn ahead(&self) -> (u64, u32) {
        (self.ahead, self.count)
    }

    /// `count` bits, at most 32, if they are there.
    pub(super) fn take(&mut self, count: u32, input: &mut &[u8]) -> Option<u32> {
        if self.count < count {
            self.fill(input);
        }
        if self.count < count {
            return None;
        }
        let bits = self.ahead & ((1 << count) - 1);
        self.skip(count);
        // At most 32 of them.
        u32::try_from(bits).ok()
    }

    /// Drops bits that are there.
    pub(super) fn skip(&mut self, count: u32) {
        self.ahead = self.ahead.checked_shr(count).unwrap_or(0);
        self.count = self.count.saturating_sub(count);
    }

    /// Drops what is left of the byte that is being read.
    pub(super) fn align(&mut self) {
        self.skip(self.count % 8);
    }

    /// So many bytes were taken past this. To be called only with nothing read ahead.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.read += bytes as u64;
    }

    /// Bits that were taken or dropped.
    pub(super) fn position(&self) -> u64 {
        self.read * 8 - u64::from(self.count)
    }
}

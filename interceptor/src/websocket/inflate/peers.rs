//! The two ends of permessage-deflate that tests and fuzzers play.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "only tests and fuzzers are built with it"
)]

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status, Strategy};

use super::TAIL;

/// A client's side.
pub(crate) struct Compressor(Deflate);

/// A server's side, with a window that goes on from message to message.
pub(crate) struct Decompressor(Inflate);

impl Compressor {
    /// `bits`: of the window, 8 to 15.
    pub(crate) fn new(bits: u8) -> Self {
        // Nothing can be repeated over a window too small for the library if nothing is repeated at all.
        let strategy = match bits {
            8 => Strategy::HuffmanOnly,
            _ => Strategy::Default,
        };
        Self(Deflate::new_with_config(DeflateConfig {
            window_bits: -i32::from(bits.clamp(9, 15)),
            strategy,
            ..DeflateConfig::default()
        }))
    }

    /// A message's payload. Its window goes on to the next.
    pub(crate) fn message(&mut self, text: &[u8]) -> Vec<u8> {
        if text.is_empty() {
            // Nothing to flush: RFC 7692 §7.2.3.6.
            return vec![0];
        }
        let mut out = self.flush(text, DeflateFlush::SyncFlush);
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    /// What `text` comes to with `flush` behind it.
    pub(crate) fn flush(&mut self, text: &[u8], flush: DeflateFlush) -> Vec<u8> {
        let mut out = vec![0; text.len() + text.len() / 8 + 1024];
        let (taken, made) = (self.0.total_in(), self.0.total_out());
        self.0.compress(text, &mut out, flush).unwrap();
        assert_eq!(self.0.total_in() - taken, text.len() as u64);
        out.truncate((self.0.total_out() - made) as usize);
        out
    }
}

impl Decompressor {
    pub(crate) fn new() -> Self {
        Self(Inflate::new(false, 15))
    }

    /// A message's text; `None` if it cannot be had.
    pub(crate) fn message(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let payload = [payload, &TAIL].concat();
        let mut rest = payload.as_slice();
        let mut text = Vec::new();
        let mut room = vec![0; 64 * 1024];
        loop {
            let (taken, made) = (self.0.total_in(), self.0.total_out());
            let status = self
                .0
                .decompress(rest, &mut room, InflateFlush::SyncFlush)
                .ok()?;
            rest = &rest[(self.0.total_in() - taken) as usize..];
            let made = (self.0.total_out() - made) as usize;
            text.extend_from_slice(&room[..made]);
            if status == Status::StreamEnd {
                self.0.reset(false);
                return Some(text);
            }
            if rest.is_empty() && made < room.len() {
                return Some(text);
            }
        }
    }
}

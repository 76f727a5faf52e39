//! What servers compress: permessage-deflate (RFC 7692) in both directions, and Discord's `compress=zlib-stream` from
//! server to client. Written apart from the product's codec, so that one can find the other's mistakes.

use std::fmt;

use anyhow::{Context as _, Result, anyhow, ensure};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

/// Ends a message's last block; its sender takes it off (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// permessage-deflate as agreed on one connection.
pub(super) struct PerMessage {
    inflate: Inflate,
    deflate: Deflate,
    /// Each message of the server stands alone.
    stands_alone: bool,
    /// What the server answers to the offer.
    answer: String,
}

impl fmt::Debug for PerMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PerMessage").field(&self.answer).finish()
    }
}

impl PerMessage {
    /// Accepts the first offer of permessage-deflate, with what it demands of the server (§7.1.1.1, §7.1.2.1).
    pub(super) fn accept(offers: &str) -> Option<Self> {
        let offer = offers
            .split(',')
            .map(str::trim)
            .find(|offer| offer.split(';').next().map(str::trim) == Some("permessage-deflate"))?;
        let mut answer = String::from("permessage-deflate");
        let mut stands_alone = false;
        let mut bits = 15;
        for parameter in offer.split(';').skip(1).map(str::trim) {
            if parameter == "server_no_context_takeover" {
                stands_alone = true;
            } else if let Some(most) = parameter.strip_prefix("server_max_window_bits=") {
                bits = most.trim_matches('"').parse::<i32>().ok()?;
            } else {
                // The client's own; an answer need not repeat them.
                continue;
            }
            answer.push_str("; ");
            answer.push_str(parameter);
        }
        // zlib has no window of 8 bits.
        (9..=15).contains(&bits).then(|| Self {
            inflate: Inflate::new(false, 15),
            deflate: Deflate::new_with_config(DeflateConfig {
                window_bits: -bits,
                ..DeflateConfig::default()
            }),
            stands_alone,
            answer,
        })
    }

    pub(super) fn answer(&self) -> &str {
        &self.answer
    }

    /// The text of a client's message, whose window goes on from message to message.
    pub(super) fn inflate(&mut self, payload: &[u8]) -> Result<Vec<u8>> {
        let whole = [payload, &TAIL].concat();
        let mut rest = whole.as_slice();
        let mut text = Vec::new();
        let mut room = vec![0; 64 * 1024];
        loop {
            let (taken, made) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(rest, &mut room, InflateFlush::SyncFlush)
                .map_err(|error| anyhow!("a message does not inflate: {}", error.as_str()))?;
            ensure!(status != Status::StreamEnd, "a message ends its stream");
            let taken = usize::try_from(self.inflate.total_in() - taken)?;
            let made = usize::try_from(self.inflate.total_out() - made)?;
            rest = rest.get(taken..).unwrap_or_default();
            text.extend_from_slice(room.get(..made).unwrap_or_default());
            if rest.is_empty() && made < room.len() {
                return Ok(text);
            }
        }
    }

    /// The payload of a message from the server.
    pub(super) fn deflate(&mut self, text: &[u8]) -> Result<Vec<u8>> {
        if self.stands_alone {
            self.deflate.reset();
        }
        let mut payload = flush(&mut self.deflate, text)?;
        let length = payload
            .len()
            .checked_sub(TAIL.len())
            .context("no flush marker")?;
        payload.truncate(length);
        Ok(payload)
    }
}

/// `compress=zlib-stream`: one zlib stream over all messages of the server
/// (<https://discord.com/developers/docs/events/gateway#transport-compression>).
pub(super) struct ZlibStream(Deflate);

impl fmt::Debug for ZlibStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZlibStream")
    }
}

impl ZlibStream {
    pub(super) fn new() -> Self {
        Self(Deflate::new(6, true, 15))
    }

    pub(super) fn deflate(&mut self, text: &[u8]) -> Result<Vec<u8>> {
        flush(&mut self.0, text)
    }
}

/// All of `text`, to the end of a block.
fn flush(deflate: &mut Deflate, text: &[u8]) -> Result<Vec<u8>> {
    let mut out = vec![0; text.len() + text.len() / 8 + 1024];
    let (taken, made) = (deflate.total_in(), deflate.total_out());
    deflate
        .compress(text, &mut out, DeflateFlush::SyncFlush)
        .map_err(|error| anyhow!("deflating: {}", error.as_str()))?;
    ensure!(
        deflate.total_in() - taken == text.len() as u64,
        "deflating left something over"
    );
    out.truncate(usize::try_from(deflate.total_out() - made)?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_answered_with_what_it_demands_of_the_server() {
        for (offer, answer) in [
            (
                "permessage-deflate; client_max_window_bits",
                Some("permessage-deflate"),
            ),
            (
                "x-other, permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
                Some("permessage-deflate; server_no_context_takeover; server_max_window_bits=10"),
            ),
            ("permessage-deflate; server_max_window_bits=8", None),
            ("x-webkit-deflate-frame", None),
        ] {
            let agreed = PerMessage::accept(offer);
            assert_eq!(agreed.as_ref().map(PerMessage::answer), answer, "{offer}");
        }
    }

    #[test]
    fn messages_of_both_directions_go_through() {
        let offer = "permessage-deflate; server_no_context_takeover";
        let mut server = PerMessage::accept(offer).unwrap();
        let mut client = Deflate::new_with_config(DeflateConfig {
            window_bits: -15,
            ..DeflateConfig::default()
        });
        let text = "grüße ".repeat(40_000);
        for _ in 0..3 {
            let mut payload = flush(&mut client, text.as_bytes()).unwrap();
            payload.truncate(payload.len() - TAIL.len());
            assert_eq!(server.inflate(&payload).unwrap(), text.as_bytes());
            // Standing alone, each can be read without those before.
            let mut reader = PerMessage::accept(offer).unwrap();
            let payload = server.deflate(text.as_bytes()).unwrap();
            assert_eq!(reader.inflate(&payload).unwrap(), text.as_bytes());
        }
    }
}

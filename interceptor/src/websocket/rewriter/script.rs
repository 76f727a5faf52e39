//! Plays a client that sends messages in every way there is, and compares what a server receives with an oracle.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "only tests and fuzzers are built with it"
)]

use std::sync::Arc;

use bytes::BytesMut;

use super::Rewriter;
use crate::{
    rewrite::{
        document::{Refusal, Rules},
        release::builder::release,
    },
    websocket::{
        Compression,
        filter::{Filter, Stop},
        frame::{self, Header, Sender},
        inflate::peers::Decompressor,
        mask,
    },
};

pub(crate) use crate::websocket::{frame::Opcode, inflate::peers::Compressor};

pub(crate) const PLACEHOLDER: &str = "openshell:resolve:env:T";
pub(crate) const SECRET: &str = "MTIz.real\"token";
pub(crate) const ESCAPED: &str = r#"MTIz.real\"token"#;

/// What a client sends.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Message {
        op: u8,
        token: String,
        /// A string beside the token.
        filler: String,
        /// Where fragments end, in hundredths of the payload.
        cuts: Vec<usize>,
        form: Form,
        /// `op` comes after `d`.
        guard_last: bool,
        /// Compressed, with a window of so many bits; if the client's messages refer to each other, with those of the
        /// script.
        window: Option<u8>,
    },
    Ping(Vec<u8>),
}

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    /// JSON in a binary message.
    Binary,
    /// A binary message in no known format.
    Opaque,
}

/// How a client compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// Each message by itself.
    None,
    /// With a window of so many bits that goes on from message to message.
    Kept(u8),
}

/// How its bytes arrive, and leave.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    /// Sizes of reads, over and over.
    pub(crate) reads: Vec<usize>,
    /// Most bytes that a write takes.
    pub(crate) write: usize,
    /// Does the client rest after a read? Over and over.
    pub(crate) rests: Vec<bool>,
}

/// A whole message or control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) opcode: Opcode,
    pub(crate) payload: Vec<u8>,
}

/// What a receiver makes of a stream.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) messages: Vec<Seen>,
    pub(crate) controls: Vec<Seen>,
    /// Lengths of the data frames.
    pub(crate) lengths: Vec<u64>,
    /// A message or a frame was not complete.
    pub(crate) cut_off: bool,
}

pub(crate) fn rules() -> Option<Arc<Rules>> {
    let release = release()
        .discord("T", SECRET.as_bytes())
        .elsewhere("OTHER")
        .build();
    Rules::for_messages(Arc::new(release))
}

/// Each message of the client stands alone.
pub(crate) const ALONE: Option<Compression> = Some(Compression {
    client_alone: true,
    server_alone: false,
});

/// The client's messages refer to each other.
pub(crate) const LEANING: Option<Compression> = Some(Compression {
    client_alone: false,
    server_alone: false,
});

pub(crate) fn rewriter() -> Rewriter {
    Rewriter::new(BytesMut::new(), rules(), ALONE, Arc::default())
}

/// For a client whose messages refer to each other.
pub(crate) fn following_rewriter() -> Rewriter {
    Rewriter::new(BytesMut::new(), rules(), LEANING, Arc::default())
}

/// Sends `script` through a rewriter and compares what comes out with what should.
pub(crate) fn check(script: &[Sent], timing: &Timing, takeover: Takeover) {
    let (mut rewriter, mut compressor) = match takeover {
        Takeover::None => (rewriter(), None),
        Takeover::Kept(bits) => (following_rewriter(), Some(Compressor::new(bits))),
    };
    let frames = script.iter().flat_map(|sent| sent.frames(&mut compressor));
    let stream: Vec<u8> = frames.collect();
    let (out, result) = play_through(&mut rewriter, &stream, timing);
    let mut received = receive(&out);
    let mut messages: Vec<_> = script.iter().filter_map(Sent::expected).collect();
    match result {
        Ok(()) => assert!(!received.cut_off),
        Err(stop) => {
            // A client that rests before its guard may not get its secret.
            assert_eq!(stop, Stop::Refused(Refusal::GuardUnseen));
            let mut sent = script
                .iter()
                .filter(|sent| matches!(sent, Sent::Message { .. }));
            let refused = sent.nth(received.messages.len());
            assert!(matches!(
                refused,
                Some(Sent::Message {
                    guard_last: true,
                    ..
                })
            ));
            messages.truncate(received.messages.len());
            received.controls.clear();
        }
    }
    assert!(received.messages == messages, "{script:?}");
    if result.is_ok() {
        let pings = script.iter().filter(|sent| matches!(sent, Sent::Ping(_)));
        assert_eq!(received.controls.len(), pings.count());
    }
}

/// Sends a stream of bytes through a rewriter.
pub(crate) fn play(stream: &[u8], timing: &Timing) -> (Vec<u8>, Result<(), Stop>) {
    play_through(&mut rewriter(), stream, timing)
}

fn play_through(
    rewriter: &mut Rewriter,
    stream: &[u8],
    timing: &Timing,
) -> (Vec<u8>, Result<(), Stop>) {
    // Byte by byte over 100 KiB is slow and shows nothing new.
    let least = stream.len() / 5000;
    let write = timing.write.max(least);
    let mut out = Vec::new();
    let mut rest = stream;
    for (read, rests) in timing.reads.iter().cycle().zip(timing.rests.iter().cycle()) {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at((*read).max(least).max(1).min(rest.len()));
        rest = after;
        rewriter.input().extend_from_slice(chunk);
        let mut result = drain(rewriter, &mut out, write);
        if *rests && result.is_ok() {
            result = rewriter.on_rest();
        }
        let result = result.and_then(|()| drain(rewriter, &mut out, write));
        if result.is_err() {
            return (out, result);
        }
    }
    (out, Ok(()))
}

/// Takes the output in pieces of at most `size`.
pub(crate) fn drain(
    rewriter: &mut impl Filter,
    out: &mut Vec<u8>,
    size: usize,
) -> Result<(), Stop> {
    loop {
        let result = rewriter.process();
        let mut any = false;
        loop {
            let [first, second] = rewriter.output();
            let part = if first.is_empty() { second } else { first };
            if part.is_empty() {
                break;
            }
            any = true;
            let part = &part[..part.len().min(size)];
            out.extend_from_slice(part);
            let length = part.len();
            rewriter.written(length);
        }
        result?;
        if !any {
            return Ok(());
        }
    }
}

/// Reads a client's frames with fresh eyes, up to a Close.
pub(crate) fn receive(stream: &[u8]) -> Received {
    receive_from(Sender::Client, stream)
}

pub(crate) fn receive_from(sender: Sender, mut stream: &[u8]) -> Received {
    let mut received = Received::default();
    let mut open: Option<Seen> = None;
    let mut compressed = false;
    // Nobody told the server that messages stand alone.
    let mut inflate = Decompressor::new();
    while let Some(header) = Header::parse(stream, sender, true).unwrap() {
        if header.total() > stream.len() {
            break;
        }
        let (frame, rest) = stream.split_at(header.total());
        stream = rest;
        let payload = frame
            .iter()
            .skip(header.size)
            .zip(header.mask.iter().cycle());
        let payload: Vec<u8> = payload.map(|(byte, mask)| byte ^ mask).collect();
        let opcode = header.opcode;
        if opcode.is_control() {
            received.controls.push(Seen { opcode, payload });
            if opcode == Opcode::Close {
                return received;
            }
            continue;
        }
        received.lengths.push(header.length);
        match (&mut open, opcode) {
            (Some(message), Opcode::Continuation) => message.payload.extend(payload),
            (None, Opcode::Text | Opcode::Binary) => {
                compressed = header.compressed;
                open = Some(Seen { opcode, payload });
            }
            other => panic!("{other:?}"),
        }
        if header.fin {
            if compressed && let Some(message) = &mut open {
                // What no server could read is still what was sent.
                message.payload = inflate.message(&message.payload).unwrap_or_default();
            }
            received.messages.extend(open.take());
        }
    }
    received.cut_off = !stream.is_empty() || open.is_some();
    received
}

/// A client's frame; each has a mask of its own.
pub(crate) fn client_frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mask = [payload.len() as u8, 0x5a, opcode as u8, 0];
    let mut out = Vec::new();
    frame::put_header(&mut out, fin, opcode, Some(mask), payload.len());
    mask::copy(mask, 0, payload, &mut out);
    out
}

/// A compressed text message in one frame.
pub(crate) fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut frame = client_frame(true, Opcode::Text, payload);
    if let Some(first) = frame.first_mut() {
        *first |= frame::RSV1;
    }
    frame
}

/// `payload` as a message in fragments that end at `cuts`.
pub(crate) fn fragments(payload: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut start = 0;
    for (index, end) in cuts.iter().chain([&payload.len()]).enumerate() {
        let opcode = if index == 0 {
            Opcode::Text
        } else {
            Opcode::Continuation
        };
        frames.push(client_frame(
            index == cuts.len(),
            opcode,
            payload.get(start..*end).unwrap(),
        ));
        start = *end;
    }
    frames
}

impl Sent {
    /// `leaning`: what a client compresses with whose messages refer to each other.
    fn frames(&self, leaning: &mut Option<Compressor>) -> Vec<u8> {
        match self {
            Self::Ping(payload) => client_frame(true, Opcode::Ping, payload),
            Self::Message {
                cuts, form, window, ..
            } => {
                let mut payload = self.payload().into_bytes();
                if let Some(bits) = window {
                    let mut alone = Compressor::new(*bits);
                    payload = leaning.as_mut().unwrap_or(&mut alone).message(&payload);
                }
                let mut cuts: Vec<_> = cuts.iter().map(|cut| cut * payload.len() / 100).collect();
                cuts.sort_unstable();
                let mut frames = fragments(&payload, &cuts).concat();
                if let Some(first) = frames.first_mut() {
                    if *form != Form::Text {
                        *first = *first & 0xf0 | 2;
                    }
                    if window.is_some() {
                        *first |= frame::RSV1;
                    }
                }
                frames
            }
        }
    }

    fn payload(&self) -> String {
        let Self::Message {
            op,
            token,
            filler,
            form,
            guard_last,
            ..
        } = self
        else {
            return String::new();
        };
        let filler = serde_json::to_string(filler).unwrap();
        let d = format!(r#""d":{{"token":"{token}","x":{filler}}}"#);
        let lead = match form {
            Form::Text | Form::Binary => "",
            Form::Opaque => "\u{8}",
        };
        if *guard_last && filler.len() < 10_000 {
            format!(r#"{lead}{{{d},"op":{op}}}"#)
        } else {
            format!(r#"{lead}{{"op":{op},{d}}}"#)
        }
    }

    /// The message that the server should see.
    fn expected(&self) -> Option<Seen> {
        let Self::Message { op, form, .. } = self else {
            return None;
        };
        let mut payload = self.payload();
        if *form != Form::Opaque && matches!(op, 2 | 6) {
            let unbound = format!(r#""token":"{PLACEHOLDER}""#);
            payload = payload.replacen(&unbound, &format!(r#""token":"{ESCAPED}""#), 1);
        }
        let opcode = match form {
            Form::Text => Opcode::Text,
            Form::Binary | Form::Opaque => Opcode::Binary,
        };
        let payload = payload.into_bytes();
        Some(Seen { opcode, payload })
    }
}

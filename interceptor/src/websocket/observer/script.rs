//! A server that repeats secrets, for tests and fuzzers: what it says, and what its client should read.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "only tests and fuzzers are built with it"
)]

use std::sync::Arc;

use bytes::BytesMut;

use super::{Observer, stream::fill};
use crate::{
    rewrite::reflection::{
        Fill, Lookout,
        oracle::{oracle, reflection},
    },
    stats::connection::Connection,
    websocket::{
        filter::{Filter as _, Stop},
        frame::{Opcode, RSV1, Sender, put_header},
        inflate::peers::Compressor,
        script::{Seen, Timing, drain, receive_from},
    },
};

/// What the server says.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Ping(Vec<u8>),
    Message {
        text: Vec<u8>,
        binary: bool,
        /// Where fragments end, in percent.
        cuts: Vec<usize>,
        /// Bits of the window that it was compressed with.
        window: Option<u8>,
    },
}

/// On a connection where every secret of the oracle was written.
pub(super) fn armed(stats: &Arc<Connection>) -> Observer {
    Observer::new(
        BytesMut::new(),
        true,
        Lookout::new(reflection()),
        stats.clone(),
    )
}

pub(crate) fn server_frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_header(&mut out, fin, opcode, None, payload.len());
    out.extend_from_slice(payload);
    out
}

/// Lets `script` through and compares what comes out with what should.
pub(crate) fn check(script: &[Said], timing: &Timing) {
    let stream: Vec<u8> = script.iter().flat_map(Said::frames).collect();
    let stats = Arc::default();
    let (out, result) = play(&mut armed(&stats), &stream, timing);
    assert_eq!(result, Ok(()));
    let received = receive_from(Sender::Server, &out);
    assert!(!received.cut_off, "{script:?}");
    let (mut messages, mut controls) = (Vec::new(), Vec::new());
    let mut unchanged = true;
    for said in script {
        let expected = said.expected();
        unchanged &= expected.payload == said.text();
        match said {
            Said::Ping(_) => controls.push(expected),
            Said::Message { .. } => messages.push(expected),
        }
    }
    assert!(received.messages == messages, "{script:?}");
    assert!(received.controls == controls, "{script:?}");
    assert_eq!(stats.redactions() == 0, unchanged, "{script:?}");
}

/// Lets a stream of bytes through.
pub(super) fn play(
    observer: &mut Observer,
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
        observer.input().extend_from_slice(chunk);
        let mut result = drain(observer, &mut out, write);
        if *rests && result.is_ok() {
            result = observer.on_rest();
        }
        let result = result.and_then(|()| drain(observer, &mut out, write));
        if result.is_err() {
            return (out, result);
        }
    }
    observer.end();
    let result = drain(observer, &mut out, write);
    (out, result)
}

impl Said {
    pub(crate) fn frames(&self) -> Vec<u8> {
        let Self::Message {
            text,
            binary,
            cuts,
            window,
        } = self
        else {
            return server_frame(true, Opcode::Ping, self.text());
        };
        let payload = match window {
            Some(bits) => Compressor::new(*bits).message(text),
            None => text.clone(),
        };
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut * payload.len() / 100).collect();
        cuts.sort_unstable();
        cuts.push(payload.len());
        let mut out = Vec::new();
        let mut start = 0;
        for (index, end) in cuts.iter().enumerate() {
            let opcode = match (index, binary) {
                (0, false) => Opcode::Text,
                (0, true) => Opcode::Binary,
                _ => Opcode::Continuation,
            };
            let fin = index == cuts.len() - 1;
            out.extend(server_frame(fin, opcode, payload.get(start..*end).unwrap()));
            start = *end;
        }
        if window.is_some()
            && let Some(first) = out.first_mut()
        {
            *first |= RSV1;
        }
        out
    }

    fn text(&self) -> &[u8] {
        match self {
            Self::Ping(text) | Self::Message { text, .. } => text,
        }
    }

    /// What the client should see.
    fn expected(&self) -> Seen {
        let text = self.text();
        let (opcode, fill) = match self {
            Self::Ping(_) => (Opcode::Ping, Fill::Same),
            Self::Message { binary: true, .. } => (Opcode::Binary, fill(Opcode::Binary, text)),
            Self::Message { .. } => (Opcode::Text, Fill::Free),
        };
        let payload = oracle(text, fill);
        Seen { opcode, payload }
    }
}

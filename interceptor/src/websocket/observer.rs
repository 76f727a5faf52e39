//! Server to client: passes frames on as they are, and looks at their headers.

use std::sync::Arc;

use bytes::{Buf as _, BytesMut};

use super::{
    close,
    filter::{Filter, Stop},
    frame::{Header, Opcode, Sender, Sequence},
};
use crate::stats::connection::{Connection, Direction};

/// Counts messages and sees the Close. Holds back nothing but a header that is not all there.
pub(super) struct Observer {
    /// permessage-deflate was negotiated.
    deflate: bool,
    stats: Arc<Connection>,
    input: BytesMut,
    /// Bytes at the front of `input` that are cleared.
    ready: usize,
    sequence: Sequence,
    frame: Option<Frame>,
    closed: Option<Option<u16>>,
    stopped: bool,
}

/// A frame of which not all has come.
struct Frame {
    opcode: Opcode,
    fin: bool,
    left: u64,
    /// The first two bytes of the payload.
    start: Vec<u8>,
}

impl Observer {
    /// `input`: what has come already.
    pub(super) fn new(input: BytesMut, deflate: bool, stats: Arc<Connection>) -> Self {
        Self {
            deflate,
            stats,
            input,
            ready: 0,
            sequence: Sequence::default(),
            frame: None,
            closed: None,
            stopped: false,
        }
    }

    fn step(&mut self) -> Result<bool, Stop> {
        let unread = self.input.get(self.ready..).unwrap_or_default();
        if let Some(frame) = &mut self.frame {
            let taken = usize::try_from(frame.left)
                .unwrap_or(usize::MAX)
                .min(unread.len());
            if frame.opcode == Opcode::Close {
                frame.start.extend(unread.iter().take(taken));
            }
            self.ready += taken;
            frame.left -= taken as u64;
            if frame.left > 0 {
                return Ok(false);
            }
            match frame.opcode {
                Opcode::Close => self.closed = Some(close::code(&frame.start)),
                Opcode::Continuation | Opcode::Text | Opcode::Binary if frame.fin => {
                    self.stats.count_message(Direction::ServerToClient);
                }
                _ => {}
            }
            self.frame = None;
            return Ok(true);
        }
        if self.stopped {
            self.input.truncate(self.ready);
            return Ok(false);
        }
        if self.closed.is_some() {
            self.ready = self.input.len();
            return Ok(false);
        }
        let Some(header) = Header::parse(unread, Sender::Server, self.deflate)? else {
            return Ok(false);
        };
        self.sequence.check(&header)?;
        self.sequence.follow(&header);
        self.ready += header.size;
        self.frame = Some(Frame {
            opcode: header.opcode,
            fin: header.fin,
            left: header.length,
            start: Vec::new(),
        });
        Ok(true)
    }
}

impl Filter for Observer {
    fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    fn process(&mut self) -> Result<(), Stop> {
        while self.step()? {}
        Ok(())
    }

    fn output(&self) -> [&[u8]; 2] {
        [self.input.get(..self.ready).unwrap_or_default(), &[]]
    }

    fn written(&mut self, bytes: usize) {
        let bytes = bytes.min(self.ready);
        self.input.advance(bytes);
        self.ready -= bytes;
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn at_boundary(&self) -> bool {
        self.frame.is_none() && self.closed.is_none()
    }

    fn relax(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    fn closed(&self) -> Option<Option<u16>> {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::frame::{Violation, put_header};

    fn server_frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_header(&mut out, fin, opcode, None, payload.len());
        out.extend_from_slice(payload);
        out
    }

    fn stream() -> Vec<u8> {
        [
            server_frame(true, Opcode::Text, b"one"),
            server_frame(false, Opcode::Binary, &[7; 300]),
            server_frame(true, Opcode::Ping, b"now"),
            server_frame(true, Opcode::Continuation, b""),
            server_frame(true, Opcode::Text, b""),
            server_frame(true, Opcode::Close, b"\x0f\xa4bad token"),
            b"late data".to_vec(),
        ]
        .concat()
    }

    fn drain(observer: &mut Observer, out: &mut Vec<u8>) {
        let [ready, none] = observer.output();
        assert!(none.is_empty());
        out.extend_from_slice(ready);
        let length = ready.len();
        observer.written(length);
    }

    #[test]
    fn stream_passes_unchanged_and_is_counted_however_it_is_split() {
        let stream = stream();
        for size in 1..=stream.len() {
            let stats = Arc::new(Connection::default());
            let mut observer = Observer::new(BytesMut::new(), true, stats.clone());
            let mut out = Vec::new();
            for chunk in stream.chunks(size) {
                observer.input().extend_from_slice(chunk);
                observer.process().unwrap();
                drain(&mut observer, &mut out);
                assert!(observer.input.len() < 10, "only a header may wait");
            }
            assert_eq!(out, stream, "{size}");
            assert_eq!(stats.messages(Direction::ServerToClient), 3);
            assert_eq!(observer.closed(), Some(Some(4004)));
        }
    }

    #[test]
    fn nothing_from_a_violation_on_is_passed() {
        let good = server_frame(true, Opcode::Text, b"good");
        let bad = server_frame(true, Opcode::Continuation, b"bad");
        let input = [good.as_slice(), &bad].concat();
        let mut observer = Observer::new(input.as_slice().into(), true, Arc::default());
        let stop = observer.process().unwrap_err();
        assert_eq!(stop, Stop::Violation(Violation::StrayContinuation));
        assert_eq!(observer.output()[0], good);
        assert!(observer.at_boundary());
    }

    #[test]
    fn stopped_stream_ends_with_its_frame() {
        let frames = [
            server_frame(true, Opcode::Text, b"first"),
            server_frame(true, Opcode::Text, b"second"),
        ];
        let stream = frames.concat();
        let mut observer = Observer::new(stream.get(..4).unwrap().into(), true, Arc::default());
        observer.process().unwrap();
        assert!(!observer.at_boundary());
        observer.stop();
        observer.input().extend_from_slice(&stream[4..]);
        observer.process().unwrap();
        assert!(observer.at_boundary());
        assert_eq!(observer.output()[0], frames[0]);
    }
}

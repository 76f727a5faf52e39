//! Server to client: passes frames on as they are, and looks at their headers. Once a secret was written on the
//! connection, also at what is in them, so that no secret comes back: see `rewrite::reflection`.
//!
//! Until then nothing is held back but a header that is not all there. From then on:
//! 1. Control frames go on at once, between fragments too. A secret in one is overwritten where it stands.
//! 2. A message in one frame that is all here goes on byte for byte if there is no secret in it, else as one new frame.
//! 3. Any other message is held as it came, up to [`HOLD`]: see the rewriter, which does the same the other way. When it
//!    is complete, it is treated like 2, and keeps its fragmentation if nothing was replaced.
//! 4. A message longer than that is streamed in new fragments of at least [`FRAGMENT_MIN`]. So is a held message whose
//!    sender rests for [`REST`](super::rewriter::REST) after a fragment; then only what may be the beginning of a secret
//!    waits for more.
//! 5. A compressed message is inflated to be searched. It goes on as it came if there is no secret in it, else
//!    uncompressed.
//! 6. Of a message that was passing when the first secret was written, a frame that is not all here keeps its length: a
//!    secret in it is overwritten, and so is what may be the first 8 bytes or more of one at its end. What follows is
//!    streamed. One that is compressed passes to its end.
//!
//! In text and in JSON the placeholder stands where the secret stood; in any other binary message as much of it as there
//! is room for, filled up with `*`, so that a format that counts its bytes stays right.

mod stream;

use std::sync::Arc;

use bytes::{Buf as _, BytesMut};

use self::stream::{Stream, Told, fill, look_through};
use super::{
    close,
    filter::{Filter, Stop},
    frame::{Header, Opcode, Sender, Sequence},
    rewriter::{FRAGMENT_MIN, HOLD, outbox::Outbox},
};
use crate::{
    rewrite::reflection::{Fill, Lookout, Patterns, Redactor},
    stats::connection::{Connection, Direction},
};

/// Counts messages, sees the Close, and puts placeholders back.
pub(super) struct Observer {
    /// permessage-deflate was negotiated.
    deflate: bool,
    lookout: Lookout,
    stats: Arc<Connection>,
    input: BytesMut,
    /// Bytes at the front of `input` that are cleared.
    ready: usize,
    /// What we made, cleared after `ready`.
    out: Outbox,
    sequence: Sequence,
    message: Message,
    /// The frame of a passed, overwritten or streamed message, or a control frame, of which not all has come.
    frame: Option<Frame>,
    /// The fragments of a held message as they came, without the one that is still coming.
    held: Vec<u8>,
    /// Payload or text that is looked at.
    scratch: Vec<u8>,
    closed: Option<Option<u16>>,
    /// For what comes behind a Close.
    tail: Option<Redactor>,
    stopped: bool,
}

/// What is done with the message that is coming.
enum Message {
    /// There is none.
    None,
    Passed {
        opcode: Opcode,
        compressed: bool,
    },
    /// In the middle of a frame, whose length has gone out.
    Overwritten {
        opcode: Opcode,
        redactor: Redactor,
    },
    Held,
    Streamed(Box<Stream>),
}

/// A frame of which not all has come.
struct Frame {
    opcode: Opcode,
    fin: bool,
    left: u64,
    /// The first two bytes of a Close's payload.
    start: Vec<u8>,
}

impl Observer {
    /// `input`: what has come already.
    pub(super) fn new(
        input: BytesMut,
        deflate: bool,
        lookout: Lookout,
        stats: Arc<Connection>,
    ) -> Self {
        Self {
            deflate,
            lookout,
            stats,
            input,
            ready: 0,
            out: Outbox::default(),
            sequence: Sequence::default(),
            message: Message::None,
            frame: None,
            held: Vec::new(),
            scratch: Vec::new(),
            closed: None,
            tail: None,
            stopped: false,
        }
    }

    /// [`on_rest`](Self::on_rest) wants to be called when nothing has come for a while.
    pub(super) fn awaits_rest(&self) -> bool {
        match &self.message {
            _ if self.ready > 0 || !self.out.is_empty() => false,
            Message::Held => true,
            Message::Streamed(stream) => {
                self.frame.is_none() && !stream.is_behind() && !stream.staged.is_empty()
            }
            Message::None | Message::Passed { .. } | Message::Overwritten { .. } => false,
        }
    }

    /// The sender rests between two fragments: clears what can be.
    ///
    /// # Errors
    /// The stream ends here.
    pub(super) fn on_rest(&mut self) -> Result<(), Stop> {
        if !self.awaits_rest() || self.stopped {
            return Ok(());
        }
        if matches!(self.message, Message::Held)
            && let Some(patterns) = self.patterns()
        {
            self.begin_stream(&patterns);
        }
        self.emit(false);
        Ok(())
    }

    /// `None` as long as no secret was written on this connection.
    fn patterns(&mut self) -> Option<Arc<Patterns>> {
        self.lookout.patterns().cloned()
    }

    fn step(&mut self) -> Result<bool, Stop> {
        if let Message::Streamed(stream) = &self.message
            && stream.is_behind()
        {
            return self.inflate();
        }
        if self.frame.is_some() {
            return Ok(match self.message {
                Message::Streamed(_) => self.stream(),
                Message::Overwritten { .. } => self.overwrite(),
                Message::None | Message::Passed { .. } | Message::Held => self.pass(),
            });
        }
        if self.stopped {
            self.input.truncate(self.ready);
            return Ok(false);
        }
        if self.closed.is_some() {
            self.trail();
            return Ok(false);
        }
        let patterns = self.patterns();
        let Some(header) = Header::parse(self.unread(), Sender::Server, self.deflate)? else {
            return Ok(patterns.is_some_and(|patterns| self.wait(&patterns)));
        };
        self.sequence.check(&header)?;
        match (&self.message, patterns) {
            (_, Some(patterns)) if header.opcode.is_control() => {
                Ok(self.control(&header, &patterns))
            }
            (Message::None | Message::Held, Some(patterns)) => self.hold(&header, &patterns),
            (
                Message::Passed {
                    opcode,
                    compressed: false,
                },
                Some(patterns),
            ) => {
                let redactor = Redactor::new(&patterns, fill(*opcode, b""));
                let stream = Stream::caught(*opcode, redactor);
                self.message = Message::Streamed(Box::new(stream));
                Ok(true)
            }
            (Message::Streamed(_), _) => {
                if self.ready > 0 {
                    return Ok(false);
                }
                self.input.advance(header.size);
                self.open(&header);
                Ok(true)
            }
            (
                Message::None
                | Message::Held
                | Message::Passed { .. }
                | Message::Overwritten { .. },
                _,
            ) => {
                if !header.opcode.is_control() && header.opcode != Opcode::Continuation {
                    self.message = Message::Passed {
                        opcode: header.opcode,
                        compressed: header.compressed,
                    };
                }
                self.ready += header.size;
                self.open(&header);
                Ok(true)
            }
        }
    }

    /// What comes behind a Close is of no message.
    fn trail(&mut self) {
        let Some(patterns) = self.patterns() else {
            self.ready = self.input.len();
            return;
        };
        if self.ready == 0 {
            let late = self.input.split();
            let tail = self
                .tail
                .get_or_insert_with(|| Redactor::new(&patterns, Fill::Same));
            tail.arm(&patterns);
            tail.push(&late, &mut self.out.bytes);
        }
    }

    /// A control frame goes on as soon as it is all here, with its length.
    fn control(&mut self, header: &Header, patterns: &Patterns) -> bool {
        let total = self.ready + header.total();
        let Some(payload) = self.input.get_mut(self.ready + header.size..total) else {
            return false;
        };
        let code = if header.opcode == Opcode::Close {
            payload.len().min(2)
        } else {
            0
        };
        let found = patterns.overwrite(payload.get_mut(code..).unwrap_or_default());
        self.stats.count_redactions(found);
        if header.opcode == Opcode::Close {
            self.closed = Some(close::code(payload));
            // A message that was not complete never will be.
            self.message = Message::None;
            self.held = Vec::new();
        }
        self.ready = total;
        true
    }

    /// A frame of a message that is to be searched.
    fn hold(&mut self, header: &Header, patterns: &Arc<Patterns>) -> Result<bool, Stop> {
        let total = header.total();
        if total > self.unread().len() {
            return Ok(self.wait(patterns));
        }
        if header.fin && matches!(self.message, Message::None) {
            return self.search_frame(header, patterns);
        }
        if self.held.len() + total > HOLD {
            return Ok(self.begin_stream(patterns));
        }
        if self.ready > 0 {
            return Ok(false);
        }
        let fragment = self.input.split_to(total);
        self.held.extend_from_slice(&fragment);
        self.sequence.follow(header);
        self.message = Message::Held;
        if header.fin {
            self.search_held(patterns)?;
        }
        Ok(true)
    }

    /// The bytes that are here end inside a frame, or between two.
    fn wait(&mut self, patterns: &Arc<Patterns>) -> bool {
        let incomplete = matches!(self.message, Message::None | Message::Held);
        incomplete && self.held.len() + self.unread().len() >= HOLD && self.begin_stream(patterns)
    }

    /// A message in one frame, all here.
    fn search_frame(&mut self, header: &Header, patterns: &Arc<Patterns>) -> Result<bool, Stop> {
        let total = header.total();
        let payload = self.input.get(self.ready + header.size..self.ready + total);
        let payload = payload.unwrap_or_default();
        let told = if header.compressed {
            look_through(header.opcode, payload, &mut self.scratch, patterns)?
        } else {
            look_at(header.opcode, payload, patterns)
        };
        match told {
            Told::Nothing => {
                self.ready += total;
                self.end_message();
            }
            // What comes before it goes first.
            Told::Redacted(..) | Told::Long if self.ready > 0 => return Ok(false),
            Told::Redacted(text, found) => {
                self.input.advance(total);
                self.put_message(header.opcode, &text, found);
            }
            Told::Long => {
                let payload = payload.to_vec();
                self.input.advance(total);
                let stream = Stream::deflated(header.opcode, payload, true);
                self.message = Message::Streamed(Box::new(stream));
            }
        }
        Ok(true)
    }

    /// A message in fragments, all of them held.
    fn search_held(&mut self, patterns: &Arc<Patterns>) -> Result<(), Stop> {
        let held = std::mem::take(&mut self.held);
        let Some(first) = self.first_header(&held) else {
            return Ok(());
        };
        let payload = self.payload(&held);
        let told = if first.compressed {
            look_through(first.opcode, &payload, &mut self.scratch, patterns)?
        } else {
            look_at(first.opcode, &payload, patterns)
        };
        match told {
            Told::Nothing => {
                self.out.bytes = held;
                self.end_message();
            }
            Told::Redacted(text, found) => self.put_message(first.opcode, &text, found),
            Told::Long => {
                let stream = Stream::deflated(first.opcode, payload, true);
                self.message = Message::Streamed(Box::new(stream));
            }
        }
        Ok(())
    }

    fn put_message(&mut self, opcode: Opcode, text: &[u8], found: u64) {
        self.stats.count_redactions(found);
        self.out.put_plain(true, opcode, text);
        self.end_message();
    }

    fn first_header(&self, frames: &[u8]) -> Option<Header> {
        Header::parse(frames, Sender::Server, self.deflate)
            .ok()
            .flatten()
    }

    /// Of whole frames.
    fn payload(&self, frames: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(frames.len());
        let mut rest = frames;
        while let Some(header) = self.first_header(rest) {
            let (frame, after) = rest.split_at(header.total().min(rest.len()));
            payload.extend_from_slice(frame.get(header.size..).unwrap_or_default());
            rest = after;
        }
        payload
    }

    /// The message is too long to hold, or its sender too slow.
    fn begin_stream(&mut self, patterns: &Arc<Patterns>) -> bool {
        if self.ready > 0 {
            return false;
        }
        let first = if self.held.is_empty() {
            self.first_header(&self.input)
        } else {
            self.first_header(&self.held)
        };
        let Some(first) = first else {
            return false;
        };
        let held = std::mem::take(&mut self.held);
        let payload = self.payload(&held);
        let stream = if first.compressed {
            Stream::deflated(first.opcode, payload, false)
        } else {
            let mut stream = Stream::new(first.opcode);
            stream.push(&payload, patterns);
            stream
        };
        self.message = Message::Streamed(Box::new(stream));
        true
    }

    /// Takes the next piece of text out of a compressed, streamed message.
    fn inflate(&mut self) -> Result<bool, Stop> {
        let patterns = self.patterns();
        let (Message::Streamed(stream), Some(patterns)) = (&mut self.message, patterns) else {
            return Ok(false);
        };
        let last = stream.inflate(&mut self.scratch, &patterns)?;
        self.take_staged(last);
        Ok(true)
    }

    /// Takes what has come of a streamed message's frame.
    fn stream(&mut self) -> bool {
        let patterns = self.patterns();
        let (Message::Streamed(stream), Some(frame), Some(patterns)) =
            (&mut self.message, &mut self.frame, patterns)
        else {
            return false;
        };
        if self.ready > 0 || self.input.is_empty() && frame.left > 0 {
            return false;
        }
        let taken = frame.take(self.input.len().min(HOLD));
        let payload = self.input.split_to(taken);
        let (ends, last) = (frame.left == 0, frame.left == 0 && frame.fin);
        if ends {
            self.frame = None;
        }
        if let Some(deflated) = &mut stream.deflated {
            self.scratch.clear();
            self.scratch.extend_from_slice(&payload);
            deflated.refill(&mut self.scratch, last);
        } else {
            stream.push(&payload, &patterns);
            if last {
                stream.finish();
            }
            self.take_staged(last);
        }
        true
    }

    /// Makes a fragment of what is staged, if that is enough for one, or of the message's end.
    fn take_staged(&mut self, last: bool) {
        let Message::Streamed(stream) = &mut self.message else {
            return;
        };
        self.stats.count_redactions(stream.count());
        if last || stream.staged.len() >= FRAGMENT_MIN {
            self.emit(last);
        }
    }

    /// Makes a fragment of what is staged.
    fn emit(&mut self, last: bool) {
        let Message::Streamed(stream) = &mut self.message else {
            return;
        };
        if last || !stream.staged.is_empty() {
            let opcode = stream.next_opcode();
            self.out.put_plain(last, opcode, &stream.staged);
            stream.staged.clear();
        }
        if last {
            self.end_message();
        }
    }

    /// Takes what has come of a frame whose length has gone out.
    fn overwrite(&mut self) -> bool {
        let patterns = self.patterns();
        let (Message::Overwritten { opcode, redactor }, Some(frame), Some(patterns)) =
            (&mut self.message, &mut self.frame, patterns)
        else {
            return false;
        };
        if self.ready > 0 || self.input.is_empty() && frame.left > 0 {
            return false;
        }
        let taken = frame.take(self.input.len());
        let payload = self.input.split_to(taken);
        redactor.arm(&patterns);
        redactor.push(&payload, &mut self.out.bytes);
        let (ends, fin) = (frame.left == 0, frame.fin);
        match (ends, fin) {
            (false, _) => {}
            (true, true) => redactor.finish(&mut self.out.bytes),
            (true, false) => redactor.cut(fill(*opcode, b""), &mut self.out.bytes),
        }
        self.stats.count_redactions(redactor.count());
        if ends {
            self.frame = None;
            let message = std::mem::replace(&mut self.message, Message::None);
            match message {
                Message::Overwritten { opcode, redactor } if !fin => {
                    let stream = Stream::caught(opcode, redactor);
                    self.message = Message::Streamed(Box::new(stream));
                }
                _ => self.end_message(),
            }
        }
        true
    }

    /// Takes what has come of a frame that goes on as it is.
    fn pass(&mut self) -> bool {
        let unread = self.input.get(self.ready..).unwrap_or_default();
        let Some(frame) = &mut self.frame else {
            return false;
        };
        if let Message::Passed {
            opcode,
            compressed: false,
        } = self.message
            && !frame.opcode.is_control()
            && let Some(patterns) = self.lookout.patterns()
        {
            let redactor = Redactor::new(patterns, Fill::Same);
            self.message = Message::Overwritten { opcode, redactor };
            return true;
        }
        let taken = frame.take(unread.len());
        if frame.opcode == Opcode::Close {
            frame.start.extend(unread.iter().take(taken));
        }
        self.ready += taken;
        if frame.left > 0 {
            return false;
        }
        match frame.opcode {
            Opcode::Close => self.closed = Some(close::code(&frame.start)),
            Opcode::Continuation | Opcode::Text | Opcode::Binary if frame.fin => {
                self.end_message();
            }
            _ => {}
        }
        self.frame = None;
        true
    }

    fn open(&mut self, header: &Header) {
        self.sequence.follow(header);
        self.frame = Some(Frame {
            opcode: header.opcode,
            fin: header.fin,
            left: header.length,
            start: Vec::new(),
        });
    }

    fn end_message(&mut self) {
        self.message = Message::None;
        self.stats.count_message(Direction::ServerToClient);
    }

    fn unread(&self) -> &[u8] {
        self.input.get(self.ready..).unwrap_or_default()
    }
}

/// Looks at a whole message that is not compressed.
fn look_at(opcode: Opcode, payload: &[u8], patterns: &Patterns) -> Told {
    match patterns.redact(payload, fill(opcode, payload)) {
        None => Told::Nothing,
        Some((text, found)) => Told::Redacted(text, found),
    }
}

impl Frame {
    /// Takes so much of `available` as belongs to the frame; returns how much that is.
    fn take(&mut self, available: usize) -> usize {
        let taken = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(available);
        self.left -= taken as u64;
        taken
    }
}

impl Filter for Observer {
    fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    fn process(&mut self) -> Result<(), Stop> {
        while self.out.is_empty() && self.step()? {}
        Ok(())
    }

    fn output(&self) -> [&[u8]; 2] {
        let ready = self.input.get(..self.ready).unwrap_or_default();
        [ready, self.out.left()]
    }

    fn written(&mut self, bytes: usize) {
        let ready = bytes.min(self.ready);
        self.input.advance(ready);
        self.ready -= ready;
        self.out.took(bytes - ready);
    }

    fn end(&mut self) {
        if let Some(tail) = &mut self.tail {
            tail.finish(&mut self.out.bytes);
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        if matches!(self.message, Message::Held | Message::Streamed(_)) {
            self.message = Message::None;
            self.frame = None;
        }
    }

    fn at_boundary(&self) -> bool {
        let promised = !matches!(self.message, Message::Streamed(_)) && self.frame.is_some();
        !promised && self.closed.is_none()
    }

    fn relax(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.scratch = Vec::new();
    }

    fn closed(&self) -> Option<Option<u16>> {
        self.closed
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod script;
#[cfg(test)]
mod tests;

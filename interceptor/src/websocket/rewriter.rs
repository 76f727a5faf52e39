//! Client to server: puts secrets into text messages, and leaves everything else as it is.
//!
//! 1. Control frames go on at once, between fragments too. A Close ends the rewriting: of a message that it interrupts
//!    nothing more goes out, what comes behind it goes on as it is.
//! 2. A message in one frame that is all here is unmasked into a scratch buffer and searched. Without a placeholder its
//!    original bytes go on. With one that is replaced it becomes one new frame with a new mask.
//! 3. Of any other message the original bytes are held, up to [`HOLD`]. A receiver delivers whole messages, so that
//!    delays none. When it is complete, it is treated like 2: its fragmentation is kept if nothing was replaced.
//! 4. A message longer than that is streamed: new fragments of at least [`FRAGMENT_MIN`], each written when its bytes
//!    are there, so that no length is promised and control frames fit anywhere. So is a held message whose sender
//!    rests for [`REST`] after a fragment, if nothing in it has to be decided yet.
//!
//! A compressed message is treated like 2 to 4 with the text that it inflates to: it goes on as it came if nothing is
//! replaced, and uncompressed if something is. If it is all here but its text is longer than the hold, it is looked
//! through to its end first, and inflated once more as it is streamed if there may be something to replace.
//!
//! What may be the beginning of a placeholder is carried from fragment to fragment by the matcher, never beyond the
//! message. Which placeholders are replaced is for `rewrite::document` to say.

pub(super) mod outbox;
pub(super) mod stream;

use std::{sync::Arc, time::Duration};

use bytes::{Buf as _, BytesMut};
use zeroize::{Zeroize as _, Zeroizing};

use self::{
    outbox::Outbox,
    stream::{Deflated, Stream},
};
use super::{
    close,
    filter::{Filter, Stop},
    frame::{self, Header, Opcode, Sender, Sequence},
    inflate::{self, Survey},
    mask,
};
use crate::{
    rewrite::document::{self, Rules},
    stats::connection::{Connection, Direction},
};

/// Bytes of an incomplete message that are held before it is streamed.
pub(crate) const HOLD: usize = 64 * 1024;

/// Least payload of a fragment that we make: the npm library `ws` takes at most 16,384 fragments per message.
pub(crate) const FRAGMENT_MIN: usize = 16 * 1024;

/// How long a sender may rest between fragments before what is held is streamed.
pub(crate) const REST: Duration = Duration::from_millis(5);

/// Payload that Discord's gateway takes in a message from a client (it closes with 4002 beyond).
const DISCORD_MAX: usize = 4096;

/// Rewrites what one client sends.
pub(crate) struct Rewriter {
    /// `None`: nothing is to be looked at.
    rules: Option<Arc<Rules>>,
    /// Those for the messages behind the one that is coming.
    next_rules: Option<Option<Arc<Rules>>>,
    /// permessage-deflate was negotiated.
    deflate: bool,
    stats: Arc<Connection>,
    input: BytesMut,
    /// Bytes at the front of `input` that are cleared.
    ready: usize,
    /// Frames that we made, cleared after `ready`.
    out: Outbox,
    sequence: Sequence,
    message: Message,
    /// The frame of a passed or streamed message of which not all has come.
    frame: Option<Frame>,
    /// The fragments of a held message as they came, without the one that is still coming.
    held: Vec<u8>,
    /// Sender rested, but what is held has to stay.
    must_hold: bool,
    /// Unmasked payload; never holds a secret.
    scratch: Vec<u8>,
    /// The same, inflated.
    inflated: Vec<u8>,
    closed: Option<Option<u16>>,
    stopped: bool,
    /// The client may send control frames only.
    listen_only: bool,
}

/// What is done with the message that is coming.
enum Message {
    /// There is none.
    None,
    Held,
    Passed,
    Streamed(Box<Stream>),
}

/// What a whole message holds.
enum Found {
    Nothing,
    /// Maybe a placeholder.
    Something,
    /// Maybe one, and more text than is held.
    SomethingLong,
}

#[derive(Clone, Copy)]
struct Frame {
    fin: bool,
    mask: [u8; 4],
    /// Payload that has come.
    offset: usize,
    /// Payload to come.
    left: u64,
}

impl Rewriter {
    /// `input`: what has come already. Without `rules` nothing is held or rewritten. `deflate`: permessage-deflate was
    /// negotiated, with rules so that each message of the client stands alone.
    pub(crate) fn new(
        input: BytesMut,
        rules: Option<Arc<Rules>>,
        deflate: bool,
        stats: Arc<Connection>,
    ) -> Self {
        Self {
            rules,
            next_rules: None,
            deflate,
            stats,
            input,
            ready: 0,
            out: Outbox::default(),
            sequence: Sequence::default(),
            message: Message::None,
            frame: None,
            held: Vec::new(),
            must_hold: false,
            scratch: Vec::new(),
            inflated: Vec::new(),
            closed: None,
            stopped: false,
            listen_only: false,
        }
    }

    /// Whether the client's next message ends the stream.
    pub(crate) fn forbid_messages(&mut self, forbid: bool) {
        self.listen_only = forbid;
    }

    /// Messages from the next one on go by `rules`; see [`new`](Self::new) for when there may be some.
    pub(crate) fn replace_rules(&mut self, rules: Option<Arc<Rules>>) {
        self.next_rules = Some(rules);
        self.take_rules();
    }

    fn take_rules(&mut self) {
        if matches!(self.message, Message::None)
            && let Some(rules) = self.next_rules.take()
        {
            self.rules = rules;
        }
    }

    /// [`on_rest`](Self::on_rest) wants to be called when nothing has come for [`REST`].
    pub(crate) fn awaits_rest(&self) -> bool {
        match &self.message {
            Message::Held => !self.must_hold && self.input.is_empty(),
            Message::Streamed(stream) => {
                self.frame.is_none() && !stream.is_behind() && !stream.staged.is_empty()
            }
            Message::None | Message::Passed => false,
        }
    }

    /// The sender rests between two fragments: clears what can be.
    ///
    /// # Errors
    /// The stream ends here.
    pub(crate) fn on_rest(&mut self) -> Result<(), Stop> {
        if !self.awaits_rest() || self.stopped || !self.out.is_empty() {
            return Ok(());
        }
        if matches!(self.message, Message::Held) {
            self.gather_held();
            // The guard of a field may come yet.
            self.must_hold = if self.is_compressed() {
                let found = inflate::survey(&self.scratch, false, HOLD, &mut self.inflated)?;
                found.concerns && self.inflated.len() < HOLD
            } else {
                document::concerns(&self.scratch)
            };
            if self.must_hold || !self.begin_stream()? {
                return Ok(());
            }
        }
        self.emit(false)
    }

    /// Bytes of memory in use for buffers.
    #[cfg(test)]
    fn buffered(&self) -> usize {
        let staged = match &self.message {
            Message::Streamed(stream) => stream.buffered(),
            Message::None | Message::Held | Message::Passed => 0,
        };
        let kept = self.held.capacity() + self.scratch.capacity() + self.inflated.capacity();
        self.input.capacity() + self.out.bytes.capacity() + kept + staged
    }

    fn step(&mut self) -> Result<bool, Stop> {
        if let Message::Streamed(stream) = &self.message
            && stream.is_behind()
        {
            return self.inflate();
        }
        if let Some(frame) = self.frame {
            return match self.message {
                Message::Streamed(_) => self.stream(frame),
                Message::None | Message::Held | Message::Passed => Ok(self.pass(frame)),
            };
        }
        if self.stopped {
            return Ok(false);
        }
        if self.closed.is_some() {
            self.ready = self.input.len();
            return Ok(false);
        }
        let Some(header) = Header::parse(self.unread(), Sender::Client, self.deflate)? else {
            return self.wait();
        };
        self.sequence.check(&header)?;
        if header.opcode.is_control() {
            return Ok(self.control(&header));
        }
        if self.listen_only {
            return Err(Stop::Forbidden);
        }
        match self.message {
            Message::None if header.opcode == Opcode::Binary || self.rules.is_none() => {
                self.message = Message::Passed;
                self.open(&header);
                self.ready += header.size;
                Ok(true)
            }
            Message::Passed => {
                self.open(&header);
                self.ready += header.size;
                Ok(true)
            }
            Message::Streamed(_) => {
                if self.ready == 0 {
                    self.open(&header);
                    self.input.advance(header.size);
                }
                Ok(self.frame.is_some())
            }
            Message::None | Message::Held => self.hold(&header),
        }
    }

    /// A control frame goes on as soon as it is all here.
    fn control(&mut self, header: &Header) -> bool {
        let frame = self.unread().get(..header.total());
        let Some(frame) = frame else {
            return false;
        };
        if header.opcode == Opcode::Close {
            let mut payload = frame.get(header.size..).unwrap_or_default().to_vec();
            mask::apply(header.mask, 0, &mut payload);
            self.closed = Some(close::code(&payload));
            // A message that was not complete never will be.
            self.message = Message::None;
            self.held = Vec::new();
        }
        self.ready += header.total();
        true
    }

    /// A frame of a message that is to be searched.
    fn hold(&mut self, header: &Header) -> Result<bool, Stop> {
        let total = header.total();
        if total > self.unread().len() {
            return self.wait();
        }
        if header.fin && self.held.is_empty() && matches!(self.message, Message::None) {
            return self.search_frame(header);
        }
        if self.held.len() + total > HOLD {
            return self.begin_stream();
        }
        if self.ready > 0 {
            return Ok(false);
        }
        let fragment = self.input.split_to(total);
        self.held.extend_from_slice(&fragment);
        self.sequence.follow(header);
        self.must_hold = false;
        self.message = Message::Held;
        if header.fin {
            self.search_held()?;
        }
        Ok(true)
    }

    /// The bytes that are here end inside a frame, or between two.
    fn wait(&mut self) -> Result<bool, Stop> {
        let incomplete = matches!(self.message, Message::None | Message::Held);
        if incomplete && self.held.len() + self.unread().len() >= HOLD {
            return self.begin_stream();
        }
        Ok(false)
    }

    /// A message in one frame, all here.
    fn search_frame(&mut self, header: &Header) -> Result<bool, Stop> {
        let total = header.total();
        let payload = self.input.get(self.ready + header.size..self.ready + total);
        self.scratch.clear();
        mask::copy(
            header.mask,
            0,
            payload.unwrap_or_default(),
            &mut self.scratch,
        );
        let found = self.search(header.compressed)?;
        if self.ready > 0 && !matches!(found, Found::Nothing) {
            // What comes before it goes first.
            return Ok(false);
        }
        match found {
            Found::SomethingLong => {
                self.input.advance(total);
                self.stream_whole();
                return Ok(true);
            }
            Found::Something => {
                if let Some(text) = self.rewrite(header.compressed)? {
                    self.input.advance(total);
                    self.put_message(text)?;
                    return Ok(true);
                }
            }
            Found::Nothing => {}
        }
        self.ready += total;
        self.end_message();
        Ok(true)
    }

    /// A message in fragments, all of them held.
    fn search_held(&mut self) -> Result<(), Stop> {
        self.gather_held();
        let compressed = self.is_compressed();
        let rewritten = match self.search(compressed)? {
            Found::SomethingLong => {
                self.held = Vec::new();
                self.stream_whole();
                return Ok(());
            }
            Found::Something => self.rewrite(compressed)?,
            Found::Nothing => None,
        };
        let held = std::mem::take(&mut self.held);
        match rewritten {
            Some(text) => self.put_message(text),
            None => {
                self.out.bytes = held;
                self.end_message();
                Ok(())
            }
        }
    }

    /// Searches the whole message in `scratch`; its text is left in `inflated` if it is `compressed`.
    fn search(&mut self, compressed: bool) -> Result<Found, Stop> {
        let Survey { concerns, whole } = if compressed {
            inflate::survey(&self.scratch, true, HOLD, &mut self.inflated)?
        } else {
            Survey {
                concerns: document::concerns(&self.scratch),
                whole: true,
            }
        };
        Ok(match (concerns, whole) {
            (false, _) => Found::Nothing,
            (true, true) => Found::Something,
            (true, false) => Found::SomethingLong,
        })
    }

    /// The message that was searched, with its secrets; `None` if it goes on as it is.
    fn rewrite(&self, compressed: bool) -> Result<Option<Zeroizing<Vec<u8>>>, Stop> {
        let Some(rules) = &self.rules else {
            return Ok(None);
        };
        let plain = if compressed {
            &self.inflated
        } else {
            &self.scratch
        };
        let text = document::rewrite(rules, plain, &self.stats)?;
        if let Some(text) = &text
            && text.len() > DISCORD_MAX
            && plain.len() <= DISCORD_MAX
        {
            // By how much would tell the secret's length.
            tracing::warn!(
                limit = DISCORD_MAX,
                "a message outgrew the limit of Discord's gateway when its secret went in: expect close code 4002"
            );
        }
        Ok(text)
    }

    fn put_message(&mut self, text: Zeroizing<Vec<u8>>) -> Result<(), Stop> {
        self.out.put(true, Opcode::Text, &text, true)?;
        self.end_message();
        Ok(())
    }

    /// Unmasks the held fragments into `scratch`.
    fn gather_held(&mut self) {
        self.scratch.clear();
        let mut rest = self.held.as_slice();
        while let Ok(Some(header)) = Header::parse(rest, Sender::Client, self.deflate) {
            let (frame, after) = rest.split_at(header.total().min(rest.len()));
            let payload = frame.get(header.size..).unwrap_or_default();
            mask::copy(header.mask, 0, payload, &mut self.scratch);
            rest = after;
        }
    }

    /// Unmasks what has come of the next frame behind that, to look ahead.
    fn gather_unread(&mut self) {
        let unread = self.input.get(self.ready..).unwrap_or_default();
        if let Ok(Some(header)) = Header::parse(unread, Sender::Client, self.deflate)
            && !header.opcode.is_control()
        {
            let frame = unread.split_at(header.total().min(unread.len())).0;
            let payload = frame.get(header.size..).unwrap_or_default();
            mask::copy(header.mask, 0, payload, &mut self.scratch);
        }
    }

    /// The message is too long to hold, or its sender too slow.
    fn begin_stream(&mut self) -> Result<bool, Stop> {
        let Some(rules) = self.rules.clone() else {
            return Ok(false);
        };
        if self.ready > 0 {
            return Ok(false);
        }
        self.gather_held();
        let held = self.scratch.len();
        let compressed = self.is_compressed();
        self.gather_unread();
        let stream = if compressed {
            inflate::survey(&self.scratch, false, HOLD, &mut self.inflated)?;
            self.scratch.truncate(held);
            let backlog = std::mem::take(&mut self.scratch);
            let mut stream = Stream::begin(&rules, &self.inflated, &self.stats);
            stream.deflated = Some(Deflated::new(backlog, false));
            stream
        } else {
            let mut stream = Stream::begin(&rules, &self.scratch, &self.stats);
            let text = self.scratch.split_at(held).0;
            stream.document.push(text, &mut stream.staged)?;
            stream
        };
        self.held = Vec::new();
        self.message = Message::Streamed(stream);
        Ok(true)
    }

    /// Streams the message that was searched: compressed, all here, and with too much text to hold.
    fn stream_whole(&mut self) {
        let Some(rules) = &self.rules else {
            return;
        };
        let backlog = std::mem::take(&mut self.scratch);
        let mut stream = Stream::begin(rules, &self.inflated, &self.stats);
        stream.deflated = Some(Deflated::new(backlog, true));
        self.message = Message::Streamed(stream);
    }

    /// Takes the next piece of text out of a compressed, streamed message.
    fn inflate(&mut self) -> Result<bool, Stop> {
        let Message::Streamed(stream) = &mut self.message else {
            return Ok(false);
        };
        let Some(deflated) = &mut stream.deflated else {
            return Ok(false);
        };
        self.inflated.clear();
        let last = deflated.step(&mut self.inflated)?;
        stream.document.push(&self.inflated, &mut stream.staged)?;
        self.take_staged(last)?;
        Ok(true)
    }

    /// Makes a fragment of what is staged, if that is enough for one, or of the message's end.
    fn take_staged(&mut self, last: bool) -> Result<(), Stop> {
        let Message::Streamed(stream) = &mut self.message else {
            return Ok(());
        };
        if last {
            stream.document.finish(&mut stream.staged)?;
        }
        if last || stream.staged.len() >= FRAGMENT_MIN {
            self.emit(last)?;
        }
        Ok(())
    }

    /// Takes what has come of a streamed message's frame.
    fn stream(&mut self, mut frame: Frame) -> Result<bool, Stop> {
        let Message::Streamed(stream) = &mut self.message else {
            return Ok(false);
        };
        if self.ready > 0 || self.input.is_empty() && frame.left > 0 {
            return Ok(false);
        }
        let taken = frame.clamp(self.input.len()).min(HOLD);
        let payload = self.input.split_to(taken);
        self.scratch.clear();
        mask::copy(frame.mask, frame.offset, &payload, &mut self.scratch);
        frame.take(taken);
        self.frame = (frame.left > 0).then_some(frame);
        let last = frame.left == 0 && frame.fin;
        if let Some(deflated) = &mut stream.deflated {
            deflated.refill(&mut self.scratch, last);
        } else {
            stream.document.push(&self.scratch, &mut stream.staged)?;
            self.take_staged(last)?;
        }
        Ok(true)
    }

    /// Makes a fragment of what is staged.
    fn emit(&mut self, last: bool) -> Result<(), Stop> {
        let Message::Streamed(stream) = &mut self.message else {
            return Ok(());
        };
        let opcode = if stream.started {
            Opcode::Continuation
        } else {
            Opcode::Text
        };
        if last || !stream.staged.is_empty() {
            let secret = stream.document.has_released();
            self.out.put(last, opcode, &stream.staged, secret)?;
            stream.started = true;
            if secret {
                let capacity = stream.staged.capacity();
                stream.staged.zeroize();
                stream.staged.reserve(capacity);
            }
            stream.staged.clear();
        }
        if last {
            self.end_message();
        }
        Ok(())
    }

    /// Takes what has come of a frame that goes on as it is.
    fn pass(&mut self, mut frame: Frame) -> bool {
        let taken = frame.clamp(self.unread().len());
        self.ready += taken;
        frame.take(taken);
        self.frame = (frame.left > 0).then_some(frame);
        if frame.left == 0 && frame.fin {
            self.end_message();
        }
        frame.left == 0
    }

    fn open(&mut self, header: &Header) {
        self.sequence.follow(header);
        self.frame = Some(Frame {
            fin: header.fin,
            mask: header.mask,
            offset: 0,
            left: header.length,
        });
    }

    fn end_message(&mut self) {
        self.message = Message::None;
        self.take_rules();
        self.stats.count_message(Direction::ClientToServer);
    }

    /// Is the message that is held, or that comes next, compressed?
    fn is_compressed(&self) -> bool {
        let first = self.held.first().or_else(|| self.unread().first());
        first.is_some_and(|first| first & frame::RSV1 != 0)
    }

    fn unread(&self) -> &[u8] {
        self.input.get(self.ready..).unwrap_or_default()
    }
}

impl Filter for Rewriter {
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

    fn stop(&mut self) {
        self.stopped = true;
        if !matches!(self.message, Message::Passed) {
            self.message = Message::None;
            self.frame = None;
        }
    }

    fn at_boundary(&self) -> bool {
        let inside = matches!(self.message, Message::Passed) && self.frame.is_some();
        !inside && self.closed.is_none()
    }

    fn relax(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.scratch = Vec::new();
        self.inflated = Vec::new();
    }

    fn closed(&self) -> Option<Option<u16>> {
        self.closed
    }
}

impl Frame {
    /// So much of `available` belongs to the frame.
    fn clamp(&self, available: usize) -> usize {
        usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(available)
    }

    fn take(&mut self, taken: usize) {
        self.offset = (self.offset + taken) % 4;
        self.left -= taken as u64;
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod script;
#[cfg(test)]
mod tests;

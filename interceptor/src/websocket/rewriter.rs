//! Client to server: puts secrets into messages, and leaves everything else as it is.
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
//! A binary message that begins as JSON does is treated as a text message, but stays binary. Any other is for
//! `rewrite::binary`, whole: where 4 would stream it, it is not searched, and goes on as it comes.
//!
//! Of a client whose compressed messages refer to each other ([`Window`]) the first one that does not go on as it came
//! puts the server's window out of step: from there on every compressed message goes uncompressed.
//!
//! What may be the beginning of a placeholder is carried from fragment to fragment by the matcher, never beyond the
//! message. Which placeholders are replaced is for `rewrite::document` to say.

mod held;
pub(super) mod outbox;
pub(super) mod stream;
mod window;

use std::{sync::Arc, time::Duration};

use bytes::{Buf as _, BytesMut};
use zeroize::Zeroizing;

use self::{
    held::{Frame, Held, Kind},
    outbox::Outbox,
    stream::{Body, Deflated, Stream},
    window::Window,
};
use super::{
    close,
    extension::Compression,
    filter::{Filter, Stop},
    frame::{Header, Opcode, Sender, Sequence},
    inflate::{self, History, Survey},
    mask,
};
use crate::{
    rewrite::{
        binary::{self, Outcome},
        document::{self, Document, Rules},
        grammar,
    },
    stats::connection::{Connection, Direction},
};

/// Bytes of an incomplete message that are held before it is streamed.
pub(crate) const HOLD: usize = 64 * 1024;

/// Least payload of a fragment that we make: the npm library `ws` takes at most 16,384 fragments per message.
pub(crate) const FRAGMENT_MIN: usize = 16 * 1024;

/// How long a sender may rest between fragments before what is held is streamed.
pub(crate) const REST: Duration = Duration::from_millis(5);

/// Rewrites what one client sends.
pub(crate) struct Rewriter {
    /// `None`: nothing is to be looked for.
    rules: Option<Arc<Rules>>,
    /// Those for the messages behind the one that is coming.
    next_rules: Option<Option<Arc<Rules>>>,
    /// permessage-deflate was negotiated.
    deflate: bool,
    window: Window,
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
    held: Held,
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
    /// The client has begun a message.
    has_spoken: bool,
}

/// What is done with the message that is coming.
enum Message {
    /// There is none.
    None,
    Held,
    Passed,
    Streamed(Box<Stream>),
}

/// What a look at a whole message found.
struct Look {
    /// There may be a placeholder.
    concerns: bool,
    /// All of its text is at hand.
    whole: bool,
    /// What the next message may refer to, if this one does not stand alone.
    behind: Option<History>,
}

/// What becomes of a whole message.
enum Settled {
    AsItCame,
    /// This goes in its place, uncompressed.
    Put(Zeroizing<Vec<u8>>),
    /// It is streamed from here on.
    Streamed,
}

impl Rewriter {
    /// `input`: what has come already. Without `rules` nothing is rewritten. `compression`: as it was negotiated; a client
    /// whose messages refer to each other is followed only if there are `rules` from its first message on.
    pub(crate) fn new(
        input: BytesMut,
        rules: Option<Arc<Rules>>,
        compression: Option<Compression>,
        stats: Arc<Connection>,
    ) -> Self {
        let leans = compression.is_some_and(|compression| !compression.client_alone);
        let window = if leans && rules.is_some() {
            Window::kept()
        } else {
            Window::default()
        };
        Self {
            rules,
            next_rules: None,
            deflate: compression.is_some(),
            window,
            stats,
            input,
            ready: 0,
            out: Outbox::default(),
            sequence: Sequence::default(),
            message: Message::None,
            frame: None,
            held: Held::default(),
            must_hold: false,
            scratch: Vec::new(),
            inflated: Vec::new(),
            closed: None,
            stopped: false,
            listen_only: false,
            has_spoken: false,
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

    /// The client has begun a message.
    pub(crate) fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// [`on_rest`](Self::on_rest) wants to be called when nothing has come for [`REST`].
    pub(crate) fn awaits_rest(&self) -> bool {
        match &self.message {
            Message::Held => !self.must_hold && self.input.is_empty(),
            Message::Streamed(stream) => {
                self.frame.is_none() && !stream.is_behind() && !stream.is_bare()
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
            self.must_hold = self.is_undecided()?;
            if self.must_hold || !self.begin_stream()? {
                return Ok(());
            }
        }
        self.emit(false)
    }

    /// What is held may need what is still to come.
    fn is_undecided(&mut self) -> Result<bool, Stop> {
        let kind = self.kind();
        self.scratch.clear();
        self.held.unmask(&mut self.scratch);
        let (concerns, text) = if kind.compressed {
            let history = self.window.history();
            let survey = inflate::survey(&self.scratch, false, HOLD, history, &mut self.inflated)?;
            // There is no more to be held of that much.
            let concerns = survey.concerns && self.inflated.len() < HOLD;
            (concerns, &self.inflated)
        } else {
            (document::concerns(&self.scratch), &self.scratch)
        };
        // The guard of a field may come yet, or the byte that tells what this is.
        Ok(concerns || kind.binary && text.is_empty())
    }

    /// Bytes of memory in use for buffers.
    #[cfg(test)]
    fn buffered(&self) -> usize {
        let staged = match &self.message {
            Message::Streamed(stream) => stream.buffered(),
            Message::None | Message::Held | Message::Passed => 0,
        };
        let kept = self.held.buffered() + self.scratch.capacity() + self.inflated.capacity();
        let window = self.window.buffered();
        self.input.capacity() + self.out.bytes.capacity() + kept + staged + window
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
        self.has_spoken = true;
        match self.message {
            Message::None if !self.is_searched(&header) => {
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

    /// A message that begins with this frame has to be looked into.
    fn is_searched(&self, header: &Header) -> bool {
        self.rules.is_some() || self.window.is_kept() && header.compressed
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
            self.held = Held::default();
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
        if header.fin && matches!(self.message, Message::None) {
            return self.search_frame(header);
        }
        if self.held.bytes().len() + total > HOLD {
            return self.begin_stream();
        }
        if self.ready > 0 {
            return Ok(false);
        }
        let fragment = self.input.split_to(total);
        self.held.push(&fragment);
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
        if incomplete && self.held.bytes().len() + self.unread().len() >= HOLD {
            return self.begin_stream();
        }
        Ok(false)
    }

    /// A message in one frame, all here.
    fn search_frame(&mut self, header: &Header) -> Result<bool, Stop> {
        let kind = self.kind();
        let total = header.total();
        self.scratch.clear();
        let unread = self.input.get(self.ready..).unwrap_or_default();
        held::unmask_next(unread, &mut self.scratch);
        let look = self.look(kind)?;
        if self.ready > 0 && !self.goes_as_it_came(kind, &look) {
            // What comes before it goes first.
            return Ok(false);
        }
        match self.settle(kind, look)? {
            Settled::AsItCame => {
                self.ready += total;
                self.end_message();
            }
            Settled::Put(text) => {
                self.input.advance(total);
                self.put_message(kind, &text)?;
            }
            Settled::Streamed => self.input.advance(total),
        }
        Ok(true)
    }

    /// A message in fragments, all of them held.
    fn search_held(&mut self) -> Result<(), Stop> {
        let kind = self.kind();
        self.scratch.clear();
        self.held.unmask(&mut self.scratch);
        let look = self.look(kind)?;
        let settled = self.settle(kind, look)?;
        let frames = self.held.take();
        match settled {
            Settled::AsItCame => {
                self.out.bytes = frames;
                self.end_message();
            }
            Settled::Put(text) => self.put_message(kind, &text)?,
            Settled::Streamed => {}
        }
        Ok(())
    }

    /// Searches the whole message in `scratch`; its text is left in `inflated` if it is compressed.
    fn look(&mut self, kind: Kind) -> Result<Look, Stop> {
        let Survey {
            concerns,
            whole,
            behind,
        } = if kind.compressed {
            let history = self.window.history();
            inflate::survey(&self.scratch, true, HOLD, history, &mut self.inflated)?
        } else {
            Survey {
                concerns: document::concerns(&self.scratch),
                whole: true,
                behind: None,
            }
        };
        Ok(Look {
            concerns: concerns && self.rules.is_some(),
            whole,
            behind,
        })
    }

    /// Nothing can make the message that was looked at another one.
    fn goes_as_it_came(&self, kind: Kind, look: &Look) -> bool {
        !(look.concerns || kind.compressed && self.window.is_out_of_step())
    }

    /// Decides on the whole message that was looked at.
    fn settle(&mut self, kind: Kind, look: Look) -> Result<Settled, Stop> {
        if self.goes_as_it_came(kind, &look) {
            self.window.replace(look.behind);
            return Ok(Settled::AsItCame);
        }
        if !look.whole {
            let json = kind.is_json(&self.inflated);
            if let Some(rules) = &self.rules
                && look.concerns
                && !json
            {
                rules.pass_opaque(&self.stats)?;
            }
            if json || self.window.is_out_of_step() {
                self.stream_whole(kind);
                return Ok(Settled::Streamed);
            }
            self.window.replace(look.behind);
            return Ok(Settled::AsItCame);
        }
        self.window.replace(look.behind);
        let rewritten = if look.concerns {
            self.rewrite(kind)?
        } else {
            None
        };
        Ok(match rewritten {
            Some(text) => {
                if kind.compressed {
                    self.window.miss();
                }
                Settled::Put(text)
            }
            None if kind.compressed && self.window.is_out_of_step() => {
                Settled::Put(Zeroizing::new(std::mem::take(&mut self.inflated)))
            }
            None => Settled::AsItCame,
        })
    }

    /// The message that was looked at, with its secrets; `None` if it goes on as it is.
    fn rewrite(&self, kind: Kind) -> Result<Option<Zeroizing<Vec<u8>>>, Stop> {
        let Some(rules) = &self.rules else {
            return Ok(None);
        };
        let plain = if kind.compressed {
            &self.inflated
        } else {
            &self.scratch
        };
        if kind.is_json(plain) {
            return Ok(document::rewrite(rules, plain, &self.stats)?);
        }
        Ok(match binary::rewrite(rules, plain, &self.stats)? {
            Outcome::Rewritten(message) => Some(message),
            Outcome::Unchanged | Outcome::Opaque => None,
        })
    }

    fn put_message(&mut self, kind: Kind, text: &[u8]) -> Result<(), Stop> {
        self.out.put(true, kind.opcode(), text, true)?;
        self.end_message();
        Ok(())
    }

    /// The message is too long to hold, or its sender too slow.
    fn begin_stream(&mut self) -> Result<bool, Stop> {
        if self.ready > 0 {
            return Ok(false);
        }
        let kind = self.kind();
        self.scratch.clear();
        self.held.unmask(&mut self.scratch);
        let held = self.scratch.len();
        // To look ahead.
        held::unmask_next(&self.input, &mut self.scratch);
        if kind.compressed {
            let history = self.window.history();
            inflate::survey(&self.scratch, false, HOLD, history, &mut self.inflated)?;
        }
        let ahead = if kind.compressed {
            &self.inflated
        } else {
            &self.scratch
        };
        let body = match &self.rules {
            Some(rules) if kind.is_json(ahead) => {
                Body::Json(Document::begin(rules, ahead, false, &self.stats))
            }
            rules => {
                // Only of its beginning is anything known.
                if let Some(rules) = rules
                    && grammar::mentions(ahead)
                {
                    rules.pass_opaque(&self.stats)?;
                }
                if !kind.compressed || !self.window.is_kept() {
                    self.out.bytes = self.held.take();
                    self.message = Message::Passed;
                    return Ok(true);
                }
                Body::Opaque
            }
        };
        self.scratch.truncate(held);
        let stream = if kind.compressed {
            let backlog = std::mem::take(&mut self.scratch);
            let deflated = Deflated::new(backlog, false, self.window.history());
            self.window.miss();
            Stream::begin(kind.opcode(), body, Some(deflated))
        } else {
            let mut stream = Stream::begin(kind.opcode(), body, None);
            stream.push(&self.scratch)?;
            stream
        };
        self.held = Held::default();
        self.message = Message::Streamed(stream);
        Ok(true)
    }

    /// Streams the message that was looked at: compressed, all here, and with too much text to hold.
    fn stream_whole(&mut self, kind: Kind) {
        let body = match &self.rules {
            Some(rules) if kind.is_json(&self.inflated) => {
                Body::Json(Document::begin(rules, &self.inflated, false, &self.stats))
            }
            Some(_) | None => Body::Opaque,
        };
        let backlog = std::mem::take(&mut self.scratch);
        let deflated = Deflated::new(backlog, true, self.window.history());
        self.window.miss();
        self.message = Message::Streamed(Stream::begin(kind.opcode(), body, Some(deflated)));
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
        self.window.push(&self.inflated);
        if last && deflated.brought_last() {
            self.window.clear();
        }
        stream.push(&self.inflated)?;
        self.take_staged(last)?;
        Ok(true)
    }

    /// Makes a fragment of what is staged, if that is enough for one, or of the message's end.
    fn take_staged(&mut self, last: bool) -> Result<(), Stop> {
        let Message::Streamed(stream) = &mut self.message else {
            return Ok(());
        };
        if last {
            stream.finish()?;
        }
        if last || stream.is_ripe() {
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
            stream.push(&self.scratch)?;
            self.take_staged(last)?;
        }
        Ok(true)
    }

    /// Makes a fragment of what is staged.
    fn emit(&mut self, last: bool) -> Result<(), Stop> {
        if let Message::Streamed(stream) = &mut self.message {
            stream.emit(last, &mut self.out)?;
            if last {
                self.end_message();
            }
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
        self.frame = Some(Frame::new(header));
    }

    fn end_message(&mut self) {
        self.message = Message::None;
        self.take_rules();
        self.stats.count_message(Direction::ClientToServer);
    }

    /// Of the message that is held, or that comes next.
    fn kind(&self) -> Kind {
        let first = self.held.bytes().first().or_else(|| self.unread().first());
        Kind::of(first.copied().unwrap_or_default())
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

#[cfg(any(test, fuzzing))]
pub(crate) mod script;
#[cfg(test)]
mod tests;

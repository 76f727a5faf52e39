//! A message that is searched while it goes on.

use std::sync::Arc;

use crate::{
    rewrite::reflection::{Fill, Patterns, Redactor},
    websocket::{
        filter::Stop,
        frame::Opcode,
        inflate::Inflater,
        rewriter::{HOLD, stream::Deflated},
    },
};

/// A message that goes on in frames of ours while it comes.
pub(super) struct Stream {
    /// Of the message.
    opcode: Opcode,
    /// Its first fragment has gone.
    started: bool,
    /// Made when its first bytes tell what it is.
    redactor: Option<Redactor>,
    /// `None`: its text comes as it is.
    pub(super) deflated: Option<Deflated>,
    /// Redacted text that is no frame yet.
    pub(super) staged: Vec<u8>,
}

/// What a whole compressed message says.
pub(super) enum Told {
    /// No secret: it goes on as it came.
    Nothing,
    /// This, when its secrets are out; so many they were.
    Redacted(Vec<u8>, u64),
    /// Some secret, in too much text to hold.
    Long,
}

/// How much room a message has for a placeholder: JSON is text in whatever frame, other formats count their bytes.
pub(super) fn fill(opcode: Opcode, beginning: &[u8]) -> Fill {
    let json = matches!(beginning.trim_ascii_start().first(), Some(b'{' | b'['));
    if opcode == Opcode::Text || json {
        Fill::Free
    } else {
        Fill::Same
    }
}

impl Stream {
    pub(super) fn new(opcode: Opcode) -> Self {
        Self {
            opcode,
            started: false,
            redactor: None,
            deflated: None,
            staged: Vec::new(),
        }
    }

    /// `payload`: of a compressed message, all of it if it `ends`.
    pub(super) fn deflated(opcode: Opcode, payload: Vec<u8>, ends: bool) -> Self {
        let inflater = Inflater::unlimited();
        Self {
            deflated: Some(Deflated::inflated_by(inflater, payload, ends)),
            ..Self::new(opcode)
        }
    }

    /// The rest of a message whose beginning has gone.
    pub(super) fn caught(opcode: Opcode, redactor: Redactor) -> Self {
        Self {
            started: true,
            redactor: Some(redactor),
            ..Self::new(opcode)
        }
    }

    /// Takes more text.
    pub(super) fn push(&mut self, text: &[u8], patterns: &Arc<Patterns>) {
        if text.is_empty() {
            return;
        }
        let opcode = self.opcode;
        let redactor = self
            .redactor
            .get_or_insert_with(|| Redactor::new(patterns, fill(opcode, text)));
        redactor.arm(patterns);
        redactor.push(text, &mut self.staged);
    }

    /// The text is complete.
    pub(super) fn finish(&mut self) {
        if let Some(redactor) = &mut self.redactor {
            redactor.finish(&mut self.staged);
        }
    }

    /// How many secrets were replaced since this was last asked.
    pub(super) fn count(&mut self) -> u64 {
        self.redactor.as_mut().map_or(0, Redactor::count)
    }

    /// What the next frame has to say of itself.
    pub(super) fn next_opcode(&mut self) -> Opcode {
        if std::mem::replace(&mut self.started, true) {
            Opcode::Continuation
        } else {
            self.opcode
        }
    }

    /// There is text to be had without more input.
    pub(super) fn is_behind(&self) -> bool {
        self.deflated.as_ref().is_some_and(Deflated::is_behind)
    }

    /// Takes the next piece of text out of a compressed message. Returns whether that was its last. `chunk` is scratch.
    ///
    /// # Errors
    /// It does not inflate by itself.
    pub(super) fn inflate(
        &mut self,
        chunk: &mut Vec<u8>,
        patterns: &Arc<Patterns>,
    ) -> Result<bool, Stop> {
        let Some(deflated) = &mut self.deflated else {
            return Ok(false);
        };
        chunk.clear();
        let last = deflated.step(chunk)?;
        self.push(chunk, patterns);
        if last {
            self.finish();
        }
        Ok(last)
    }
}

/// Looks through a whole compressed message. `chunk` is scratch.
///
/// # Errors
/// It does not inflate by itself.
pub(super) fn look_through(
    opcode: Opcode,
    payload: &[u8],
    chunk: &mut Vec<u8>,
    patterns: &Arc<Patterns>,
) -> Result<Told, Stop> {
    let mut stream = Stream::deflated(opcode, payload.to_vec(), true);
    let mut long = false;
    let mut found = 0;
    loop {
        if stream.staged.len() > HOLD {
            // Only whether there is a secret matters from here on.
            stream.staged.clear();
            long = true;
        }
        let last = stream.inflate(chunk, patterns)?;
        found += stream.count();
        match (found, long, last) {
            (0, _, false) | (_, false, false) => {}
            (0, _, true) => return Ok(Told::Nothing),
            (_, true, _) => return Ok(Told::Long),
            (_, false, true) => return Ok(Told::Redacted(stream.staged, found)),
        }
    }
}

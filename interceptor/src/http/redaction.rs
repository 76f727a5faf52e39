//! Secrets that come back in responses. Sans-IO, and the same for HTTP/1 and HTTP/2: whoever carries the body keeps its
//! framing.
//!
//! | file | job |
//! |---|---|
//! | `plain` | a body without content codings |
//! | `coded` | one with them |
//! | `head` | HTTP/1's heads and trailers |
//! | `fields` | HTTP/2's |
//!
//! Only what was written on the connection is looked for, so nothing is looked at until something was.
//!
//! 1. A body is searched as it streams; what may be the beginning of a secret waits for more. When the sender pauses for
//!    [`REST`], up to 7 bytes of that go on all the same; more after [`PATIENCE`], overwritten.
//! 2. Text takes the placeholder. What counts its bytes keeps its length: a body whose length has been told (unless it
//!    has all come with its head, up to [`HOLD`] bytes of it), a part of a whole (206), and what is neither text, JSON,
//!    XML nor a form. There as much of the placeholder stands as there is room for, filled up with `*`.
//! 3. A body with a content coding is decoded to be searched, and passes as the bytes that came if it is clean. With a
//!    secret in what is held it goes on without its coding. With one further on, gzip, deflate and zstd are gone on with
//!    in blocks that are not compressed; where that cannot be (brotli, several codings, a length that has been told, a
//!    last block of more than 128 KiB), the response is cut, so that its reader sees an error: [`Stop`].
//! 4. A body in an unknown coding, one that is not what its coding says, and a part of a coded one pass, and are counted
//!    as unread.
//! 5. The head of a response to HEAD and of a 304 keeps the length of what it is about.

mod coded;
pub(super) mod fields;
pub(super) mod head;
mod plain;

use std::{sync::Arc, time::Duration};

use self::{
    coded::{Coded, Codings},
    plain::Plain,
};
use crate::{
    rewrite::reflection::{Fill, Patterns},
    stats::connection::Connection,
};

/// Bytes of a body that are held with its head.
const HOLD: usize = 64 * 1024;
/// How long the sender has to pause before what is only held for a better fit goes on.
const REST: Duration = Duration::from_millis(5);
/// The same for what cannot be put right afterwards, in bodies whose senders have no reason to pause.
const PATIENCE: Duration = Duration::from_millis(250);

/// What a response's head says about its body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts<'h> {
    pub(crate) status: u16,
    /// Content-Type.
    pub(crate) media_type: Option<&'h [u8]>,
    /// The body's length, where the head tells it.
    pub(crate) length: Option<u64>,
}

/// What is to be changed in the head besides the secrets in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// The body has lost its content codings.
    pub(crate) decoded: bool,
    pub(crate) length: Length,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Length {
    /// As the head tells it, if it does.
    #[default]
    Kept,
    /// In place of the one that the head tells, if it does.
    Exact(u64),
    /// Not the one that the head tells.
    Unknown,
}

/// Why a response does not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("a credential came back where it could not be taken out any more")]
    Reflected,
    #[error("the response's body decodes to more than can be looked through")]
    Bomb,
    #[error("a credential came back in a response that is damaged behind it")]
    Torn,
}

impl Stop {
    /// One of a fixed set, by which it is counted.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Reflected | Self::Torn => "secret_reflected",
            Self::Bomb => "compressed_response_too_large",
        }
    }
}

/// Takes secrets out of one response's body.
///
/// Feed it with [`push`](Self::push). When nothing has come for [`patience`](Self::patience), call [`rest`](Self::rest).
/// After either, and at the end, [`step`](Self::step) and write what came out until that was all. The head waits while
/// [`holds`](Self::holds); then it goes with its [`change`](Self::change), before the body.
pub(crate) struct ResponseFilter {
    kind: Kind,
    finished: bool,
}

enum Kind {
    Plain(Plain),
    Coded(Box<Coded>),
    /// To be counted, if it was not.
    Unread(bool),
}

impl ResponseFilter {
    /// For a response that has a body. `encodings`: the values of its Content-Encoding.
    pub(crate) fn new<'h>(
        patterns: &Arc<Patterns>,
        facts: Facts<'h>,
        encodings: impl Iterator<Item = &'h [u8]>,
    ) -> Self {
        let Facts {
            status,
            media_type,
            length,
        } = facts;
        let partial = status == 206;
        let fill = match media_type {
            Some(media_type) if !partial => fill(media_type),
            _ => Fill::Same,
        };
        let Ok(codings) = Codings::of(encodings) else {
            return Self::unread();
        };
        if codings.is_empty() {
            return Kind::Plain(Plain::new(patterns, fill, length)).into();
        }
        let live = media_type.is_some_and(is_live);
        let coded = if partial {
            None
        } else {
            Coded::new(codings, patterns, fill, length, live)
        };
        coded.map_or_else(Self::unread, |coded| Kind::Coded(Box::new(coded)).into())
    }

    /// For a body that is not to be understood: it passes as it is.
    pub(crate) fn unread() -> Self {
        Kind::Unread(true).into()
    }

    /// Searches for `patterns` from here on.
    pub(crate) fn arm(&mut self, patterns: &Arc<Patterns>) {
        match &mut self.kind {
            Kind::Plain(plain) => plain.arm(patterns),
            Kind::Coded(coded) => coded.arm(patterns),
            Kind::Unread(_) => {}
        }
    }

    /// The head may not go yet.
    pub(crate) fn holds(&self) -> bool {
        match &self.kind {
            Kind::Plain(plain) => plain.holds(),
            Kind::Coded(coded) => coded.holds(),
            Kind::Unread(_) => false,
        }
    }

    /// What becomes of the head, once it may go.
    pub(crate) fn change(&self) -> Change {
        match &self.kind {
            Kind::Plain(plain) => plain.change(),
            Kind::Coded(coded) => coded.change(),
            Kind::Unread(_) => Change::default(),
        }
    }

    /// How long [`rest`](Self::rest) wants to wait for more of the body; `None`: for ever.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Plain(plain) => plain.patience(),
            Kind::Coded(coded) => coded.patience(),
            Kind::Unread(_) => None,
        }
    }

    /// There is more to come out without more of the body.
    fn is_behind(&self) -> bool {
        matches!(&self.kind, Kind::Coded(coded) if coded.is_behind())
    }

    /// How many secrets were replaced since this was last asked.
    fn count(&mut self) -> u64 {
        match &mut self.kind {
            Kind::Plain(plain) => plain.count(),
            Kind::Coded(coded) => coded.count(),
            Kind::Unread(_) => 0,
        }
    }

    /// The body goes on without being read; once.
    fn went_unread(&mut self) -> bool {
        match &mut self.kind {
            Kind::Plain(_) => false,
            Kind::Coded(coded) => coded.unread(),
            Kind::Unread(unread) => std::mem::take(unread),
        }
    }

    /// Bytes of memory that it holds on to, without its decoders.
    #[cfg(test)]
    fn kept(&self) -> usize {
        match &self.kind {
            Kind::Coded(coded) => coded.kept(),
            Kind::Plain(_) | Kind::Unread(_) => 0,
        }
    }

    /// Takes more of the body; appends to `out` what may go on.
    ///
    /// # Errors
    /// The response may not come to its end.
    pub(crate) fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        match &mut self.kind {
            Kind::Plain(plain) => plain.push(data, out),
            Kind::Coded(coded) => return coded.push(data, out),
            Kind::Unread(_) => out.extend_from_slice(data),
        }
        Ok(())
    }

    /// Goes on with what was pushed, which is all of the body if that is `complete`: appends to `out` what may go on, and
    /// counts what was found. Whether that is all that comes out for now.
    ///
    /// # Errors
    /// The response may not come to its end.
    pub(crate) fn step(
        &mut self,
        complete: bool,
        out: &mut Vec<u8>,
        stats: &Connection,
    ) -> Result<bool, Stop> {
        if self.is_behind() {
            self.more(out)?;
        } else if complete && !self.finished {
            self.finished = true;
            self.finish(out)?;
        }
        stats.count_redactions(self.count());
        if self.went_unread() {
            stats.count_opaque_message();
        }
        Ok((self.finished || !complete) && !self.is_behind())
    }

    /// Goes on with what was pushed.
    fn more(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        match &mut self.kind {
            Kind::Coded(coded) => coded.advance(out),
            Kind::Plain(_) | Kind::Unread(_) => Ok(()),
        }
    }

    /// The sender pauses: nothing that can go may wait.
    ///
    /// # Errors
    /// The response may not come to its end.
    pub(crate) fn rest(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        match &mut self.kind {
            Kind::Plain(plain) => plain.rest(out),
            Kind::Coded(coded) => return coded.rest(out),
            Kind::Unread(_) => {}
        }
        Ok(())
    }

    /// The body is complete.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        match &mut self.kind {
            Kind::Plain(plain) => plain.finish(out),
            Kind::Coded(coded) => return coded.finish(out),
            Kind::Unread(_) => {}
        }
        Ok(())
    }
}

impl From<Kind> for ResponseFilter {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            finished: false,
        }
    }
}

/// How much room a placeholder has in a body of this type.
fn fill(media_type: &[u8]) -> Fill {
    let essence = essence(media_type);
    let subtype = essence
        .split(|byte| *byte == b'/')
        .nth(1)
        .unwrap_or_default();
    let ends_in = |suffix: &str| {
        subtype == suffix.as_bytes()
            || subtype
                .strip_suffix(suffix.as_bytes())
                .is_some_and(|before| before.ends_with(b"+"))
    };
    let text = essence.starts_with(b"text/")
        || ends_in("json")
        || ends_in("xml")
        || ends_in("yaml")
        || matches!(
            subtype,
            b"javascript"
                | b"x-javascript"
                | b"x-www-form-urlencoded"
                | b"x-ndjson"
                | b"ndjson"
                | b"jsonl"
                | b"jsonlines"
                | b"json-seq"
                | b"graphql"
        );
    if text { Fill::Free } else { Fill::Same }
}

/// A body of events that a client acts on one by one.
fn is_live(media_type: &[u8]) -> bool {
    let essence = essence(media_type);
    essence == b"text/event-stream"
        || essence.starts_with(b"application/grpc")
        || matches!(
            essence.as_slice(),
            b"application/x-ndjson" | b"application/ndjson" | b"application/jsonl"
        )
}

fn essence(media_type: &[u8]) -> Vec<u8> {
    let essence = media_type.split(|byte| *byte == b';').next();
    essence
        .unwrap_or_default()
        .trim_ascii()
        .to_ascii_lowercase()
}

#[cfg(test)]
pub(super) mod tests;

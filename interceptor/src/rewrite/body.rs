//! Puts secrets into the bound places of a request's body, while it streams by.
//!
//! | file | job |
//! |---|---|
//! | `head` | what the request's head says about its body |
//! | `media` | values with parameters, as servers agree on them |
//! | `json`, `form`, `multipart`, `text` | a body of that kind |
//! | `ledger` | what the body may take, and what it took |
//!
//! A body is read where a binding has a place in bodies of its kind. Where the policy minds placeholders at places that
//! nothing is bound to, all other textual ones are searched too, unless they are compressed.
//!
//! What is not understood as its kind is text, and at no place. A compressed body, or one in another charset than UTF-8,
//! is refused where it could have a bound place: nothing can be found in it. One that is signed, or a part of a whole,
//! is read, and refused only if a secret would go in.
//!
//! Whatever a body's size, [`HOLD`] and a few KiB of it are kept, and what is pushed at once.

mod form;
mod head;
mod json;
mod ledger;
mod media;
mod multipart;
mod text;

use std::{sync::Arc, time::Duration};

use zeroize::Zeroizing;

use self::{form::Form, head::Head, json::Json, ledger::Ledger, multipart::Multipart, text::Text};
use super::{
    RELEASES_MAX, Unresolvable, document,
    release::{JsonTexts, NotBound, Release},
};
use crate::{policy::binding::BodyKind, stats::connection::Connection};

/// Bytes of a body that are held before it is streamed. A carrier that holds the head for as long can answer with a
/// refusal in the server's place, and knows the length of a body that was complete by then.
pub(crate) const HOLD: usize = 64 * 1024;

/// A client that sends nothing of its body for so long may be waiting for the server: its head is held no longer.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// Why a request may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a placeholder stands at a bound place of the request's body")]
    Unresolvable(#[source] Unresolvable),
    #[error(
        "a placeholder stands where its credential is not bound, which `unbound: refuse` does not let pass"
    )]
    Unbound,
    #[error(
        "a placeholder stands in the request's body before the member that guards it, too far ahead to wait for: send \
         the guard first"
    )]
    GuardUnseen,
    #[error("the request's body contradicts itself about the member that guards a bound field")]
    GuardContradicted,
    #[error("the request's body took a credential and turned out to be malformed")]
    Malformed,
    #[error(
        "the request's body is compressed, and no credential can be put in: send it without Content-Encoding"
    )]
    Encoded,
    #[error(
        "the request's body is in another charset than UTF-8, in which no credential is put in"
    )]
    Charset,
    #[error(
        "the request is signed or carries a digest of its body, which a credential that is put in would break"
    )]
    Signed,
    #[error(
        "the request's body is a range of a larger one, whose length a credential that is put in would change"
    )]
    Ranged,
}

/// Rewrites one body.
pub(crate) struct Rewriter {
    kind: Kind,
    /// Something is bound to a place in it.
    bound: bool,
    ledger: Ledger,
}

enum Kind {
    Json(Json),
    Form(Form),
    Multipart(Box<Multipart>),
    Text(Text),
}

impl Rewriter {
    /// For the body of the request that has these `fields`, with names in any case, and whose head took `used` secrets.
    /// `None`: it needs no look, and goes on as it comes.
    ///
    /// # Errors
    /// Nothing can be found in the body, though something is bound there.
    pub(crate) fn for_request<'f>(
        release: &Arc<Release>,
        fields: impl Iterator<Item = (&'f str, &'f [u8])>,
        used: usize,
        stats: &Arc<Connection>,
    ) -> Result<Option<Self>, Refusal> {
        if !release.reads_bodies() {
            return Ok(None);
        }
        let head = Head::read(fields);
        let media = head.media().unwrap_or_default();
        let kind = BodyKind::of(media);
        let bound = match kind {
            BodyKind::Json => release.json_fields(JsonTexts::Bodies).next().is_some(),
            BodyKind::Form => release.has_forms(),
            BodyKind::Multipart => release.has_multiparts(),
            BodyKind::Text => release.binds_text(media),
            BodyKind::Messages => return Ok(None),
        };
        if bound && head.encoded {
            return Err(Refusal::Encoded);
        }
        if bound && !head.parameter("charset").is_none_or(is_utf8) {
            return Err(Refusal::Charset);
        }
        let minds = release.minds_unbound() && !head.encoded && head.is_textual();
        if !bound && !minds {
            return Ok(None);
        }
        let left = RELEASES_MAX.saturating_sub(used);
        let ledger = Ledger::new(release.clone(), stats.clone(), head.fixed, left);
        let kind = match kind {
            BodyKind::Json => Kind::Json(Json::new(&ledger)),
            BodyKind::Form => Kind::Form(Form::default()),
            BodyKind::Multipart => {
                let multipart = Multipart::new(head.parameter("boundary"));
                Kind::Multipart(Box::new(multipart))
            }
            BodyKind::Text | BodyKind::Messages => Kind::Text(Text::new(bound.then_some(media))),
        };
        Ok(Some(Self {
            kind,
            bound,
            ledger,
        }))
    }

    /// Takes more of the body and appends to `out` what is decided.
    ///
    /// # Errors
    /// The request may not go on, nor may what `out` got.
    pub(crate) fn push(
        &mut self,
        data: &[u8],
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        let Self { kind, ledger, .. } = self;
        match kind {
            Kind::Json(json) => json.push(data, ledger, out),
            Kind::Form(form) => form.push(data, ledger, out),
            Kind::Multipart(multipart) => multipart.push(data, ledger, out),
            Kind::Text(text) => text.push(data, ledger, out),
        }
    }

    /// The body is complete: appends the rest to `out`.
    ///
    /// # Errors
    /// The request may not go on, nor may what `out` got.
    pub(crate) fn finish(&mut self, out: &mut Zeroizing<Vec<u8>>) -> Result<(), Refusal> {
        let Self { kind, ledger, .. } = self;
        match kind {
            Kind::Json(json) => json.finish(ledger, out),
            Kind::Form(form) => form.finish(ledger, out),
            Kind::Multipart(multipart) => multipart.finish(ledger, out),
            Kind::Text(text) => text.finish(ledger, out),
        }
    }

    /// What comes out is what goes in, or a refusal: a length that was promised for the body stays right.
    pub(crate) fn keeps_length(&self) -> bool {
        !self.bound || self.ledger.is_fixed()
    }

    /// Secrets that went into what was appended so far.
    pub(crate) fn taken(&self) -> usize {
        self.ledger.taken()
    }

    /// Bytes of memory in use for what is held.
    #[cfg(test)]
    fn buffered(&self) -> usize {
        match &self.kind {
            Kind::Json(json) => json.buffered(),
            Kind::Form(form) => form.buffered(),
            Kind::Multipart(multipart) => multipart.buffered(),
            Kind::Text(_) => 0,
        }
    }
}

impl Refusal {
    /// For a client to read.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unresolvable(why) => why.code(),
            Self::Unbound => "credential_unbound",
            Self::GuardUnseen => "credential_guard_unseen",
            Self::GuardContradicted => "credential_guard_contradicted",
            Self::Malformed => "credential_body_malformed",
            Self::Encoded => "credential_body_encoded",
            Self::Charset => "credential_body_charset",
            Self::Signed => "credential_body_signed",
            Self::Ranged => "credential_body_ranged",
        }
    }
}

impl From<Unresolvable> for Refusal {
    fn from(why: Unresolvable) -> Self {
        Self::Unresolvable(why)
    }
}

impl From<NotBound> for Refusal {
    fn from(NotBound: NotBound) -> Self {
        Self::Unbound
    }
}

impl From<document::Refusal> for Refusal {
    fn from(refusal: document::Refusal) -> Self {
        match refusal {
            document::Refusal::Unresolvable(why) => Self::Unresolvable(why),
            document::Refusal::GuardUnseen => Self::GuardUnseen,
            document::Refusal::GuardContradicted => Self::GuardContradicted,
            document::Refusal::Malformed => Self::Malformed,
            document::Refusal::TooMany => Self::Unresolvable(Unresolvable::TooMany),
            document::Refusal::Unbound => Self::Unbound,
        }
    }
}

/// UTF-8, or ASCII, which is UTF-8 too.
fn is_utf8(charset: &[u8]) -> bool {
    [b"utf-8".as_slice(), b"utf8", b"us-ascii", b"ascii"]
        .iter()
        .any(|known| charset.eq_ignore_ascii_case(known))
}

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;

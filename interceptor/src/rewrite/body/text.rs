//! Text without fields: a secret may stand anywhere in it, or nowhere.

use zeroize::Zeroizing;

use super::{Refusal, ledger::Ledger};
use crate::rewrite::{
    Unresolvable, append, encode, make_room,
    matcher::{Matcher, Piece},
    release::Release,
};

/// Follows one body.
pub(super) struct Text {
    /// What something is bound to; `None`: placeholders are looked for, and stay.
    media: Option<Box<str>>,
    form: Form,
    matcher: Matcher,
}

/// How a text spells a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    /// JSON texts one behind the other.
    Json,
    Xml,
}

impl Form {
    fn of(media: &str) -> Self {
        if media.contains("json") {
            Self::Json
        } else if media.contains("xml") || media == "text/html" {
            Self::Xml
        } else {
            Self::Plain
        }
    }

    fn write(self, secret: &[u8], out: &mut Zeroizing<Vec<u8>>) -> Result<(), Unresolvable> {
        match self {
            Self::Plain => append(secret, out),
            Self::Json => {
                make_room(out, secret.len() * 6);
                encode::json_string(secret, out)
                    .map_err(|encode::NotUtf8| Unresolvable::Unavailable)?;
            }
            Self::Xml => {
                make_room(out, secret.len() * 6);
                encode::xml_text(secret, out);
            }
        }
        Ok(())
    }
}

impl Text {
    /// `bound`: the media type, if something is bound to it.
    pub(super) fn new(bound: Option<&str>) -> Self {
        Self {
            media: bound.map(Into::into),
            form: bound.map_or(Form::Plain, Form::of),
            matcher: Matcher::default(),
        }
    }

    pub(super) fn push(
        &mut self,
        data: &[u8],
        ledger: &mut Ledger,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        let Self {
            media,
            form,
            matcher,
        } = self;
        let release = ledger.release.clone();
        matcher.push(data, &|key: &str| release.knows(key), &mut |piece| {
            take(piece, media.as_deref(), *form, ledger, out)
        })
    }

    pub(super) fn finish(
        &mut self,
        ledger: &mut Ledger,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        let Self {
            media,
            form,
            matcher,
        } = self;
        let release = ledger.release.clone();
        matcher.finish(&|key: &str| release.knows(key), &mut |piece| {
            take(piece, media.as_deref(), *form, ledger, out)
        })
    }
}

fn take(
    piece: Piece<'_>,
    media: Option<&str>,
    form: Form,
    ledger: &mut Ledger,
    out: &mut Zeroizing<Vec<u8>>,
) -> Result<(), Refusal> {
    let write = |secret: &[u8], out: &mut _| form.write(secret, out);
    ledger.take_piece(piece, media, Release::text, write, out)
}

//! URL-encoded forms (`application/x-www-form-urlencoded`, WHATWG URL §5): streamed, name by name.
//!
//! In a bound field a placeholder has to stand alone, plain or percent-encoded; its secret is encoded. Everything else
//! keeps its bytes.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::{Refusal, ledger::Ledger};
use crate::{
    policy::form_decoded,
    rewrite::{
        Unresolvable, append,
        matcher::{Matcher, Piece},
        target::{IN_QUERY, put},
    },
};

/// Longest value of a bound field in which a placeholder is replaced. None that is longer can be one placeholder, or a
/// few: one with every byte percent-encoded has three times `grammar::LONGEST`.
const VALUE_MAX: usize = 8 * 1024;

/// Longest name of a field, percent-encoded: those of the configuration have 128 bytes.
const NAME_MAX: usize = 3 * 128;

/// Follows one form.
#[derive(Default)]
pub(super) struct Form {
    place: Place,
    /// The name, as it is written; at most `NAME_MAX + 1` bytes.
    name: Vec<u8>,
    /// The value of a bound field.
    value: Vec<u8>,
    /// Looks through everything else.
    scan: Scan,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Name,
    /// Of a field that nothing is bound to.
    Other,
    Bound,
    /// Of a bound field, longer than [`VALUE_MAX`].
    Long,
}

impl Form {
    pub(super) fn push(
        &mut self,
        data: &[u8],
        ledger: &mut Ledger,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        let mut rest = data;
        while !rest.is_empty() {
            let end = match self.place {
                Place::Name => memchr::memchr2(b'=', b'&', rest),
                Place::Other | Place::Bound | Place::Long => memchr::memchr(b'&', rest),
            };
            let (text, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.text(text, ledger, out)?;
            let Some((&delimiter, after)) = after.split_first() else {
                return Ok(());
            };
            self.end(ledger, out)?;
            append(&[delimiter], out);
            if delimiter == b'=' {
                self.place = self.place_of_value(ledger);
            } else {
                self.place = Place::Name;
                self.name.clear();
            }
            rest = after;
        }
        Ok(())
    }

    pub(super) fn finish(
        &mut self,
        ledger: &mut Ledger,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        self.end(ledger, out)
    }

    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.name.capacity() + self.value.capacity()
    }

    /// More of the name or the value.
    fn text(
        &mut self,
        text: &[u8],
        ledger: &mut Ledger,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        match self.place {
            Place::Bound if self.value.len() + text.len() <= VALUE_MAX => {
                self.value.extend_from_slice(text);
                return Ok(());
            }
            Place::Bound => {
                self.place = Place::Long;
                let value = std::mem::take(&mut self.value);
                self.scan.push(&value, Place::Long, ledger)?;
                append(&value, out);
            }
            Place::Name => {
                let room = (NAME_MAX + 1).saturating_sub(self.name.len());
                let (kept, _) = text.split_at(room.min(text.len()));
                self.name.extend_from_slice(kept);
            }
            Place::Other | Place::Long => {}
        }
        self.scan.push(text, self.place, ledger)?;
        append(text, out);
        Ok(())
    }

    /// The name or the value is complete.
    fn end(&mut self, ledger: &mut Ledger, out: &mut Zeroizing<Vec<u8>>) -> Result<(), Refusal> {
        if self.place != Place::Bound {
            return self.scan.finish(self.place, ledger);
        }
        let value = std::mem::take(&mut self.value);
        let release = ledger.release.clone();
        let name = form_decoded(&self.name);
        let find = |key: &str| release.form(&name, key).map(Some);
        let used = put(&value, IN_QUERY, &release, ledger.left(), out, find)?;
        ledger.spend(&used)
    }

    fn place_of_value(&self, ledger: &Ledger) -> Place {
        let fits = self.name.len() <= NAME_MAX;
        if fits && ledger.release.binds_form(&form_decoded(&self.name)) {
            Place::Bound
        } else {
            Place::Other
        }
    }
}

/// Looks for placeholders that nothing is done about, under percent-encoding.
#[derive(Default)]
struct Scan {
    /// An escape that is cut off: at most two bytes.
    cut: Vec<u8>,
    matcher: Matcher,
}

impl Scan {
    fn push(&mut self, text: &[u8], place: Place, ledger: &Ledger) -> Result<(), Refusal> {
        let text = if self.cut.is_empty() {
            Cow::Borrowed(text)
        } else {
            let mut whole = std::mem::take(&mut self.cut);
            whole.extend_from_slice(text);
            Cow::Owned(whole)
        };
        let tail = text.len().saturating_sub(2);
        let end = text
            .iter()
            .skip(tail)
            .position(|byte| *byte == b'%')
            .map_or(text.len(), |at| tail + at);
        let (whole, cut) = text.split_at(end);
        self.cut.extend_from_slice(cut);
        let plain: Cow<'_, [u8]> = percent_decode(whole).into();
        let known = |key: &str| ledger.release.knows(key);
        let sink = &mut |piece: Piece<'_>| found(piece, place, ledger);
        self.matcher.push(&plain, &known, sink)
    }

    fn finish(&mut self, place: Place, ledger: &Ledger) -> Result<(), Refusal> {
        let cut = std::mem::take(&mut self.cut);
        let known = |key: &str| ledger.release.knows(key);
        let sink = &mut |piece: Piece<'_>| found(piece, place, ledger);
        self.matcher.push(&cut, &known, sink)?;
        self.matcher.finish(&known, sink)
    }
}

fn found(piece: Piece<'_>, place: Place, ledger: &Ledger) -> Result<(), Refusal> {
    match (piece, place) {
        (Piece::Text(_), _) => Ok(()),
        (Piece::Placeholder { .. }, Place::Bound | Place::Long) => {
            Err(Unresolvable::Misplaced.into())
        }
        (Piece::Placeholder { .. }, Place::Name | Place::Other) => ledger.pass(),
    }
}

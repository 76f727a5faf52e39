//! Puts secrets into the bound fields of messages in a binary format.
//!
//! A field is logical: `d`, `token` is the same place in JSON, in Discord's ETF and in msgpack, and what holds for it in
//! `document` holds for it here: guards, members that are there twice, placeholders that cannot be resolved.
//!
//! | a message begins with | it is |
//! |---|---|
//! | `83 74` | ETF: the version, then a map |
//! | `80` to `8f`, `de`, `df` | msgpack: a map |
//! | anything else | opaque |
//!
//! Other roots have no members, and so no field. `83 74` might also begin a msgpack map of three whose first name is
//! the number 116. Nobody names members so, but somebody who wants a server to see the secret elsewhere than we do
//! might: a message that is whole in both formats is opaque.
//!
//! An opaque message that mentions a placeholder goes on untouched, and is counted: a login fails, nothing leaks.
//! One that begins in a known format but does not go on in it is refused if a secret would have gone in, else opaque.
//!
//! Secrets stand in strings of these formats as they are. They have to be UTF-8 all the same: msgpack asks for it, and
//! a secret that JSON cannot carry is no more bound to the field when a client chooses another encoding.

use std::sync::Arc;

use zeroize::Zeroizing;

use self::reader::{Fault, Reader, Text};
use super::{
    RELEASES_MAX, Unresolvable, append,
    document::{Refusal, Rules, Worth},
    grammar,
    matcher::{Matcher, Piece},
};
use crate::{secrets::SecretName, stats::connection::Connection};

mod etf;
mod msgpack;
mod reader;

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It goes on as it is.
    Unchanged,
    /// This goes on in its place.
    Rewritten(Zeroizing<Vec<u8>>),
    /// It mentions a placeholder and goes on as it is, since its format is not known. That was counted.
    Opaque,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Etf,
    MessagePack,
}

/// A message that secrets go into.
struct Rewriting<'r> {
    rules: &'r Rules,
    format: Format,
    message: &'r [u8],
    /// Bytes of `message` that are dealt with.
    done: usize,
    out: Zeroizing<Vec<u8>>,
    /// Fields and names of the secrets that went in, once for each time.
    released: Vec<(usize, &'r SecretName)>,
    /// Placeholders that stay the text that they are.
    passed: u64,
}

/// Rewrites a whole message. JSON in a binary message is for `document`.
///
/// # Errors
/// The message may not go on.
pub(crate) fn rewrite(
    rules: &Arc<Rules>,
    message: &[u8],
    stats: &Arc<Connection>,
) -> Result<Outcome, Refusal> {
    if !grammar::mentions(message) {
        return Ok(Outcome::Unchanged);
    }
    let opaque = || {
        rules.pass_opaque(stats)?;
        Ok(Outcome::Opaque)
    };
    let Some(format) = Format::of(message) else {
        return opaque();
    };
    let mut reader = Reader::new(rules.fields().clone(), message);
    let whole = format.read(&mut reader);
    let mut rewriting = Rewriting {
        rules,
        format,
        message,
        done: 0,
        out: Zeroizing::new(Vec::new()),
        released: Vec::new(),
        passed: 0,
    };
    for text in reader.texts() {
        rewriting.take(text, &reader)?;
    }
    match whole {
        Err(Fault) if !rewriting.released.is_empty() => return Err(Refusal::Malformed),
        Err(Fault) => return opaque(),
        Ok(()) if format == Format::Etf && is_message_pack(rules, message) => return opaque(),
        Ok(()) => {}
    }
    for _ in 0..rewriting.passed {
        rules.pass_unbound(stats)?;
    }
    for (_, name) in &rewriting.released {
        stats.count_rewrite(name);
    }
    let fields: Vec<_> = rewriting.released.iter().map(|(field, _)| *field).collect();
    let outcome = rewriting.finish();
    if let Outcome::Rewritten(out) = &outcome {
        let [without, with] = [message.len(), out.len()].map(|length| length as u64);
        rules.watch_limit(fields.into_iter(), without, with, stats);
    }
    Ok(outcome)
}

fn is_message_pack(rules: &Rules, message: &[u8]) -> bool {
    let mut reader = Reader::new(rules.fields().clone(), message);
    Format::MessagePack.read(&mut reader).is_ok()
}

impl Format {
    fn of(message: &[u8]) -> Option<Self> {
        match message {
            [etf::VERSION, etf::MAP, ..] => Some(Self::Etf),
            [0x80..=0x8f | 0xde | 0xdf, ..] => Some(Self::MessagePack),
            _ => None,
        }
    }

    fn read(self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match self {
            Self::Etf => etf::read(reader)?,
            Self::MessagePack => msgpack::read(reader)?,
        }
        reader.end()
    }

    /// Appends what stands before a string's `length` bytes, in the manner of `tag`; `None` if they are too many.
    fn put_header(self, tag: u8, length: usize, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Etf => etf::put_header(tag, length, out),
            Self::MessagePack => msgpack::put_header(tag, length, out),
        }
    }
}

impl<'r> Rewriting<'r> {
    /// Takes the next text that mentions a placeholder.
    fn take(&mut self, text: &Text<'_>, reader: &Reader<'_>) -> Result<(), Refusal> {
        let rules = self.rules;
        let before = self.released.len();
        // Growing leaves no copy behind.
        let mut content = Zeroizing::new(Vec::new());
        let mut sink = |piece: Piece<'_>| {
            let plain = match piece {
                Piece::Text(plain) => plain,
                Piece::Placeholder { raw, key } => {
                    let fields = text.fields.iter();
                    let fields = fields.map(|field| (*field, reader.guard(*field)));
                    match rules.worth(fields, key)? {
                        // The whole message was read: a guard that was not seen is not there.
                        Worth::Text | Worth::Undecided => {
                            self.passed += 1;
                            raw
                        }
                        Worth::Secret {
                            field,
                            name,
                            secret,
                        } => {
                            if self.released.len() == RELEASES_MAX {
                                return Err(Refusal::TooMany);
                            }
                            if str::from_utf8(secret).is_err() {
                                return Err(UNAVAILABLE);
                            }
                            rules.note(name, secret, raw);
                            self.released.push((field, name));
                            secret
                        }
                    }
                }
            };
            append(plain, &mut content);
            Ok(())
        };
        let known = |key: &str| rules.knows(key);
        Matcher::whole(text.content, &known, &mut sink)?;
        if self.released.len() == before {
            return Ok(());
        }
        let kept = self.message.get(self.done..text.start).unwrap_or_default();
        self.done = text.end;
        let mut header = Vec::with_capacity(HEADER_MAX);
        self.format
            .put_header(text.tag, content.len(), &mut header)
            .ok_or(UNAVAILABLE)?;
        for part in [kept, &header, &content] {
            append(part, &mut self.out);
        }
        Ok(())
    }

    fn finish(mut self) -> Outcome {
        if self.released.is_empty() {
            return Outcome::Unchanged;
        }
        let kept = self.message.get(self.done..).unwrap_or_default();
        append(kept, &mut self.out);
        Outcome::Rewritten(self.out)
    }
}

/// A secret has no form in the string that it is bound to.
const UNAVAILABLE: Refusal = Refusal::Unresolvable(Unresolvable::Unavailable);

/// A tag and a length of 32 bits.
const HEADER_MAX: usize = 5;

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;

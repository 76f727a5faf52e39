//! Finds placeholders in a stream of bytes, however it is split.

use std::mem;

use super::grammar::{self, LEAD_MAX, LONGEST, MARKER, PREFIX, Tail};

/// A part of the text, in order; nothing is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    Text(&'t [u8]),
    Placeholder {
        /// As it stands in the text: prefix, revision, an alias's lead.
        raw: &'t [u8],
        key: &'t str,
    },
}

/// Cuts a text into placeholders and what is between them.
///
/// Holds back at most [`LONGEST`] bytes, and only from where a placeholder may have begun: a started prefix, or (since
/// an alias is replaced with its lead) the last word of what has been seen. How the text is split never matters.
#[derive(Default)]
pub(crate) struct Matcher {
    held: Vec<u8>,
    /// The byte before `held`: an alias begins its token.
    previous: Option<u8>,
}

impl Matcher {
    /// Gives `sink` the pieces of a text that is all there.
    ///
    /// # Errors
    /// Those of `sink`.
    pub(crate) fn whole<E>(
        text: &[u8],
        known: &impl Fn(&str) -> bool,
        sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        Self::default().scan(text, true, known, sink)?;
        Ok(())
    }

    /// Takes more text and gives `sink` the pieces that are decided. `known` tells which keys name a secret.
    ///
    /// # Errors
    /// Those of `sink`. The matcher is of no further use after one.
    pub(crate) fn push<E>(
        &mut self,
        mut input: &[u8],
        known: &impl Fn(&str) -> bool,
        sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !self.held.is_empty() {
            if input.is_empty() {
                return Ok(());
            }
            // As much as decides what is open.
            let (now, later) = input.split_at(input.len().min(LONGEST));
            let mut text = mem::take(&mut self.held);
            let old = text.len();
            text.extend_from_slice(now);
            let done = self.scan(&text, false, known, sink)?;
            if let Some(done) = done.checked_sub(old) {
                // What is open now stands in the input alone.
                input = input.split_at(done).1;
                break;
            }
            text.drain(..done);
            self.held = text;
            input = later;
        }
        let done = self.scan(input, false, known, sink)?;
        self.held.extend_from_slice(input.split_at(done).1);
        Ok(())
    }

    /// The text ends here: gives `sink` the rest and is ready for another text.
    ///
    /// # Errors
    /// Those of `sink`.
    pub(crate) fn finish<E>(
        &mut self,
        known: &impl Fn(&str) -> bool,
        sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let text = mem::take(&mut self.held);
        self.scan(&text, true, known, sink)?;
        self.previous = None;
        Ok(())
    }

    /// Bytes that are held back, at most [`LONGEST`].
    #[cfg(any(test, fuzzing))]
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Gives out the pieces of `text` up to where more bytes are needed, and returns that place.
    fn scan<E>(
        &mut self,
        text: &[u8],
        end: bool,
        known: &impl Fn(&str) -> bool,
        sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut view = View {
            text,
            previous: self.previous,
            given: 0,
        };
        let mut prefixes = Occurrences::new(grammar::find_prefix);
        let mut markers = Occurrences::new(grammar::find_marker);
        let open = loop {
            let alias = loop {
                match markers.next(text) {
                    None => break None,
                    Some(marker) => match view.lead(marker) {
                        Some(start) => break Some((start, marker)),
                        None => markers.skip(),
                    },
                }
            };
            let canonical = prefixes.next(text);
            let (start, tail_at, tail) = match (alias, canonical) {
                (Some((start, marker)), canonical) if canonical.is_none_or(|c| start < c) => {
                    let tail_at = marker + MARKER.len();
                    let tail = grammar::alias_tail(view.from(tail_at), end, known);
                    (start, tail_at, tail)
                }
                (_, Some(start)) => {
                    let tail_at = start + PREFIX.len();
                    let tail = grammar::canonical_tail(view.from(tail_at), end, known);
                    (start, tail_at, tail)
                }
                _ => break if end { text.len() } else { view.open() },
            };
            match tail {
                Tail::Incomplete => break start,
                Tail::Text if canonical == Some(start) => prefixes.skip(),
                Tail::Text => markers.skip(),
                Tail::Key { key, len } => {
                    view.give_text(start, sink)?;
                    let raw = view.upto(tail_at + len);
                    sink(Piece::Placeholder { raw, key })?;
                    view.given = tail_at + len;
                    prefixes.restart(view.given);
                    markers.restart(view.given);
                }
            }
        };
        view.give_text(open, sink)?;
        self.previous = view.before(open);
        Ok(open)
    }
}

/// A stretch of text that is being cut up.
struct View<'t> {
    text: &'t [u8],
    /// The byte before `text`.
    previous: Option<u8>,
    /// Everything before went to the sink.
    given: usize,
}

impl<'t> View<'t> {
    fn give_text<E>(
        &mut self,
        upto: usize,
        sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let text = self.upto(upto);
        if !text.is_empty() {
            sink(Piece::Text(text))?;
            self.given = upto;
        }
        Ok(())
    }

    fn from(&self, at: usize) -> &'t [u8] {
        self.text.get(at..).unwrap_or_default()
    }

    /// What was not given out yet, up to `at`.
    fn upto(&self, at: usize) -> &'t [u8] {
        self.text.get(self.given..at).unwrap_or_default()
    }

    fn before(&self, at: usize) -> Option<u8> {
        match at.checked_sub(1) {
            None => self.previous,
            Some(at) => self.text.get(at).copied(),
        }
    }

    /// Where the alias begins whose marker stands at `marker`, if its lead is one.
    fn lead(&self, marker: usize) -> Option<usize> {
        let start = self.word(marker, LEAD_MAX)?;
        (start < marker).then_some(start)
    }

    /// Where the word that ends before `end` begins; `None` if it is longer than `max` or its beginning is gone.
    fn word(&self, end: usize, max: usize) -> Option<usize> {
        let text = self.upto(end);
        let length = text
            .iter()
            .rev()
            .take(max)
            .take_while(|byte| grammar::is_lead_byte(**byte))
            .count();
        let start = end - length;
        let begins = !self.before(start).is_some_and(grammar::is_lead_byte);
        begins.then_some(start)
    }

    /// Where a placeholder may have begun of which the text's end cuts off the prefix or the marker.
    fn open(&self) -> usize {
        let end = self.text.len();
        let rest = self.upto(end);
        let prefix = cut_off(rest, PREFIX);
        // Either all of the last word is lead, or its end is a marker's beginning.
        let alias = [0, cut_off(rest, MARKER)].into_iter().find_map(|marker| {
            let start = self.word(end - marker, LEAD_MAX)?;
            (start < end).then_some(end - start)
        });
        end - prefix.max(alias.unwrap_or(0))
    }
}

/// Length of the longest beginning of `word`, but not all of it, that `text` ends with.
fn cut_off(text: &[u8], word: &[u8]) -> usize {
    (1..word.len())
        .rev()
        .find(|length| text.ends_with(word.split_at(*length).0))
        .unwrap_or(0)
}

/// The places of a word, searched for only once each: a text full of one of the two words costs no more than any other.
struct Occurrences {
    find: fn(&[u8]) -> Option<usize>,
    from: usize,
    found: Option<Option<usize>>,
}

impl Occurrences {
    fn new(find: fn(&[u8]) -> Option<usize>) -> Self {
        Self {
            find,
            from: 0,
            found: None,
        }
    }

    fn next(&mut self, text: &[u8]) -> Option<usize> {
        *self.found.get_or_insert_with(|| {
            let rest = text.get(self.from..)?;
            Some(self.from + (self.find)(rest)?)
        })
    }

    /// The place that `next` gave is none.
    fn skip(&mut self) {
        if let Some(Some(at)) = self.found.take() {
            self.from = at + 1;
        }
    }

    /// What begins before `from` is done with.
    fn restart(&mut self, from: usize) {
        self.from = self.from.max(from);
        if self.found.flatten().is_some_and(|at| at < from) {
            self.found = None;
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;

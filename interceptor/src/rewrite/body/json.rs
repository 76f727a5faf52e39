//! JSON bodies: what [`Document`] does for messages, with a hold of its own.
//!
//! A body that is whole within the hold is rewritten whole: its guards may stand anywhere, and placeholders spelled with
//! `\u` escapes are seen. A longer one is streamed.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{HOLD, Refusal, ledger::Ledger};
use crate::rewrite::{
    append,
    document::{self, Document, Rules},
    grammar, make_room,
};

/// Begins a text that is not UTF-8 and not JSON either (RFC 8259 §8.1), but that some servers read as it.
const OTHER_UNICODES: [&[u8]; 2] = [b"\xfe\xff", b"\xff\xfe"];

/// May stand before the text, to be overlooked (RFC 8259 §8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Follows one body.
pub(super) struct Json {
    rules: Arc<Rules>,
    bound: bool,
    stage: Stage,
}

enum Stage {
    /// Never a secret among it.
    Held(Vec<u8>),
    Streamed(Box<Document>),
}

impl Json {
    pub(super) fn new(ledger: &Ledger) -> Self {
        let rules = Rules::for_body(ledger.release.clone(), ledger.left());
        Self {
            bound: rules.has_fields(),
            rules,
            stage: Stage::Held(Vec::new()),
        }
    }

    pub(super) fn push(
        &mut self,
        data: &[u8],
        ledger: &mut Ledger,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        match &mut self.stage {
            Stage::Held(held) if held.len() + data.len() <= HOLD => {
                held.extend_from_slice(data);
                Ok(())
            }
            Stage::Held(held) => {
                let mut held = std::mem::take(held);
                // Whatever it is pushed in: what is looked through for guards is one and the same.
                let (fits, rest) = data.split_at(HOLD.saturating_sub(held.len()));
                held.extend_from_slice(fits);
                let text = self.text_of(&held)?;
                append(held.split_at(held.len() - text.len()).0, out);
                let document = Document::begin(&self.rules, text, false, &ledger.stats);
                let mut document = Box::new(document);
                stream(&mut document, text, ledger, out)?;
                stream(&mut document, rest, ledger, out)?;
                self.stage = Stage::Streamed(document);
                Ok(())
            }
            Stage::Streamed(document) => stream(document, data, ledger, out),
        }
    }

    pub(super) fn finish(
        &mut self,
        ledger: &mut Ledger,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        match &mut self.stage {
            Stage::Held(held) => {
                let held = std::mem::take(held);
                let text = self.text_of(&held)?;
                match document::rewrite(&self.rules, text, &ledger.stats)? {
                    None => append(&held, out),
                    Some(rewritten) => {
                        append(held.split_at(held.len() - text.len()).0, out);
                        append(&rewritten, out);
                        // How many is of no use any more.
                        ledger.take(1)?;
                    }
                }
                Ok(())
            }
            Stage::Streamed(document) => {
                make_room(out, ROOM);
                let before = document.released();
                document.finish(out)?;
                spent(document, before, ledger)
            }
        }
    }

    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        match &self.stage {
            Stage::Held(held) => held.capacity(),
            Stage::Streamed(_) => 0,
        }
    }

    /// Without the mark that may stand before it.
    fn text_of<'t>(&self, body: &'t [u8]) -> Result<&'t [u8], Refusal> {
        let wide = body.iter().take(2).any(|byte| *byte == 0);
        let other = OTHER_UNICODES.iter().any(|mark| body.starts_with(mark));
        if self.bound && (wide || other) {
            return Err(Refusal::Charset);
        }
        Ok(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body))
    }
}

/// What a document may append beside its text, nearly always: more is appended all the same, and leaves a copy behind.
const ROOM: usize = grammar::LONGEST + 4096;

fn stream(
    document: &mut Document,
    text: &[u8],
    ledger: &mut Ledger,
    out: &mut Zeroizing<Vec<u8>>,
) -> Result<(), Refusal> {
    make_room(out, text.len() + ROOM);
    let before = document.released();
    document.push(text, out)?;
    spent(document, before, ledger)
}

/// `before`: secrets that the document had taken.
fn spent(document: &Document, before: usize, ledger: &mut Ledger) -> Result<(), Refusal> {
    ledger.take(document.released() - before)
}

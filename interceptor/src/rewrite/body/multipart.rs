//! Multipart forms (`multipart/form-data`, RFC 7578): streamed, part by part.
//!
//! A secret goes anywhere into the content of a part that the binding names, as it is, file or not. Everything else keeps
//! its bytes.
//!
//! Servers read odd forms in different ways, and a secret must not land in another field than the one that was meant. So
//! a part is bound only if its fields leave no doubt about its name; and from where the form itself is in doubt (a
//! boundary that is not a line of its own, bare line ends before it, text before the first part) no place in it is
//! bound any more. A form that took a secret and then turns out so is refused.

mod part;

use memchr::memmem::Finder;
use zeroize::Zeroizing;

use self::part::Part;
use super::{Refusal, ledger::Ledger};
use crate::rewrite::{
    Unresolvable, append,
    matcher::{Matcher, Piece},
    release::Release,
};

/// Longest head of a part.
const HEAD_MAX: usize = 8 * 1024;

/// Longest white space behind a boundary.
const PADDING_MAX: usize = 256;

/// Follows one form.
pub(super) struct Multipart {
    /// `--` and the boundary.
    delimiter: Finder<'static>,
    stage: Stage,
    /// What has come and is not decided; never a secret among it.
    held: Vec<u8>,
    matcher: Matcher,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// At the first boundary, or at the one that ends a part.
    Boundary,
    /// Behind a boundary, on its line.
    Delimiter,
    Head,
    /// Inside a part.
    Content(Part),
    /// Behind the last boundary.
    End,
    /// Nobody knows.
    Doubt,
}

/// What a stage made of what is held.
enum Step {
    /// It needs more.
    Wait,
    /// So many bytes belong to it, and another stage follows.
    Next(usize, Stage),
    /// So many bytes belong to it, and it goes on.
    Stay(usize),
}

impl Multipart {
    /// `boundary`: that of the Content-Type.
    pub(super) fn new(boundary: Option<&[u8]>) -> Self {
        let boundary = boundary.filter(|boundary| is_boundary(boundary));
        let delimiter = [b"--", boundary.unwrap_or_default()].concat();
        Self {
            delimiter: Finder::new(&delimiter).into_owned(),
            stage: match boundary {
                Some(_) => Stage::Boundary,
                None => Stage::Doubt,
            },
            held: Vec::new(),
            matcher: Matcher::default(),
        }
    }

    pub(super) fn push(
        &mut self,
        data: &[u8],
        ledger: &mut Ledger,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        self.held.extend_from_slice(data);
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while !rest.is_empty() {
            let (taken, next) = match self.step(rest, ledger) {
                Step::Wait => break,
                Step::Next(taken, stage) => (taken, Some(stage)),
                Step::Stay(0) => break,
                Step::Stay(taken) => (taken, None),
            };
            let (text, behind) = rest.split_at(taken);
            self.search(text, next.is_some(), ledger, out)?;
            rest = behind;
            if let Some(stage) = next {
                self.stage = stage;
                if self.stage == Stage::Doubt && ledger.taken() > 0 {
                    return Err(Refusal::Malformed);
                }
            }
        }
        self.held = rest.to_vec();
        Ok(())
    }

    pub(super) fn finish(
        &mut self,
        ledger: &mut Ledger,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        let held = std::mem::take(&mut self.held);
        self.search(&held, true, ledger, out)?;
        if self.stage != Stage::End && ledger.taken() > 0 {
            return Err(Refusal::Malformed);
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.held.capacity()
    }

    fn step(&self, held: &[u8], ledger: &Ledger) -> Step {
        match &self.stage {
            Stage::Boundary => self.boundary(held),
            Stage::Delimiter => delimiter_line(held),
            Stage::Head => head(held, ledger),
            Stage::Content(_) => self.content(held),
            Stage::End | Stage::Doubt => Step::Stay(held.len()),
        }
    }

    /// Some clients begin with an empty line; any other text before the first boundary is read in different ways.
    fn boundary(&self, held: &[u8]) -> Step {
        let delimiter = self.delimiter.needle();
        let text = held.strip_prefix(b"\r\n").unwrap_or(held);
        if text.starts_with(delimiter) {
            let before = held.len() - text.len();
            return Step::Next(before + delimiter.len(), Stage::Delimiter);
        }
        if delimiter.starts_with(text) || held == b"\r" {
            return Step::Wait;
        }
        Step::Next(0, Stage::Doubt)
    }

    /// Looks for the end of a part's content.
    fn content(&self, held: &[u8]) -> Step {
        let delimiter = self.delimiter.needle();
        if let Some(at) = self.delimiter.find(held) {
            // The line's end before the boundary is not the part's.
            return match held.split_at(at).0.strip_suffix(LINE_END) {
                Some(content) => Step::Next(content.len(), Stage::Boundary),
                None => Step::Next(at, Stage::Doubt),
            };
        }
        // What may be the beginning of a boundary, and the line's end before it.
        let open = LINE_END.len() + delimiter.len() - 1;
        Step::Stay(held.len().saturating_sub(open))
    }

    /// Gives on `text`, which belongs to the present stage. At its end no placeholder reaches beyond it.
    fn search(
        &mut self,
        text: &[u8],
        end: bool,
        ledger: &mut Ledger,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        let Self {
            delimiter,
            stage,
            matcher,
            ..
        } = self;
        let release = ledger.release.clone();
        let known = |key: &str| release.knows(key);
        let place = place(stage);
        let mut sink = |piece: Piece<'_>| take(piece, place, delimiter, ledger, out);
        matcher.push(text, &known, &mut sink)?;
        if end {
            matcher.finish(&known, &mut sink)?;
        }
        Ok(())
    }
}

const LINE_END: &[u8] = b"\r\n";

/// The bound field's name.
fn place(stage: &Stage) -> Option<&str> {
    match stage {
        Stage::Content(Part::Bound(name)) => Some(name),
        Stage::Content(Part::Other)
        | Stage::Boundary
        | Stage::Delimiter
        | Stage::Head
        | Stage::End
        | Stage::Doubt => None,
    }
}

fn take(
    piece: Piece<'_>,
    place: Option<&str>,
    delimiter: &Finder<'_>,
    ledger: &mut Ledger,
    out: &mut Zeroizing<Vec<u8>>,
) -> Result<(), Refusal> {
    let write = |secret: &[u8], out: &mut _| {
        // It would end its part.
        if delimiter.find(secret).is_some() {
            return Err(Unresolvable::Unavailable);
        }
        append(secret, out);
        Ok(())
    };
    ledger.take_piece(
        piece,
        place.map(str::as_bytes),
        Release::multipart,
        write,
        out,
    )
}

/// What follows a boundary: a line's end, or the two dashes of the last one.
fn delimiter_line(held: &[u8]) -> Step {
    let padding = held
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t'))
        .unwrap_or(held.len());
    let (_, text) = held.split_at(padding);
    if padding == 0 && held.starts_with(b"--") {
        return Step::Next(2, Stage::End);
    }
    if text.starts_with(LINE_END) {
        return Step::Next(padding + LINE_END.len(), Stage::Head);
    }
    let open = text.is_empty() || text == b"\r" || padding == 0 && held == b"-";
    if open && padding <= PADDING_MAX {
        return Step::Wait;
    }
    Step::Next(0, Stage::Doubt)
}

/// The fields of a part, up to its empty line.
fn head(held: &[u8], ledger: &Ledger) -> Step {
    let empty = held.starts_with(LINE_END).then_some(0);
    let end = empty.or_else(|| memchr::memmem::find(held, b"\r\n\r\n").map(|at| at + 2));
    match end {
        Some(end) if end <= HEAD_MAX => {
            let (fields, _) = held.split_at(end);
            let part = Part::read(fields, |name| ledger.release.binds_multipart(name));
            Step::Next(end + LINE_END.len(), Stage::Content(part))
        }
        None if held.len() <= HEAD_MAX => Step::Wait,
        Some(_) | None => Step::Next(0, Stage::Doubt),
    }
}

/// RFC 2046 §5.1.1.
fn is_boundary(text: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    (1..=70).contains(&text.len()) && text.iter().all(allowed) && !text.ends_with(b" ")
}

//! YAML with a position for every node, decoded so that all faults of a file come out at once.
//!
//! A decoder takes a [`Node`] and a [`Findings`]; it answers `None` only after it has recorded a fault, and its caller
//! goes on with the next node.

mod compose;
mod fields;
mod finding;
mod node;
mod suggest;

use std::{path::Path, sync::Arc};

pub(crate) use self::{
    fields::Fields,
    finding::{Faults, Findings, Level, Report},
    node::{Entry, Node, Position},
    suggest::nearest,
};
use crate::file;

/// Bytes of one file.
const MAX_FILE: usize = 1 << 20;

/// Reads and parses a file. `named_at` is the place that names it, where its absence is reported; `None` for the first
/// file, whose absence is reported at its own start.
pub(crate) fn load(
    path: &Path,
    named_at: Option<&Position>,
    findings: &mut Findings,
) -> Option<Node> {
    let start = Position::start_of(path);
    let contents = match file::read(path, MAX_FILE) {
        Ok(contents) => contents,
        Err(error) => {
            let at = named_at.unwrap_or(&start);
            findings.fault(
                at,
                format!("{} {}", path.display(), crate::error::chain(&error)),
            );
            return None;
        }
    };
    match std::str::from_utf8(&contents.bytes) {
        Ok(text) => compose::compose(&start.file, text, findings),
        Err(error) => {
            let before = contents
                .bytes
                .get(..error.valid_up_to())
                .unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let line_start = before
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            // The part before the fault is valid: every byte that does not continue a character begins one.
            let column = before
                .get(line_start..)
                .unwrap_or_default()
                .iter()
                .filter(|byte| **byte & 0xc0 != 0x80)
                .count()
                + 1;
            findings.fault(&start.moved_to(line, column), "not UTF-8");
            None
        }
    }
}

/// Parses text that is part of the program, under a name for its faults.
pub(crate) fn parse(name: &str, text: &str, findings: &mut Findings) -> Option<Node> {
    compose::compose(&Arc::from(Path::new(name)), text, findings)
}

#[cfg(test)]
mod tests;

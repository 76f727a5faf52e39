//! A mapping whose keys a schema knows.

use super::{Entry, Findings, Node, Position, suggest};

/// Hands out a mapping's values by key and knows afterwards which keys nobody asked for.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    at: &'a Position,
    entries: Vec<&'a Entry>,
    known: Vec<&'static str>,
    quoted: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn new(at: &'a Position, entries: &'a [Entry]) -> Self {
        Self {
            at,
            entries: entries.iter().collect(),
            known: Vec::new(),
            quoted: true,
        }
    }

    /// Keeps unknown keys out of faults, where a slip may make a key of a secret.
    pub(crate) fn unquoted(mut self) -> Self {
        self.quoted = false;
        self
    }

    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.take_entry(key).map(|entry| &entry.value)
    }

    /// The value with its key, for a report at the key.
    pub(crate) fn take_entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.push(key);
        let index = self.entries.iter().position(|entry| *entry.key == *key)?;
        Some(self.entries.remove(index))
    }

    pub(crate) fn require(
        &mut self,
        key: &'static str,
        findings: &mut Findings,
    ) -> Option<&'a Node> {
        let value = self.take(key);
        if value.is_none() {
            findings.fault(self.at, format!("the key `{key}` is missing"));
        }
        value
    }

    /// What nobody asked for, where other keys have a meaning of their own.
    pub(crate) fn rest(self) -> Vec<&'a Entry> {
        self.entries
    }

    /// Records a fault for every key that nobody asked for.
    pub(crate) fn finish(self, findings: &mut Findings) {
        let Self {
            at: _,
            entries,
            known,
            quoted,
        } = self;
        for Entry { key, key_at, .. } in entries {
            let mut message = String::from("unknown key");
            if quoted {
                message.push_str(&format!(" `{}`", shortened(key)));
            }
            match suggest::nearest(key, known.iter().copied()) {
                Some(word) => message.push_str(&format!("; did you mean `{word}`?")),
                None => message.push_str(&format!("; known here: {}", known.join(", "))),
            }
            findings.fault(key_at, message);
        }
    }
}

/// A key fit for one line of a terminal.
fn shortened(key: &str) -> String {
    const MAX_SHOWN: usize = 40;
    let mut shown: String = key
        .chars()
        .take(MAX_SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if key.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

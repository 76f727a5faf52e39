//! A parsed node and its decoding into simple types.

use std::{error::Error, ops::RangeInclusive, path::Path, str::FromStr, sync::Arc};

use super::{Fields, Findings, suggest};

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) file: Arc<Path>,
    /// From 1.
    pub(crate) line: u32,
    /// From 1, in characters.
    pub(crate) column: u32,
}

/// A scalar, list or mapping, and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar {
        text: Box<str>,
        /// Neither quoted nor a block: its type follows from its text.
        plain: bool,
    },
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Box<str>,
    pub(crate) key_at: Position,
    pub(crate) value: Node,
}

/// Types of YAML's core schema (YAML 1.2.2 §10.3.2), worded for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Boolean,
    Number,
    Text,
    List,
    Mapping,
}

impl Position {
    pub(crate) fn start_of(file: &Path) -> Self {
        Self {
            file: file.into(),
            line: 1,
            column: 1,
        }
    }

    pub(crate) fn moved_to(&self, line: usize, column: usize) -> Self {
        Self {
            file: Arc::clone(&self.file),
            line: line.try_into().unwrap_or(u32::MAX),
            column: column.try_into().unwrap_or(u32::MAX),
        }
    }
}

impl Node {
    pub(crate) fn text(&self, findings: &mut Findings) -> Option<&str> {
        match (&self.value, self.kind()) {
            (Value::Scalar { text, .. }, Kind::Text) => Some(text),
            (_, kind @ (Kind::Number | Kind::Boolean)) => {
                let found = kind.words();
                findings.fault(
                    &self.at,
                    format!("expected text, found {found}: put it in quotes"),
                );
                None
            }
            _ => self.unexpected("text", findings),
        }
    }

    /// Text that a type can be made of. The fault tells why not, without the text.
    pub(crate) fn parse<T>(&self, findings: &mut Findings) -> Option<T>
    where
        T: FromStr,
        T::Err: Error,
    {
        match self.text(findings)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                findings.fault(&self.at, crate::error::chain(&error));
                None
            }
        }
    }

    pub(crate) fn integer(
        &self,
        range: RangeInclusive<u64>,
        findings: &mut Findings,
    ) -> Option<u64> {
        let (Value::Scalar { text, .. }, Kind::Number) = (&self.value, self.kind()) else {
            return self.unexpected("a whole number", findings);
        };
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = range.into_inner();
            findings.fault(
                &self.at,
                format!("expected a whole number from {low} to {high}"),
            );
        }
        number
    }

    pub(crate) fn port(&self, findings: &mut Findings) -> Option<u16> {
        let port = self.integer(1..=u64::from(u16::MAX), findings)?;
        u16::try_from(port).ok()
    }

    pub(crate) fn boolean(&self, findings: &mut Findings) -> Option<bool> {
        match (&self.value, self.kind()) {
            (Value::Scalar { text, .. }, Kind::Boolean) => Some(text.eq_ignore_ascii_case("true")),
            _ => self.unexpected("true or false", findings),
        }
    }

    pub(crate) fn list(&self, findings: &mut Findings) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => self.unexpected("a list", findings),
        }
    }

    /// A list that stands for nothing when it is empty, and so may not be.
    pub(crate) fn filled_list(&self, findings: &mut Findings) -> Option<&[Node]> {
        let items = self.list(findings)?;
        if items.is_empty() {
            findings.fault(&self.at, "the list is empty");
            return None;
        }
        Some(items)
    }

    /// A mapping with keys of the user's choice.
    pub(crate) fn entries(&self, findings: &mut Findings) -> Option<&[Entry]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => self.unexpected("a mapping", findings),
        }
    }

    /// A mapping with keys of ours.
    pub(crate) fn fields(&self, findings: &mut Findings) -> Option<Fields<'_>> {
        self.entries(findings)
            .map(|entries| Fields::new(&self.at, entries))
    }

    /// One of some words.
    pub(crate) fn choice<T: Copy>(
        &self,
        choices: &[(&'static str, T)],
        findings: &mut Findings,
    ) -> Option<T> {
        let text = self.text(findings)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            let mut message = format!("expected one of {}", words.join(", "));
            if let Some(word) = suggest::nearest(text, words) {
                message.push_str(&format!("; did you mean `{word}`?"));
            }
            findings.fault(&self.at, message);
        }
        found.map(|(_, value)| *value)
    }

    pub(crate) fn is_mapping(&self) -> bool {
        matches!(self.value, Value::Mapping(_))
    }

    pub(crate) fn is_text(&self) -> bool {
        self.kind() == Kind::Text
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.value, Value::List(_))
    }

    /// The same node with every `template` in its texts (not in its keys) replaced.
    pub(crate) fn filled(&self, template: &str, replacement: &str) -> Self {
        let value = match &self.value {
            Value::Scalar { text, plain } => Value::Scalar {
                text: text.replace(template, replacement).into(),
                plain: *plain,
            },
            Value::List(items) => Value::List(
                items
                    .iter()
                    .map(|item| item.filled(template, replacement))
                    .collect(),
            ),
            Value::Mapping(entries) => Value::Mapping(
                entries
                    .iter()
                    .map(|entry| Entry {
                        key: entry.key.clone(),
                        key_at: entry.key_at.clone(),
                        value: entry.value.filled(template, replacement),
                    })
                    .collect(),
            ),
        };
        Self {
            at: self.at.clone(),
            value,
        }
    }

    fn unexpected<T>(&self, expected: &str, findings: &mut Findings) -> Option<T> {
        let found = self.kind().words();
        findings.fault(&self.at, format!("expected {expected}, found {found}"));
        None
    }

    fn kind(&self) -> Kind {
        match &self.value {
            Value::Scalar { text, plain: true } => Kind::of_plain(text),
            Value::Scalar { plain: false, .. } => Kind::Text,
            Value::List(_) => Kind::List,
            Value::Mapping(_) => Kind::Mapping,
        }
    }
}

impl Kind {
    fn of_plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Nothing,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Self::Boolean,
            _ if is_number(text) => Self::Number,
            _ => Self::Text,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Boolean => "true or false",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Mapping => "a mapping",
        }
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let radix = |prefix: &str, radix: u32| {
        text.strip_prefix(prefix)
            .is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix)))
    };
    let float = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.parse::<f64>().is_ok();
    radix("0x", 16)
        || radix("0o", 8)
        || float
        || matches!(
            unsigned,
            ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
        )
}

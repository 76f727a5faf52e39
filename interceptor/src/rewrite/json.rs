//! Knows at which member of a JSON document a byte stands, while the document streams by.
//!
//! A document is read only as far as a secret depends on it. What cannot be followed without doubt is a *fault*, and
//! from a fault on no byte stands at any field:
//! - what is not JSON, as far as its structure goes (numbers, literals, what strings hold beside escapes of names and
//!   of a guard's values are not checked: they cannot shift the structure);
//! - a document whose root is not an object: no field has a place in it;
//! - nesting deeper than `trail::DEPTH_MAX`.

use std::{borrow::Cow, sync::Arc};

use super::trail::{GuardState, Scalar, TooDeep, Trail};
use crate::policy::binding::{GuardValue, JsonField};

/// Follows one document.
pub(crate) struct Cursor {
    trail: Trail,
    state: State,
    /// The member name that is being read, or the string that a guard asks for, as it is written, without quotes; at
    /// most `word_max + 1` bytes.
    word: Vec<u8>,
    /// A longer one, escapes and all, is none of ours.
    word_max: usize,
    /// The string that is being read is one that a guard asks for.
    keeps_text: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The root.
    Root,
    /// After a colon, or after a comma in an array.
    Value,
    /// After `[`.
    ValueOrEnd,
    /// After a comma in an object.
    Name,
    /// After `{`.
    NameOrEnd,
    InName {
        escaped: bool,
    },
    Colon,
    InString {
        escaped: Escape,
    },
    /// `None`: not an integer that fits.
    Number(Option<Integer>),
    Literal,
    /// After a value: a comma or the container's end.
    Separator,
    /// After the root: only white space.
    End,
    Fault,
}

/// Where in an escape the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    /// After the backslash.
    Kind,
    /// So many hex digits of `\uHHHH` are to come.
    Digits(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Integer {
    value: u64,
    digits: u32,
}

impl Cursor {
    /// A cursor before the first byte of a document.
    pub(crate) fn new(fields: Arc<[JsonField]>) -> Self {
        let names = fields.iter().flat_map(|field| {
            let guard = field.guard.iter().map(|guard| &guard.member);
            field.path.iter().chain(guard)
        });
        let guards = fields.iter().filter_map(|field| field.guard.as_ref());
        let values = guards
            .flat_map(|guard| &guard.values)
            .filter_map(|value| match value {
                GuardValue::Text(text) => Some(text),
                GuardValue::Integer(_) => None,
            });
        // A byte is written with at most six, `\u0041`.
        let word_max = names.chain(values).map(|word| word.len()).max();
        let word_max = word_max.unwrap_or(0) * 6;
        Self {
            trail: Trail::new(fields),
            state: State::Root,
            word: Vec::new(),
            word_max,
            keeps_text: false,
        }
    }

    /// Goes on over `text`.
    pub(crate) fn push(&mut self, text: &[u8]) {
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            rest = match self.state {
                State::Fault => return,
                State::InString {
                    escaped: Escape::None,
                } => {
                    let at = memchr::memchr2(b'"', b'\\', rest);
                    let (plain, special) = rest.split_at(at.unwrap_or(rest.len()));
                    self.keep_text(plain);
                    match special.split_first() {
                        None => return,
                        Some((b'"', after)) => {
                            self.string_end();
                            after
                        }
                        Some((backslash, after)) => {
                            self.keep_text(&[*backslash]);
                            self.state = State::InString {
                                escaped: Escape::Kind,
                            };
                            after
                        }
                    }
                }
                State::InName { escaped: false } => {
                    let at = memchr::memchr2(b'"', b'\\', rest);
                    let (plain, special) = rest.split_at(at.unwrap_or(rest.len()));
                    self.keep_word(plain);
                    match special.split_first() {
                        None => return,
                        Some((b'"', after)) => {
                            self.name_end();
                            after
                        }
                        Some((backslash, after)) => {
                            self.keep_word(&[*backslash]);
                            self.state = State::InName { escaped: true };
                            after
                        }
                    }
                }
                // The delimiter behind a number is read once more.
                State::Number(number) if !is_number_byte(byte) => {
                    self.number_end(number);
                    rest
                }
                State::Literal if !byte.is_ascii_lowercase() => {
                    self.value_end();
                    rest
                }
                _ => {
                    self.step(byte);
                    after
                }
            };
        }
    }

    /// The fields to which the next byte belongs: it is inside a string that is their value, and not inside an escape.
    pub(crate) fn fields_here(&self) -> impl Iterator<Item = usize> {
        let here = self.state
            == State::InString {
                escaped: Escape::None,
            };
        self.trail.fields_here().filter(move |_| here)
    }

    /// What is known so far of the guard of a field.
    pub(crate) fn guard(&self, field: usize) -> GuardState {
        self.trail.guard(field)
    }

    /// The document cannot be followed any more.
    pub(crate) fn is_faulty(&self) -> bool {
        self.state == State::Fault
    }

    /// All of the document was seen and nothing was wrong with it.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::End
    }

    fn step(&mut self, byte: u8) {
        let space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        match (self.state, byte) {
            (
                State::Root
                | State::Value
                | State::ValueOrEnd
                | State::Name
                | State::NameOrEnd
                | State::Colon
                | State::Separator
                | State::End,
                _,
            ) if space => {}
            (State::Root | State::Value | State::ValueOrEnd, b'{') => self.open(true),
            (State::Value | State::ValueOrEnd, b'[') => self.open(false),
            (State::ValueOrEnd, b']') => self.close(false),
            (State::Value | State::ValueOrEnd, _) => self.scalar(byte),
            (State::NameOrEnd, b'}') => self.close(true),
            (State::Name | State::NameOrEnd, b'"') => {
                self.word.clear();
                self.state = State::InName { escaped: false };
            }
            // The byte after a backslash; of `\u0022` the digits are plain bytes.
            (State::InName { .. }, _) => {
                self.keep_word(&[byte]);
                self.state = State::InName { escaped: false };
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::InString { escaped }, _) => {
                self.keep_text(&[byte]);
                let escaped = match escaped {
                    Escape::Kind if byte == b'u' => Escape::Digits(4),
                    Escape::None | Escape::Kind => Escape::None,
                    Escape::Digits(_) if !byte.is_ascii_hexdigit() => {
                        self.state = State::Fault;
                        return;
                    }
                    Escape::Digits(0 | 1) => Escape::None,
                    Escape::Digits(left) => Escape::Digits(left - 1),
                };
                self.state = State::InString { escaped };
            }
            (State::Number(number), _) => {
                self.state = State::Number(number.and_then(|number| number.then(byte)));
            }
            (State::Literal, _) => {}
            (State::Separator, b',') => {
                self.state = if self.trail.in_object() {
                    State::Name
                } else {
                    State::Value
                };
            }
            (State::Separator, b'}') => self.close(true),
            (State::Separator, b']') => self.close(false),
            _ => self.state = State::Fault,
        }
    }

    fn scalar(&mut self, byte: u8) {
        self.state = match byte {
            b'0'..=b'9' => State::Number(Integer::first(byte)),
            b'-' => State::Number(None),
            b'"' => State::InString {
                escaped: Escape::None,
            },
            b't' | b'f' | b'n' => State::Literal,
            _ => State::Fault,
        };
        self.keeps_text = byte == b'"' && self.trail.asks_for_text();
        if self.keeps_text {
            self.word.clear();
        } else if !matches!(self.state, State::Number(_)) {
            self.trail.judge(Scalar::Other);
        }
    }

    fn string_end(&mut self) {
        if std::mem::take(&mut self.keeps_text) {
            if self.word.len() > self.word_max {
                self.trail.judge(Scalar::Other);
            } else if let Some(text) = decode(&self.word) {
                self.trail.judge(Scalar::Text(&text));
            } else {
                self.state = State::Fault;
                return;
            }
        }
        self.value_end();
    }

    fn number_end(&mut self, number: Option<Integer>) {
        let number = number.map(|number| Scalar::Integer(number.value));
        self.trail.judge(number.unwrap_or(Scalar::Other));
        self.value_end();
    }

    fn open(&mut self, object: bool) {
        self.state = match (self.trail.open(object), object) {
            (Err(TooDeep), _) => State::Fault,
            (Ok(()), true) => State::NameOrEnd,
            (Ok(()), false) => State::ValueOrEnd,
        };
    }

    fn close(&mut self, object: bool) {
        if self.trail.in_object() != object {
            self.state = State::Fault;
            return;
        }
        self.trail.close();
        self.value_end();
    }

    fn value_end(&mut self) {
        self.trail.value_end();
        self.state = if self.trail.is_outside() {
            State::End
        } else {
            State::Separator
        };
    }

    fn name_end(&mut self) {
        self.state = State::Colon;
        if self.word.len() > self.word_max {
            return;
        }
        match decode(&self.word) {
            Some(name) => self.trail.member(&name),
            None => self.state = State::Fault,
        }
    }

    /// More of a string that is no name.
    fn keep_text(&mut self, bytes: &[u8]) {
        if self.keeps_text {
            self.keep_word(bytes);
        }
    }

    fn keep_word(&mut self, bytes: &[u8]) {
        let room = (self.word_max + 1).saturating_sub(self.word.len());
        self.word
            .extend_from_slice(bytes.split_at(room.min(bytes.len())).0);
    }
}

impl Integer {
    fn first(digit: u8) -> Option<Self> {
        Self {
            value: 0,
            digits: 0,
        }
        .then(digit)
    }

    fn then(self, byte: u8) -> Option<Self> {
        let leading_zero = self.digits > 0 && self.value == 0;
        if !byte.is_ascii_digit() || leading_zero {
            return None;
        }
        let value = self
            .value
            .checked_mul(10)?
            .checked_add(u64::from(byte - b'0'))?;
        let digits = self.digits + 1;
        Some(Self { value, digits })
    }
}

/// What is between the quotes of a string; `None` if it has an escape that is none.
fn decode(word: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !word.contains(&b'\\') {
        return Some(Cow::Borrowed(word));
    }
    let quoted = [b"\"", word, b"\""].concat();
    let decoded = serde_json::from_slice::<String>(&quoted).ok()?;
    Some(Cow::Owned(decoded.into_bytes()))
}

fn is_number_byte(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

#[cfg(test)]
mod tests;

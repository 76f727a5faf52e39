//! What becomes of a message, said again over values instead of bytes.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests and fuzzers are built with it"
)]

use std::{slice, sync::Arc};

use zeroize::Zeroizing;

use super::{Format, Outcome, rewrite};
use crate::{
    rewrite::{
        RELEASES_MAX, Unresolvable,
        document::{Refusal, Rules},
        release::builder::release,
    },
    stats::connection::Connection,
};

/// Longer than what `fixstr` holds, so that tags change.
const TOKEN: &str = "MTIz.GrEaL0.\"\\\u{e9}-a-token-of-more-than-31-bytes";

const PLACEHOLDER: &str = "openshell:resolve:env:T";

/// `T` is bound as Discord's token is, `OTHER` elsewhere.
pub(super) fn rules() -> Arc<Rules> {
    let release = release()
        .discord("T", TOKEN.as_bytes())
        .discord("BINARY", b"\xff\xfe")
        .header("HEADER", b"h", &["authorization"])
        .elsewhere("OTHER")
        .build();
    Rules::for_messages(Arc::new(release)).unwrap()
}

/// A value with the form that its encoder chooses where there are several.
#[derive(Clone, Debug)]
enum Value {
    Nil,
    Float,
    Integer(i64, u8),
    Text(Vec<Word>, u8),
    /// Text that is no string: an atom, an extension.
    Blob(Vec<Word>, u8),
    List(Vec<Value>, u8),
    Map(Vec<(Value, Value)>, u8),
}

/// Part of a text. There is a space between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Plain(&'static str),
    Placeholder,
    /// A placeholder whose secret is bound to another host.
    Foreign,
    Secret,
}

/// Makes a message of any bytes, rewrites it, and compares with an oracle; or rewrites the bytes themselves.
pub(crate) fn check(data: &[u8]) {
    let Some(([kind, place], rest)) = data.split_first_chunk() else {
        return;
    };
    let format = match kind % 4 {
        0 => return check_bytes(rest),
        1 => Format::Etf,
        _ => Format::MessagePack,
    };
    let root = Maker(rest.iter()).map(0);
    let message = encode_message(&root, format);
    let (expected, passed) = expect(&root, format);
    let stats = Arc::new(Connection::default());
    let outcome = rewrite(&rules(), &message, &stats);
    assert_eq!(outcome, expected, "{root:?}");
    if outcome.is_ok() {
        assert_eq!(stats.placeholders_passed(), passed, "{root:?}");
        assert_eq!(stats.opaque_messages(), 0);
    }
    // Nothing goes into a message that breaks off, or goes on.
    let cut = usize::from(*place) * message.len() / 256;
    for broken in [&message[..cut], &[&message, &b"\0"[..]].concat()] {
        let outcome = rewrite(&rules(), broken, &stats);
        assert!(!matches!(outcome, Ok(Outcome::Rewritten(_))), "{broken:?}");
    }
}

/// Whatever comes, what goes out is whole, and has a secret more and a placeholder less.
fn check_bytes(message: &[u8]) {
    let stats = Arc::new(Connection::default());
    if let Ok(Outcome::Rewritten(out)) = rewrite(&rules(), message, &stats) {
        let count = |text: &[u8], word: &str| {
            let windows = text.windows(word.len());
            windows.filter(|window| *window == word.as_bytes()).count()
        };
        assert!(count(&out, TOKEN) > count(message, TOKEN));
        assert!(count(&out, PLACEHOLDER) < count(message, PLACEHOLDER));
        let again = rewrite(&rules(), &out, &stats);
        assert_eq!(again, Ok(Outcome::Unchanged));
    }
}

fn expect(root: &Value, format: Format) -> (Result<Outcome, Refusal>, u64) {
    let mut root = root.clone();
    let all = placeholders(&root);
    let Value::Map(members, _) = &mut root else {
        panic!("the root is a map");
    };
    let guards = members.iter().filter_map(|(name, value)| {
        let name = name.text()?;
        name.eq_ignore_ascii_case(b"op").then_some((name, value))
    });
    let guards: Vec<_> = guards.collect();
    let named = guards.iter().any(|(name, _)| name == b"op");
    let allowed = |value: &Value| matches!(value, Value::Integer(2 | 6, _));
    let holds = named && guards.iter().all(|(_, value)| allowed(value));
    let mut released = 0;
    for (name, value) in members {
        let (Some(b"d"), Value::Map(members, _)) = (name.text().as_deref(), value) else {
            continue;
        };
        for (name, value) in members {
            let (true, Some(b"token"), Value::Text(words, _)) =
                (holds, name.text().as_deref(), value)
            else {
                continue;
            };
            for word in words {
                match word {
                    Word::Foreign => {
                        let why = Unresolvable::BoundElsewhere;
                        return (Err(Refusal::Unresolvable(why)), 0);
                    }
                    Word::Placeholder if released == RELEASES_MAX => {
                        return (Err(Refusal::TooMany), 0);
                    }
                    Word::Placeholder => {
                        *word = Word::Secret;
                        released += 1;
                    }
                    Word::Plain(_) | Word::Secret => {}
                }
            }
        }
    }
    let outcome = if released == 0 {
        Outcome::Unchanged
    } else {
        Outcome::Rewritten(Zeroizing::new(encode_message(&root, format)))
    };
    (Ok(outcome), (all - released) as u64)
}

fn placeholders(value: &Value) -> usize {
    match value {
        Value::Nil | Value::Float | Value::Integer(..) => 0,
        Value::Text(words, _) | Value::Blob(words, _) => {
            let plain = |word: &&Word| !matches!(word, Word::Plain(_));
            words.iter().filter(plain).count()
        }
        Value::List(values, _) => values.iter().map(placeholders).sum(),
        Value::Map(members, _) => {
            let members = members.iter();
            members
                .map(|(name, value)| placeholders(name) + placeholders(value))
                .sum()
        }
    }
}

impl Value {
    fn text(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(words, _) => Some(spell(words)),
            _ => None,
        }
    }
}

fn spell(words: &[Word]) -> Vec<u8> {
    let words = words.iter().map(|word| match word {
        Word::Plain(text) => text,
        Word::Placeholder => PLACEHOLDER,
        Word::Foreign => "openshell:resolve:env:OTHER",
        Word::Secret => TOKEN,
    });
    words.collect::<Vec<_>>().join(" ").into_bytes()
}

/// Makes values of bytes, until there are no more.
struct Maker<'d>(slice::Iter<'d, u8>);

impl Maker<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    fn map(&mut self, depth: u8) -> Value {
        let (count, form) = (self.next() % 6, self.next());
        let members = (0..count).map(|_| self.member(depth)).collect();
        Value::Map(members, form)
    }

    /// Bound members more often than others.
    fn member(&mut self, depth: u8) -> (Value, Value) {
        let (kind, form) = (self.next(), self.next());
        let name = |name| Value::Text(vec![Word::Plain(name)], form);
        match kind % 12 {
            0 | 1 => (name("op"), Value::Integer(2, form)),
            2 => (name("op"), self.value(depth)),
            3 => (
                name(["OP", "Op", "oP", "ops"][usize::from(form % 4)]),
                self.value(depth),
            ),
            4 | 5 if depth < 3 => (name("d"), self.map(depth + 1)),
            6..=8 => (name("token"), Value::Text(self.words(), form)),
            9 => (self.value(depth), self.value(depth)),
            10 => (name("token"), self.value(depth)),
            _ => (name("d"), self.value(depth)),
        }
    }

    fn value(&mut self, depth: u8) -> Value {
        let (kind, form) = (self.next(), self.next());
        match kind % 8 {
            0 => Value::Nil,
            1 => Value::Float,
            2 => Value::Integer(i64::from(form % 8) - 1, form),
            3 => Value::Blob(self.words(), form),
            4 if depth < 3 => self.map(depth + 1),
            5 if depth < 3 => {
                let values = (0..self.next() % 4)
                    .map(|_| self.value(depth + 1))
                    .collect();
                Value::List(values, form)
            }
            _ => Value::Text(self.words(), form),
        }
    }

    fn words(&mut self) -> Vec<Word> {
        let words = |maker: &mut Self| match maker.next() % 8 {
            0..=3 => Word::Placeholder,
            4 => Word::Plain("op"),
            5 => Word::Plain("openshell:resolve:env:"),
            6 => Word::Plain("\u{e9}, a longer text of which there can be more"),
            _ => Word::Foreign,
        };
        let most = self.next();
        // Once in a while more than may be resolved.
        let count = if most > 250 { 17 } else { most % 4 };
        (0..count).map(|_| words(self)).collect()
    }
}

fn encode_message(root: &Value, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::Etf => {
            out.push(131);
            etf(root, false, &mut out);
        }
        Format::MessagePack => message_pack(root, &mut out),
    }
    out
}

/// `name`: an atom is as good as a string.
fn etf(value: &Value, name: bool, out: &mut Vec<u8>) {
    let long = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    let short = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    match value {
        Value::Nil => out.extend(b"s\x03nil"),
        Value::Float => out.extend(b"F\x40\x04\0\0\0\0\0\0"),
        Value::Integer(value, form) => match (u8::try_from(*value), form % 4) {
            (Ok(value), 0) => out.extend([97, value]),
            (_, 1) => {
                let magnitude = value.unsigned_abs().to_le_bytes();
                out.extend([110, 8, u8::from(*value < 0)]);
                out.extend(magnitude);
            }
            (_, 2) => {
                let magnitude = value.unsigned_abs().to_le_bytes();
                out.extend(b"o\0\0\0\x0a");
                out.push(u8::from(*value < 0));
                out.extend(magnitude);
                out.extend([0, 0]);
            }
            _ => {
                out.push(98);
                out.extend(i32::try_from(*value).unwrap().to_be_bytes());
            }
        },
        Value::Text(words, form) => {
            let text = spell(words);
            match form % 8 {
                0 => {
                    out.push(107);
                    out.extend(short(text.len()));
                }
                1 if name => {
                    out.push(100);
                    out.extend(short(text.len()));
                }
                2 if name => {
                    out.push(118);
                    out.extend(short(text.len()));
                }
                form @ (3 | 4) if name && text.len() < 256 => {
                    out.push(if form == 3 { 115 } else { 119 });
                    out.push(u8::try_from(text.len()).unwrap());
                }
                _ => {
                    out.push(109);
                    out.extend(long(text.len()));
                }
            }
            out.extend(text);
        }
        Value::Blob(words, form) => {
            let text = spell(words);
            if form % 2 == 0 && !name {
                out.push(118);
                out.extend(short(text.len()));
            } else {
                out.push(77);
                out.extend(long(text.len()));
                out.push(8);
            }
            out.extend(text);
        }
        Value::List(values, form) => {
            let tuple = match form % 3 {
                0 => {
                    out.push(104);
                    out.push(u8::try_from(values.len()).unwrap());
                    true
                }
                1 => {
                    out.push(105);
                    out.extend(long(values.len()));
                    true
                }
                _ => {
                    out.push(108);
                    out.extend(long(values.len()));
                    false
                }
            };
            for value in values {
                etf(value, false, out);
            }
            if !tuple {
                out.push(106);
            }
        }
        Value::Map(members, _) => {
            out.push(116);
            out.extend(long(members.len()));
            for (name, value) in members {
                etf(name, true, out);
                etf(value, false, out);
            }
        }
    }
}

fn message_pack(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Nil => out.push(0xc0),
        Value::Float => out.extend(b"\xcb\x40\0\0\0\0\0\0\0"),
        Value::Integer(value, form) => match (u8::try_from(*value), form % 10) {
            (Ok(value), 0) => out.push(value),
            (Ok(value), 1) => out.extend([0xcc, value]),
            (Ok(value), 2) => out.extend([0xcd, 0, value]),
            (Ok(value), 3) => out.extend([0xce, 0, 0, 0, value]),
            (Ok(value), 4) => out.extend([0xcf, 0, 0, 0, 0, 0, 0, 0, value]),
            (_, 5) => {
                out.push(0xd0);
                out.extend(i8::try_from(*value).unwrap().to_be_bytes());
            }
            (_, 6) => {
                out.push(0xd1);
                out.extend(i16::try_from(*value).unwrap().to_be_bytes());
            }
            (_, 7) => {
                out.push(0xd2);
                out.extend(i32::try_from(*value).unwrap().to_be_bytes());
            }
            _ => {
                out.push(0xd3);
                out.extend(value.to_be_bytes());
            }
        },
        Value::Text(words, form) => {
            let text = spell(words);
            let tags: [u8; 4] = match form % 7 {
                0..=3 => [0xa0, 0xd9, 0xda, 0xdb],
                _ => [0xc4, 0xc4, 0xc5, 0xc6],
            };
            // The least form that is asked for and fits.
            let fits = [31, 255, 65_535, usize::MAX];
            let asked = usize::from(form % 7) % 4;
            let binary = tags[0] == 0xc4;
            let width = (asked.max(binary.into())..4).find(|width| text.len() <= fits[*width]);
            put_length(tags, width.unwrap(), text.len(), out);
            out.extend(text);
        }
        Value::Blob(words, form) => {
            let text = spell(words);
            match (form % 2, u8::try_from(text.len())) {
                (0, Ok(length)) => out.extend([0xc7, length]),
                _ => {
                    out.push(0xc8);
                    out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
                }
            }
            out.push(5);
            out.extend(text);
        }
        Value::List(values, form) => {
            let width = [0, 2, 3][usize::from(form % 3)];
            put_length([0x90, 0x90, 0xdc, 0xdd], width, values.len(), out);
            for value in values {
                message_pack(value, out);
            }
        }
        Value::Map(members, form) => {
            let width = [0, 2, 3][usize::from(form % 3)];
            put_length([0x80, 0x80, 0xde, 0xdf], width, members.len(), out);
            for (name, value) in members {
                message_pack(name, out);
                message_pack(value, out);
            }
        }
    }
}

/// `width`: of the length, in the tag, or in one, two or four bytes.
fn put_length(tags: [u8; 4], width: usize, length: usize, out: &mut Vec<u8>) {
    let bytes = u32::try_from(length).unwrap().to_be_bytes();
    if width == 0 {
        out.push(tags[0] | bytes[3]);
        return;
    }
    out.push(tags[width]);
    out.extend(&bytes[[3, 3, 2, 0][width]..]);
}

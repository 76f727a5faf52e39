//! The forms that a secret takes on its surface, and the forms in which a placeholder may hide there.

use base64::{
    Engine as _,
    alphabet::{Alphabet, STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use memchr::memmem;
use zeroize::Zeroizing;

/// A secret that is not UTF-8 has no form in JSON (RFC 8259 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret is not UTF-8 and cannot stand in JSON")]
pub(crate) struct NotUtf8;

/// Appends `secret` as the inside of a JSON string (RFC 8259 §7).
///
/// # Errors
/// The secret is not UTF-8; nothing was appended.
pub(crate) fn json_string(secret: &[u8], out: &mut Vec<u8>) -> Result<(), NotUtf8> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    if str::from_utf8(secret).is_err() {
        return Err(NotUtf8);
    }
    for &byte in secret {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                for nibble in [byte >> 4, byte & 15] {
                    out.extend(HEX.get(usize::from(nibble)));
                }
            }
            _ => out.push(byte),
        }
    }
    Ok(())
}

/// Appends `secret` as the text of an element, or as an attribute's value in quotes of either kind (XML 1.0 §2.4).
pub(crate) fn xml_text(secret: &[u8], out: &mut Vec<u8>) {
    for &byte in secret {
        let entity: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&#34;",
            b'\'' => b"&#39;",
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(entity);
    }
}

/// Could `text` spell a placeholder's bytes as `\u00XX`?
pub(crate) fn mentions_json_escapes(text: &[u8]) -> bool {
    memmem::find(text, JSON_ESCAPE).is_some()
}

/// The same JSON with every `\u00XX` resolved that stands for a byte of a placeholder.
///
/// Mainstream encoders never write those, so this is for a document that is out to hide something, or a very careful
/// one.
pub(crate) fn resolve_json_escapes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (before, escape) = rest.split_at(at);
        out.extend_from_slice(before);
        let plain = escape
            .strip_prefix(JSON_ESCAPE)
            .and_then(|hex| hex.first_chunk())
            .and_then(placeholder_byte);
        let length = match plain {
            Some(byte) => {
                out.push(byte);
                JSON_ESCAPE.len() + 2
            }
            // The escaped byte goes along: a backslash does not begin another escape.
            None => {
                let length = escape.len().min(2);
                out.extend_from_slice(escape.split_at(length).0);
                length
            }
        };
        rest = escape.split_at(length).1;
    }
    out.extend_from_slice(rest);
    out
}

fn placeholder_byte(hex: &[u8; 2]) -> Option<u8> {
    let hex = str::from_utf8(hex).ok()?;
    let byte = u8::from_str_radix(hex, 16).ok()?;
    (super::grammar::is_lead_byte(byte) || byte == b':').then_some(byte)
}

const JSON_ESCAPE: &[u8] = b"\\u00";

/// One of the spellings of base64 that clients use (RFC 4648 §4, §5, §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base64 {
    url_safe: bool,
    padded: bool,
}

impl Base64 {
    /// Reads `text` in any of the spellings and says which one it was.
    pub(crate) fn decode(text: &[u8]) -> Option<(Self, Zeroizing<Vec<u8>>)> {
        let spelling = Self {
            url_safe: text.iter().any(|b| matches!(b, b'-' | b'_')),
            // Where the length needs no padding there is no telling: Basic is padded (RFC 7617 §2).
            padded: text.len().is_multiple_of(4),
        };
        let decoded = spelling.engine().decode(text).ok()?;
        Some((spelling, Zeroizing::new(decoded)))
    }

    /// Appends `bytes` in this spelling.
    pub(crate) fn encode(self, bytes: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        let written = out
            .get_mut(start..)
            .and_then(|slot| self.engine().encode_slice(bytes, slot).ok());
        out.truncate(start + written.unwrap_or(0));
    }

    fn engine(self) -> GeneralPurpose {
        let alphabet: &Alphabet = if self.url_safe { &URL_SAFE } else { &STANDARD };
        let config = GeneralPurposeConfig::new()
            .with_encode_padding(self.padded)
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent);
        GeneralPurpose::new(alphabet, config)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secret_comes_back_from_json_as_it_was() {
        for secret in ["plain", "q\"uo\\te", "\u{1}\t\u{7f}", "ü€😀"] {
            let mut json = b"\"".to_vec();
            json_string(secret.as_bytes(), &mut json).unwrap();
            json.push(b'"');
            assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), secret);
        }
    }

    #[test]
    fn secret_that_is_not_utf8_has_no_json_form() {
        let mut out = Vec::new();
        assert_eq!(json_string(b"a\xff", &mut out), Err(NotUtf8));
        assert!(out.is_empty());
    }

    #[test]
    fn only_escapes_of_placeholder_bytes_are_resolved() {
        for (text, resolved) in [
            (
                r#""openshell\u003aresolve\u003Aenv:X""#,
                r#""openshell:resolve:env:X""#,
            ),
            (
                r#""\u0022\u005c\u0000\u00e9\u0100""#,
                r#""\u0022\u005c\u0000\u00e9\u0100""#,
            ),
            (r#""\\u003a\\\u003a""#, r#""\\u003a\\:""#),
            (r#""\n\u0058"#, r#""\nX"#),
            (r"\u00", r"\u00"),
            (r"\u003", r"\u003"),
            (r"\", r"\"),
        ] {
            assert_eq!(
                resolve_json_escapes(text.as_bytes()),
                resolved.as_bytes(),
                "{text}"
            );
        }
    }

    #[test]
    fn base64_keeps_its_spelling() {
        for text in ["+/+/", "-_-_", "YQ==", "YQ", "YWI=", "YWI", "YWJj", ""] {
            let (spelling, decoded) = Base64::decode(text.as_bytes()).unwrap();
            let mut out = b"x".to_vec();
            spelling.encode(&decoded, &mut out);
            assert_eq!(out, [b"x", text.as_bytes()].concat(), "{text}");
        }
        for text in ["+_==", "Y", "Y Q=", "openshell:resolve:env:X"] {
            assert!(Base64::decode(text.as_bytes()).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn resolving_escapes_does_not_change_what_the_text_means(text in r#"([a-z"\\:]|\\u00[0-9a-fA-F]{2}|\\u[0-9a-f]{4}){0,12}"#) {
            let quoted = format!("\"{text}\"");
            if let Ok(meant) = serde_json::from_str::<String>(&quoted) {
                let resolved = resolve_json_escapes(quoted.as_bytes());
                prop_assert_eq!(serde_json::from_slice::<String>(&resolved).unwrap(), meant);
            }
        }
    }
}

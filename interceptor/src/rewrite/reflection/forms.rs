//! The spellings in which a secret may come back.

use std::{ops::Range, sync::Arc};

use base64::{
    Engine as _,
    engine::{
        GeneralPurpose,
        general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
    },
};
use zeroize::Zeroizing;

/// Fills a placeholder up to a secret's length: ends every form of a placeholder, means nothing in JSON.
pub(super) const FILLER: u8 = b'*';

/// One spelling of one secret, and what is to stand there instead.
pub(crate) struct Form {
    pub(super) pattern: Zeroizing<Vec<u8>>,
    /// What is put in where the length may change; `None`: the length may not, as inside longer base64.
    pub(super) placeholder: Option<Arc<[u8]>>,
    /// What is put in where the length may not change.
    pub(super) overlay: Vec<u8>,
}

/// How an encoder of JSON strings escapes what it need not, or could otherwise.
#[derive(Clone, Copy)]
struct Json {
    /// ASCII that becomes `\u00XX`.
    escaped: &'static [u8],
    /// `/` becomes `\/`.
    slash: bool,
    /// What is not ASCII becomes `\uXXXX`.
    ascii: bool,
    /// `\t` and its like, not `\u0009`.
    short: bool,
    hex: Hex,
}

#[derive(Clone, Copy)]
enum Hex {
    Lower,
    Upper,
}

/// How an encoder of URLs treats what is not a letter or a digit.
#[derive(Clone, Copy)]
struct Percent {
    kept: &'static [u8],
    /// A space becomes `+`.
    plus: bool,
    hex: Hex,
}

const JSON: Json = Json {
    escaped: b"",
    slash: false,
    ascii: false,
    short: false,
    hex: Hex::Lower,
};

/// In most secrets nothing is escaped, and all of these are one.
const JSONS: [Json; 11] = [
    // What we write ourselves.
    JSON,
    // JavaScript, serde.
    Json {
        short: true,
        ..JSON
    },
    // Python.
    Json {
        short: true,
        ascii: true,
        ..JSON
    },
    // PHP, with and without JSON_UNESCAPED_UNICODE.
    Json {
        short: true,
        slash: true,
        ascii: true,
        ..JSON
    },
    Json {
        short: true,
        slash: true,
        ..JSON
    },
    // Go, Rails.
    Json {
        short: true,
        escaped: b"<>&",
        ..JSON
    },
    // Gson.
    Json {
        short: true,
        escaped: b"<>&='",
        ..JSON
    },
    // System.Text.Json.
    Json {
        short: true,
        escaped: b"\"&'+<>`",
        ascii: true,
        hex: Hex::Upper,
        ..JSON
    },
    // Jackson, and Newtonsoft with StringEscapeHandling.
    Json {
        ascii: true,
        hex: Hex::Upper,
        ..JSON
    },
    // All that may be, in digits.
    Json {
        escaped: b"\"\\/",
        ascii: true,
        ..JSON
    },
    Json {
        escaped: b"\"\\/",
        ascii: true,
        hex: Hex::Upper,
        ..JSON
    },
];

const PERCENTS: [Percent; 6] = [
    // RFC 3986 §2.3.
    Percent {
        kept: b"-._~",
        plus: false,
        hex: Hex::Upper,
    },
    Percent {
        kept: b"-._~",
        plus: false,
        hex: Hex::Lower,
    },
    // encodeURIComponent.
    Percent {
        kept: b"-._~!'()*",
        plus: false,
        hex: Hex::Upper,
    },
    // Python's quote.
    Percent {
        kept: b"-._~/",
        plus: false,
        hex: Hex::Upper,
    },
    // application/x-www-form-urlencoded, WHATWG URL §5.2, and as Python and Go spell it.
    Percent {
        kept: b"-._*",
        plus: true,
        hex: Hex::Upper,
    },
    Percent {
        kept: b"-._~",
        plus: true,
        hex: Hex::Upper,
    },
];

/// All forms of `secret`, each once, the ones that are text first.
pub(super) fn of(secret: &[u8], placeholder: &Arc<[u8]>) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut add = |form: Form| {
        if !forms.iter().any(|other| *other.pattern == *form.pattern) {
            forms.push(form);
        }
    };
    let text = |pattern: Zeroizing<Vec<u8>>| Form {
        overlay: fit(placeholder, pattern.len()),
        placeholder: Some(Arc::clone(placeholder)),
        pattern,
    };
    add(text(Zeroizing::new(secret.to_vec())));
    if let Ok(secret) = str::from_utf8(secret) {
        for dialect in JSONS {
            add(text(dialect.encode(secret)));
        }
        // A message, ours or of the server's own making, as a string in another one.
        for outer in JSONS {
            for inner in [JSON, outer] {
                if let Ok(inner) = str::from_utf8(&inner.encode(secret)) {
                    add(text(outer.encode(inner)));
                }
            }
        }
    }
    for dialect in PERCENTS {
        add(text(dialect.encode(secret)));
    }
    let written = str::from_utf8(secret).map(|secret| JSON.encode(secret));
    for plain in std::iter::once(secret).chain(written.iter().map(|text| text.as_slice())) {
        let stand_in = fit(placeholder, plain.len());
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            for before in 0..3 {
                let overlay = base64(engine, before, &stand_in).to_vec();
                let pattern = base64(engine, before, plain);
                // Its `+` and `/` are escaped by some.
                let escaped = str::from_utf8(&pattern).map(|pattern| {
                    let json = JSONS.map(|dialect| dialect.encode(pattern));
                    let percent = PERCENTS.map(|dialect| dialect.encode(pattern.as_bytes()));
                    json.into_iter().chain(percent)
                });
                add(Form {
                    pattern: pattern.clone(),
                    placeholder: None,
                    overlay: overlay.clone(),
                });
                for pattern in escaped.into_iter().flatten() {
                    add(Form {
                        overlay: fit(&overlay, pattern.len()),
                        placeholder: Some(overlay.as_slice().into()),
                        pattern,
                    });
                }
            }
        }
    }
    forms
}

/// `placeholder` cut or filled to `length`.
fn fit(placeholder: &[u8], length: usize) -> Vec<u8> {
    let filler = std::iter::repeat(FILLER);
    placeholder
        .iter()
        .copied()
        .chain(filler)
        .take(length)
        .collect()
}

/// The characters that `bytes` alone decide in the base64 of a longer text, in which `before` bytes come before them,
/// not counting multiples of 3.
fn base64(engine: &GeneralPurpose, before: usize, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(before + bytes.len()));
    plain.resize(before, 0);
    plain.extend_from_slice(bytes);
    let decided: Range<usize> = (before * 8).div_ceil(6)..plain.len() * 8 / 6;
    let mut encoded = Zeroizing::new(vec![0; (plain.len() * 8).div_ceil(6)]);
    // There is room: that is its length without padding.
    let written = engine.encode_slice(&*plain, &mut encoded).unwrap_or(0);
    debug_assert_eq!(written, encoded.len(), "room was made for all of it");
    Zeroizing::new(encoded.get(decided).unwrap_or_default().to_vec())
}

impl Json {
    fn encode(self, secret: &str) -> Zeroizing<Vec<u8>> {
        // No character grows by more than `\uXXXX` for each of its bytes: growing would leave copies behind.
        let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 6));
        for character in secret.chars() {
            match u8::try_from(character) {
                Ok(byte) if byte.is_ascii() => self.put(byte, &mut out),
                _ if self.ascii => {
                    for &mut unit in character.encode_utf16(&mut [0; 2]) {
                        self.put_unit(unit, &mut out);
                    }
                }
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        out
    }

    fn put(self, byte: u8, out: &mut Vec<u8>) {
        let short = match byte {
            0x08 => Some(b'b'),
            0x0c => Some(b'f'),
            b'\t' => Some(b't'),
            _ => None,
        };
        match (byte, short) {
            _ if self.escaped.contains(&byte) => self.put_unit(byte.into(), out),
            (b'"' | b'\\', _) => out.extend_from_slice(&[b'\\', byte]),
            (b'/', _) if self.slash => out.extend_from_slice(b"\\/"),
            (_, Some(short)) if self.short => out.extend_from_slice(&[b'\\', short]),
            (0..0x20, _) => self.put_unit(byte.into(), out),
            _ => out.push(byte),
        }
    }

    fn put_unit(self, unit: u16, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\\u");
        for byte in unit.to_be_bytes() {
            out.extend_from_slice(&self.hex.digits(byte));
        }
    }
}

impl Percent {
    fn encode(self, secret: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 3));
        for &byte in secret {
            if byte.is_ascii_alphanumeric() || self.kept.contains(&byte) {
                out.push(byte);
            } else if self.plus && byte == b' ' {
                out.push(b'+');
            } else {
                out.push(b'%');
                out.extend_from_slice(&self.hex.digits(byte));
            }
        }
        out
    }
}

impl Hex {
    fn digits(self, byte: u8) -> [u8; 2] {
        [byte >> 4, byte & 15].map(|nibble| match (nibble, self) {
            (0..10, _) => b'0' + nibble,
            (_, Self::Lower) => b'a' + nibble - 10,
            (_, Self::Upper) => b'A' + nibble - 10,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const PLACEHOLDER: &[u8] = b"openshell:resolve:env:TOKEN";

    fn patterns(secret: &str) -> Vec<String> {
        let forms = of(secret.as_bytes(), &PLACEHOLDER.into());
        forms
            .iter()
            .map(|form| String::from_utf8(form.pattern.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn a_plain_token_has_one_form_as_text_and_three_as_base64() {
        let found = patterns("MTIzNDU2Nzg5.Gabc-_.secret");
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[0], "MTIzNDU2Nzg5.Gabc-_.secret");
    }

    #[test]
    fn every_known_json_encoder_is_covered() {
        let found = patterns("a\"b\\c/d+é\t😀<=");
        for spelling in [
            r#"a\"b\\c/d+é\u0009😀<="#,
            r#"a\"b\\c/d+é\t😀<="#,
            r#"a\"b\\c/d+\u00e9\t\ud83d\ude00<="#,
            r#"a\"b\\c\/d+\u00e9\t\ud83d\ude00<="#,
            r#"a\"b\\c\/d+é\t😀<="#,
            r#"a\"b\\c/d+é\t😀\u003c="#,
            r#"a\"b\\c/d+é\t😀\u003c\u003d"#,
            r#"a\u0022b\\c/d\u002B\u00E9\t\uD83D\uDE00\u003C="#,
            r#"a\u0022b\u005cc\u002fd+\u00e9\u0009\ud83d\ude00<="#,
            r#"a\u0022b\u005Cc\u002Fd+\u00E9\u0009\uD83D\uDE00<="#,
        ] {
            assert!(found.iter().any(|one| one == spelling), "{spelling}");
        }
    }

    #[test]
    fn every_known_url_encoder_is_covered() {
        let found = patterns("a b/c~d*e:f(é");
        for spelling in [
            "a%20b%2Fc~d%2Ae%3Af%28%C3%A9",
            "a%20b%2fc~d%2ae%3af%28%c3%a9",
            "a%20b%2Fc~d*e%3Af(%C3%A9",
            "a%20b/c~d%2Ae%3Af%28%C3%A9",
            "a+b%2Fc%7Ed*e%3Af%28%C3%A9",
            "a+b%2Fc~d%2Ae%3Af%28%C3%A9",
        ] {
            assert!(found.iter().any(|one| one == spelling), "{spelling}");
        }
    }

    #[test]
    fn base64_of_any_surroundings_contains_a_form() {
        let secret = "se/cr?et~>>>???";
        let forms = of(secret.as_bytes(), &PLACEHOLDER.into());
        for before in 0..7 {
            for after in 0..4 {
                let text = ["b".repeat(before), secret.into(), "a".repeat(after)].concat();
                for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    let encoded = engine.encode(&text);
                    let found = forms.iter().any(|form| {
                        let pattern = str::from_utf8(&form.pattern).unwrap();
                        form.placeholder.is_none() && encoded.contains(pattern)
                    });
                    assert!(found, "{before} {after} {encoded}");
                }
            }
        }
    }

    #[test]
    fn base64_in_json_and_in_urls_is_known_with_its_escapes() {
        let found = patterns("se/cr?et~>>>???");
        // The last character is not decided by the secret alone.
        let plain = "c2UvY3I/ZXR+Pj4+Pz8/";
        for spelling in [
            plain.replace('/', "\\/"),
            plain.replace('+', "\\u002B"),
            plain.replace('/', "%2F").replace('+', "%2B"),
            plain.replace('/', "%2f").replace('+', "%2b"),
        ] {
            assert!(found.contains(&spelling), "{spelling}");
        }
        assert_eq!(patterns("MTIzNDU2Nzg5.Gabc-_.secret").len(), 4);
    }

    #[test]
    fn a_message_in_a_message_is_looked_through() {
        let found = patterns("a\"b\\c/d");
        for spelling in [
            r#"a\\\"b\\\\c/d"#,
            r#"a\\\"b\\\\c\/d"#,
            r#"a\\\"b\\\\c\\\/d"#,
            &STANDARD_NO_PAD.encode(r#"a\"b\\c/d"#)[..12],
        ] {
            assert!(found.iter().any(|one| one == spelling), "{spelling}");
        }
    }

    #[test]
    fn overlays_are_as_long_as_what_they_cover() {
        for secret in ["12345678", "short/er", &"long+".repeat(30)] {
            for form in of(secret.as_bytes(), &PLACEHOLDER.into()) {
                assert_eq!(form.overlay.len(), form.pattern.len());
            }
        }
    }

    #[test]
    fn a_secret_that_is_not_utf8_has_no_json_form_of_its_own() {
        let forms = of(b"bytes \xff\xfe and so on", &PLACEHOLDER.into());
        assert!(
            forms
                .iter()
                .all(|form| !form.pattern.starts_with(b"bytes \\u"))
        );
        assert!(
            forms
                .iter()
                .any(|form| form.pattern.starts_with(b"bytes%20%FF%FE"))
        );
    }
}

use std::convert::Infallible;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::secrets::SecretName;

/// What `sink` got, with neighbouring text joined.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Placeholder { raw: Vec<u8>, key: String },
}

fn known(key: &str) -> bool {
    ["X", "XY", "Xopenshell", "_", "TOKEN"].contains(&key)
}

fn collect<'t>(chunks: impl IntoIterator<Item = &'t [u8]>) -> Vec<Part> {
    let mut matcher = Matcher::default();
    let mut parts = Vec::new();
    let mut sink = |piece: Piece<'_>| {
        match (piece, parts.last_mut()) {
            (Piece::Text(text), Some(Part::Text(last))) => last.extend_from_slice(text),
            (Piece::Text(text), _) => parts.push(Part::Text(text.to_vec())),
            (Piece::Placeholder { raw, key }, _) => parts.push(Part::Placeholder {
                raw: raw.to_vec(),
                key: key.to_owned(),
            }),
        }
        Ok::<_, Infallible>(())
    };
    for chunk in chunks {
        matcher.push(chunk, &known, &mut sink).unwrap();
        assert!(matcher.held() <= LONGEST, "{} held", matcher.held());
    }
    matcher.finish(&known, &mut sink).unwrap();
    assert_eq!(matcher.held(), 0);
    parts
}

/// The grammar once more, read from the left with all of the text in hand.
fn oracle(text: &[u8]) -> Vec<Part> {
    let is_key = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let is_lead = |b: &u8| is_key(b) || b"-.~".contains(b);
    let tail = |at: usize, alias: bool| -> Option<(usize, String)> {
        let run = text[at..].iter().take_while(|b| is_key(b)).count();
        let ends_token = !text.get(at + run).is_some_and(is_lead);
        let mut ends = Vec::new();
        if !alias || ends_token {
            ends.push(run);
        }
        if run >= 9 && text[at + run - 9..].starts_with(PREFIX) {
            ends.push(run - 9);
        }
        let keys = ends.iter().filter_map(|&end| {
            let run = str::from_utf8(&text[at..at + end]).unwrap();
            let key = run
                .split_once('_')
                .filter(|(version, key)| {
                    let digits = version.strip_prefix('v').unwrap_or_default();
                    let hex = version.strip_prefix('s').unwrap_or_default();
                    let digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                    let hex =
                        hex.len() == 64 && hex.bytes().all(|b| b"0123456789abcdef".contains(&b));
                    !key.is_empty() && (digits || hex)
                })
                .map_or(run, |(_, key)| key);
            let fits = end <= 194 && !key.is_empty() && key.len() <= SecretName::MAX;
            fits.then(|| (end, key.to_owned()))
        });
        let keys: Vec<_> = keys.collect();
        let best = keys.iter().find(|(_, key)| known(key)).or(keys.last());
        best.map(|(end, key)| (at + end, key.clone()))
    };
    let at = |start: usize, given: usize| -> Option<(usize, String)> {
        if text[start..].starts_with(PREFIX)
            && let Some(found) = tail(start + PREFIX.len(), false)
        {
            return Some(found);
        }
        let begins = start == 0 || !is_lead(&text[start - 1]);
        if !begins || start < given {
            return None;
        }
        let word = text[start..].iter().take_while(|b| is_lead(b)).count();
        (1..=LEAD_MAX.min(word))
            .filter(|lead| text[start + lead..].starts_with(MARKER))
            .find_map(|lead| tail(start + lead + MARKER.len(), true))
    };
    let mut parts = Vec::new();
    let mut given = 0;
    let mut start = 0;
    while start < text.len() {
        if let Some((end, key)) = at(start, given) {
            if given < start {
                parts.push(Part::Text(text[given..start].to_vec()));
            }
            let raw = text[start..end].to_vec();
            parts.push(Part::Placeholder { raw, key });
            given = end;
            start = end;
        } else {
            start += 1;
        }
    }
    if given < text.len() {
        parts.push(Part::Text(text[given..].to_vec()));
    }
    parts
}

fn placeholders(text: &str) -> Vec<(String, String)> {
    collect([text.as_bytes()])
        .into_iter()
        .filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Placeholder { raw, key } => Some((String::from_utf8(raw).unwrap(), key)),
        })
        .collect()
}

#[test]
fn finds_every_form_with_its_boundaries() {
    let handle = format!("openshell:resolve:env:s{}_X", "ab".repeat(32));
    for (text, found) in [
        (
            "openshell:resolve:env:X",
            vec![("openshell:resolve:env:X", "X")],
        ),
        (
            "Botopenshell:resolve:env:X.y",
            vec![("openshell:resolve:env:X", "X")],
        ),
        (
            "<openshell:resolve:env:v17_XY>",
            vec![("openshell:resolve:env:v17_XY", "XY")],
        ),
        (&handle, vec![(&*handle, "X")]),
        (
            "MTIz.openshell:resolve:env:X",
            vec![("openshell:resolve:env:X", "X")],
        ),
        (
            "MTIz.OPENSHELL-RESOLVE-ENV-X",
            vec![("MTIz.OPENSHELL-RESOLVE-ENV-X", "X")],
        ),
        (
            " xoxb-OPENSHELL-RESOLVE-ENV-X,",
            vec![("xoxb-OPENSHELL-RESOLVE-ENV-X", "X")],
        ),
        (
            "openshell:resolve:env:Xopenshell:resolve:env:XY",
            vec![("openshell:resolve:env:Xopenshell", "Xopenshell")],
        ),
        (
            "openshell:resolve:env:XYopenshell:resolve:env:XYa-OPENSHELL-RESOLVE-ENV-X",
            vec![
                ("openshell:resolve:env:XY", "XY"),
                ("openshell:resolve:env:XYa", "XYa"),
            ],
        ),
        (
            "a-OPENSHELL-RESOLVE-ENV-XYopenshell:resolve:env:XY",
            vec![
                ("a-OPENSHELL-RESOLVE-ENV-XY", "XY"),
                ("openshell:resolve:env:XY", "XY"),
            ],
        ),
        (
            "a-OPENSHELL-RESOLVE-ENV-b-OPENSHELL-RESOLVE-ENV-X",
            vec![("a-OPENSHELL-RESOLVE-ENV-b-OPENSHELL-RESOLVE-ENV-X", "X")],
        ),
        (
            "openshell:resolve:env:openshell:resolve:env:X",
            vec![("openshell:resolve:env:openshell", "openshell")],
        ),
    ] {
        let found: Vec<_> = found
            .iter()
            .map(|(raw, key)| ((*raw).to_owned(), (*key).to_owned()))
            .collect();
        assert_eq!(placeholders(text), found, "{text}");
    }
}

#[test]
fn what_is_no_placeholder_is_text() {
    let long_lead = format!("{}-OPENSHELL-RESOLVE-ENV-X", "l".repeat(LEAD_MAX));
    let long_key = format!("openshell:resolve:env:{}", "K".repeat(SecretName::MAX + 1));
    for text in [
        "",
        "openshell:resolve:env:",
        "openshell:resolve:env:-X",
        "Openshell:resolve:env:X",
        "openshell:resolve:ENV:X",
        "openshell:resolve: env:X",
        "openshell%3Aresolve%3Aenv%3AX",
        "OPENSHELL-RESOLVE-ENV-X",
        " OPENSHELL-RESOLVE-ENV-X",
        "a-openshell-resolve-env-X",
        "a-OPENSHELL-RESOLVE-ENV-X-b",
        "a-OPENSHELL-RESOLVE-ENV-X.b",
        "a-OPENSHELL-RESOLVE-ENV-",
        &long_lead,
        &long_key,
    ] {
        assert_eq!(placeholders(text), [], "{text}");
    }
}

#[test]
fn bounds_of_lead_and_key_are_reached() {
    let lead = "l".repeat(LEAD_MAX);
    let key = "K".repeat(SecretName::MAX);
    let text = format!("{lead}OPENSHELL-RESOLVE-ENV-s{}_{key}", "0".repeat(64));
    assert_eq!(placeholders(&text), [(text.clone(), key)]);
}

#[test]
fn split_at_every_byte_finds_the_same() {
    let text = b"{\"a\":\"openshell:resolve:env:v3_XYopenshell:resolve:env:X\",\
        \"b\":\"xoxb-OPENSHELL-RESOLVE-ENV-TOKEN\",\"c\":\"openshell:resolve:env\"} openshell:resolve:env:Zopenshell:";
    let whole = collect([text.as_slice()]);
    assert_eq!(
        whole
            .iter()
            .filter(|part| matches!(part, Part::Placeholder { .. }))
            .count(),
        4
    );
    for one in 0..=text.len() {
        let (head, rest) = text.split_at(one);
        for two in 0..=rest.len() {
            let (middle, tail) = rest.split_at(two);
            assert_eq!(
                collect([head, middle, tail]),
                whole,
                "split at {one} and {two}"
            );
        }
    }
    assert_eq!(collect(text.chunks(1)), whole);
}

#[test]
fn text_that_cannot_hold_a_placeholder_is_not_held() {
    let mut matcher = Matcher::default();
    let mut nothing = |_: Piece<'_>| Ok::<_, Infallible>(());
    for text in [
        "{\"op\":1,\"d\":null}",
        "a b ",
        "openshell:resolve:x\"",
        "ä",
    ] {
        matcher.push(text.as_bytes(), &known, &mut nothing).unwrap();
        assert_eq!(matcher.held(), 0, "{text}");
    }
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        PREFIX,
        MARKER,
        b"openshell",
        b":resolve:env:",
        b"openshell:reso",
        b"OPENSHELL-RES",
        b"OLVE-ENV-",
        b"X",
        b"XY",
        b"TOKEN",
        b"_",
        b"v7_",
        b"s0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef_",
        b"-",
        b".",
        b"\"",
        b" ",
        b":",
        b"o",
        b"O",
        &[b'k'; 60],
        &[b'~'; 100],
        &[0xff],
    ];
    prop_oneof![
        8 => select(words).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_the_oracle_however_it_is_split(
        words in vec(word(), 0..14),
        sizes in vec(1_usize..50, 1..8),
    ) {
        let text = words.concat();
        let expected = oracle(&text);
        prop_assert_eq!(&collect([text.as_slice()]), &expected);
        let mut rest = text.as_slice();
        let mut chunks = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        prop_assert_eq!(&collect(chunks), &expected);
    }
}

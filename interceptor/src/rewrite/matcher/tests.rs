use std::convert::Infallible;

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    oracle::{Part, collect, collect_whole, known, oracle},
    *,
};
use crate::secrets::SecretName;

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
        prop_assert_eq!(&collect_whole(&text), &expected);
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

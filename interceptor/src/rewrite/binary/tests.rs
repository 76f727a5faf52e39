use proptest::{collection::vec, prelude::*};

use super::{oracle::rules, *};
use crate::rewrite::trail::DEPTH_MAX;

const PLACEHOLDER: &str = "openshell:resolve:env:T";
const TOKEN: &str = "MTIz.GrEaL0.\"\\\u{e9}-a-token-of-more-than-31-bytes";

fn whole(message: &[u8]) -> (Result<Outcome, Refusal>, Arc<Connection>) {
    let stats = Arc::new(Connection::default());
    (rewrite(&rules(), message, &stats), stats)
}

fn rewritten(message: &[u8]) -> Result<Outcome, Refusal> {
    Ok(Outcome::Rewritten(Zeroizing::new(message.to_vec())))
}

fn refused(why: Unresolvable) -> Result<Outcome, Refusal> {
    Err(Refusal::Unresolvable(why))
}

/// `{"op": 2, "d": {"token": …, "intents": 513}}` as erlpack packs it: names and strings are binaries.
fn erlpack(op: u8, token: &str) -> Vec<u8> {
    let mut bytes = b"\x83t\0\0\0\x02m\0\0\0\x02opa".to_vec();
    bytes.push(op);
    bytes.extend(b"m\0\0\0\x01dt\0\0\0\x02m\0\0\0\x05tokenm");
    bytes.extend(u32::try_from(token.len()).unwrap().to_be_bytes());
    bytes.extend(token.as_bytes());
    bytes.extend(b"m\0\0\0\x07intentsb\0\0\x02\x01");
    bytes
}

/// The same as Python's `msgpack.packb` packs it; `header` is that of the token.
fn packb(op: u8, header: &[u8], token: &str) -> Vec<u8> {
    let head = [b"\x82\xa2op", &[op][..], b"\xa1d\x82\xa5token"].concat();
    [&head, header, token.as_bytes(), b"\xa7intents\xcd\x02\x01"].concat()
}

#[test]
fn secret_goes_in_with_its_length() {
    for (message, expected) in [
        (erlpack(2, PLACEHOLDER), erlpack(2, TOKEN)),
        (
            erlpack(6, &format!("Bot {PLACEHOLDER}")),
            erlpack(6, &format!("Bot {TOKEN}")),
        ),
        (
            erlpack(2, "MTIz.OPENSHELL-RESOLVE-ENV-T"),
            erlpack(2, TOKEN),
        ),
        // 23 bytes become 46: too many for a tag of 5 bits.
        (packb(2, b"\xb7", PLACEHOLDER), packb(2, b"\xd9\x2e", TOKEN)),
        (
            packb(2, b"\xd9\x17", PLACEHOLDER),
            packb(2, b"\xd9\x2e", TOKEN),
        ),
        (
            packb(2, b"\xda\0\x17", PLACEHOLDER),
            packb(2, b"\xda\0\x2e", TOKEN),
        ),
        (
            packb(2, b"\xc4\x17", PLACEHOLDER),
            packb(2, b"\xc4\x2e", TOKEN),
        ),
    ] {
        let (outcome, stats) = whole(&message);
        assert_eq!(outcome, rewritten(&expected), "{message:?}");
        let rewrites: Vec<_> = stats.facts().rewrites.into_values().collect();
        assert_eq!((rewrites, stats.placeholders_passed()), (vec![1], 0));
    }
}

#[test]
fn members_may_be_named_by_atoms_and_stand_in_any_order() {
    let token = |token: &str| {
        let length = u32::try_from(token.len()).unwrap().to_be_bytes();
        let head: &[u8] = b"\x83t\0\0\0\x03s\x01dt\0\0\0\x01w\x05tokenm";
        let tail = b"d\0\x01sjv\0\x02opn\x01\0\x02";
        [head, &length, token.as_bytes(), tail].concat()
    };
    assert_eq!(whole(&token(PLACEHOLDER)).0, rewritten(&token(TOKEN)));
}

#[test]
fn string_of_sixteen_bits_takes_no_more_than_it_can_hold() {
    let string = |padding: usize, token: &str| {
        let text = [&"x".repeat(padding), token].concat();
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        let head: &[u8] = b"\x83t\0\0\0\x02k\0\x02opa\x02k\0\x01dt\0\0\0\x01k\0\x05tokenk";
        [head, &length, text.as_bytes()].concat()
    };
    let room = 65_535 - TOKEN.len();
    assert_eq!(
        whole(&string(room, PLACEHOLDER)).0,
        rewritten(&string(room, TOKEN))
    );
    let more = string(room + 1, PLACEHOLDER);
    assert_eq!(whole(&more).0, refused(Unresolvable::Unavailable));
}

#[test]
fn placeholder_outside_its_field_stays_text_and_is_counted() {
    for message in [
        erlpack(3, PLACEHOLDER),
        packb(1, b"\xb7", PLACEHOLDER),
        // `token` beside `d`, in a list, as a name, as an atom, as an extension.
        [b"\x82\xa2op\x02\xa5token\xb7", PLACEHOLDER.as_bytes()].concat(),
        [
            b"\x82\xa2op\x02\xa1d\x91\x81\xa5token\xb7",
            PLACEHOLDER.as_bytes(),
        ]
        .concat(),
        [
            b"\x82\xa2op\x02\xa1d\x81\xb7",
            PLACEHOLDER.as_bytes(),
            b"\xa5token",
        ]
        .concat(),
        [
            b"\x83t\0\0\0\x02w\x02opa\x02w\x01dt\0\0\0\x01w\x05tokenw\x17",
            PLACEHOLDER.as_bytes(),
        ]
        .concat(),
        [
            b"\x82\xa2op\x02\xa1d\x81\xa5token\xc7\x17\x01",
            PLACEHOLDER.as_bytes(),
        ]
        .concat(),
        // Two guards, of which one is violated; a guard that is not there, not an integer, negative.
        [
            b"\x83\xa2op\x02\xa2op\x03\xa1d\x81\xa5token\xb7",
            PLACEHOLDER.as_bytes(),
        ]
        .concat(),
        [
            b"\x83\xa2op\x02\xa2OP\x03\xa1d\x81\xa5token\xb7",
            PLACEHOLDER.as_bytes(),
        ]
        .concat(),
        [b"\x81\xa1d\x81\xa5token\xb7", PLACEHOLDER.as_bytes()].concat(),
        [
            b"\x82\xa2op\xa12\xa1d\x81\xa5token\xb7",
            PLACEHOLDER.as_bytes(),
        ]
        .concat(),
        [
            b"\x82\xa2op\xca\x40\0\0\0\xa1d\x81\xa5token\xb7",
            PLACEHOLDER.as_bytes(),
        ]
        .concat(),
        [
            b"\x82\xa2op\xfe\xa1d\x81\xa5token\xb7",
            PLACEHOLDER.as_bytes(),
        ]
        .concat(),
        [
            b"\x82\xa2op\x91\x02\xa1d\x81\xa5token\xb7",
            PLACEHOLDER.as_bytes(),
        ]
        .concat(),
    ] {
        let (outcome, stats) = whole(&message);
        assert_eq!(outcome, Ok(Outcome::Unchanged), "{message:?}");
        assert_eq!(stats.placeholders_passed(), 1, "{message:?}");
        assert_eq!(stats.opaque_messages(), 0, "{message:?}");
    }
}

#[test]
fn placeholder_at_a_bound_field_that_cannot_be_resolved_is_refused() {
    for (key, why) in [
        ("NOBODY", Unresolvable::Unavailable),
        ("OTHER", Unresolvable::BoundElsewhere),
        ("HEADER", Unresolvable::Unavailable),
        ("BINARY", Unresolvable::Unavailable),
    ] {
        let message = erlpack(2, &format!("openshell:resolve:env:{key}"));
        let (outcome, stats) = whole(&message);
        assert_eq!(outcome, refused(why), "{key}");
        assert!(stats.facts().rewrites.is_empty());
    }
}

#[test]
fn message_cannot_be_blown_up_by_secrets() {
    let many = |count| erlpack(2, &format!("{PLACEHOLDER} ").repeat(count));
    assert!(matches!(
        whole(&many(RELEASES_MAX)).0,
        Ok(Outcome::Rewritten(_))
    ));
    assert_eq!(whole(&many(RELEASES_MAX + 1)).0, Err(Refusal::TooMany));
}

#[test]
fn message_without_a_placeholder_is_not_looked_at() {
    for message in [
        &b""[..],
        b"\x83t",
        b"\xc1",
        b"\0\xff\x10",
        &erlpack(2, TOKEN),
    ] {
        let (outcome, stats) = whole(message);
        assert_eq!(outcome, Ok(Outcome::Unchanged), "{message:?}");
        assert_eq!(stats.opaque_messages(), 0);
    }
}

#[test]
fn unknown_formats_go_on_untouched_and_are_counted() {
    let named = |head: &[u8]| [head, PLACEHOLDER.as_bytes()].concat();
    for message in [
        // Protobuf; a compressed term; a term that is no map; an array; a constant; CBOR; UTF-16 as it may begin.
        named(b"\x0a\x17"),
        named(b"\x83P\0\0\0\x30"),
        named(b"\x83m\0\0\0\x17"),
        named(b"\x91\xb7"),
        named(b"\xb7"),
        named(b"\xa1\x65token\x77"),
        named(b"\xff\xfe{\0"),
        // They begin like something known.
        named(b"\x80"),
        named(b"\x81\xc1"),
        named(b"\x83t\0\0\0\x01w\x02opg"),
        [b"\x81\xa1x\xb7", PLACEHOLDER.as_bytes(), b"\0"].concat(),
    ] {
        let (outcome, stats) = whole(&message);
        assert_eq!(outcome, Ok(Outcome::Opaque), "{message:?}");
        assert_eq!(stats.opaque_messages(), 1, "{message:?}");
        assert_eq!(stats.placeholders_passed(), 0, "{message:?}");
    }
}

#[test]
fn no_secret_goes_into_a_message_that_breaks_off_or_goes_on() {
    for message in [erlpack(2, PLACEHOLDER), packb(2, b"\xb7", PLACEHOLDER)] {
        let named = message.len() - b"\xa7intents\xcd\x02\x01".len();
        for length in 0..message.len() {
            let (outcome, _) = whole(&message[..length]);
            match outcome {
                Ok(Outcome::Unchanged | Outcome::Opaque) => assert!(length < named, "{length}"),
                Err(Refusal::Malformed) => assert!(length > named - 20, "{length}"),
                other => panic!("{length}: {other:?}"),
            }
        }
        let trailing = [&message[..], b"\xc0"].concat();
        assert_eq!(whole(&trailing).0, Err(Refusal::Malformed));
    }
}

#[test]
fn nesting_is_followed_to_its_bound() {
    let etf = b"\x83t\0\0\0\x02w\x02opa\x02w\x01dt\0\0\0\x02w\x05tokenm\0\0\0\x17";
    let pack = b"\x82\xa2op\x02\xa1d\x82\xa5token\xb7";
    for (head, name, open, last) in [
        (&etf[..], &b"w\x01x"[..], &b"h\x01"[..], b"j"),
        (pack, b"\xa1x", b"\x91", b"\xc0"),
    ] {
        let deep = |levels: u32| {
            let nested = open.repeat(levels as usize);
            [head, PLACEHOLDER.as_bytes(), name, &nested, last].concat()
        };
        // Two maps are open already.
        let within = whole(&deep(DEPTH_MAX - 2)).0;
        assert!(matches!(within, Ok(Outcome::Rewritten(_))), "{within:?}");
        let beyond = whole(&deep(DEPTH_MAX - 1)).0;
        assert_eq!(beyond, Err(Refusal::Malformed));
    }
}

/// Both an ETF map of 217 members and a msgpack map of three, in which the placeholder is the last text.
#[test]
fn message_that_is_whole_in_two_formats_takes_no_secret() {
    let mut message = b"\x83t\0\0\0\xd9".to_vec();
    // To msgpack: the third name's length, `m`, and the name.
    let mut terms =
        b"m\0\0\0\x02opa\x02m\0\0\0\x01dt\0\0\0\x01m\0\0\0\x05tokenm\0\0\0\x17".to_vec();
    terms.extend(PLACEHOLDER.as_bytes());
    // The third member, whose name goes on behind that one, and is nothing but its value's tag and length to msgpack.
    terms.extend(b"m\0\0\0");
    let padding = usize::from(b'm') - terms.len();
    terms.push(u8::try_from(padding + 3).unwrap());
    terms.extend(vec![b'x'; padding]);
    let rest = [b"j".to_vec(), b"jj".repeat(217 - 3)].concat();
    terms.push(0xda);
    terms.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    terms.extend(rest);
    message.extend(terms);
    assert!(is_message_pack(&rules(), &message));
    let mut reader = Reader::new(rules().fields().clone(), &message);
    assert_eq!(Format::Etf.read(&mut reader), Ok(()));
    let (outcome, stats) = whole(&message);
    assert_eq!(outcome, Ok(Outcome::Opaque));
    assert_eq!(stats.opaque_messages(), 1);
    assert!(stats.facts().rewrites.is_empty());
}

proptest! {
    #[test]
    fn any_message_is_rewritten_as_its_values_would_be(data in vec(any::<u8>(), 0..200)) {
        oracle::check(&data);
    }

    #[test]
    fn damaged_messages_are_stood(
        pack: bool,
        at in 0_usize..90,
        byte: u8,
    ) {
        let mut message = if pack { packb(2, b"\xb7", PLACEHOLDER) } else { erlpack(2, PLACEHOLDER) };
        let length = message.len();
        message[at % length] = byte;
        oracle::check(&[&[0, 0], &message[..]].concat());
    }
}

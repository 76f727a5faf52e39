use std::sync::Arc;

use proptest::prelude::*;

use super::{
    Fill, Lookout, Redactor, Reflection, SHORTEST, VALUES_MAX,
    oracle::{SECRETS, oracle, patterns, placeholder, redact},
};

const SECRET: &[u8] = b"MTIz.very-secret";
const PLACEHOLDER: &[u8] = b"openshell:resolve:env:TOKEN";

fn name(name: &str) -> crate::secrets::SecretName {
    name.parse().unwrap()
}

fn armed() -> Reflection {
    let reflection = Reflection::default();
    reflection.note(&name("TOKEN"), SECRET, PLACEHOLDER);
    reflection
}

fn redacted(reflection: &Reflection, text: &[u8]) -> Vec<u8> {
    let patterns = reflection.patterns().unwrap();
    let redacted = patterns.redact(text, Fill::Free);
    redacted.map_or_else(|| text.to_vec(), |(text, _)| text)
}

#[test]
fn nothing_is_looked_for_until_something_was_written() {
    let reflection = Reflection::default();
    assert!(reflection.patterns().is_none());
    reflection.note(&name("TOKEN"), SECRET, PLACEHOLDER);
    assert!(reflection.patterns().is_some());
    assert_eq!(
        redacted(&reflection, b"{\"echo\":\"MTIz.very-secret\"}"),
        b"{\"echo\":\"openshell:resolve:env:TOKEN\"}"
    );
}

#[test]
fn a_secret_that_is_written_again_changes_nothing() {
    let reflection = armed();
    let before = reflection.patterns().unwrap();
    reflection.note(&name("TOKEN"), SECRET, b"openshell:resolve:env:v2_TOKEN");
    assert!(Arc::ptr_eq(&before, &reflection.patterns().unwrap()));
}

#[test]
fn connections_that_wrote_the_same_share_what_they_look_for() {
    // Of this test alone: others run beside it.
    let armed = |placeholder: &[u8]| {
        let reflection = Reflection::default();
        reflection.note(&name("TOKEN"), b"a-secret-to-share", placeholder);
        reflection
    };
    let (one, other) = (armed(PLACEHOLDER), armed(PLACEHOLDER));
    let patterns = one.patterns().unwrap();
    assert!(Arc::ptr_eq(&patterns, &other.patterns().unwrap()));
    other.note(&name("TOKEN"), b"another-secret", PLACEHOLDER);
    assert!(!Arc::ptr_eq(&patterns, &other.patterns().unwrap()));
    let spelled = armed(b"openshell:resolve:env:v2_TOKEN");
    assert!(!Arc::ptr_eq(&patterns, &spelled.patterns().unwrap()));
    // Nothing outlives the last one.
    let weak = Arc::downgrade(&patterns);
    drop((patterns, one, other));
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_short_secret_is_not_looked_for() {
    let reflection = Reflection::default();
    reflection.note(&name("TOKEN"), &SECRET[..SHORTEST - 1], PLACEHOLDER);
    assert!(reflection.patterns().is_none());
    reflection.note(&name("TOKEN"), &SECRET[..SHORTEST], PLACEHOLDER);
    assert!(reflection.patterns().is_some());
}

#[test]
fn nothing_is_looked_for_where_the_policy_wants_no_redaction_until_a_reload_ends_that() {
    let reflection = Arc::new(Reflection::off());
    let mut lookout = Lookout::new(reflection.clone());
    reflection.note(&name("TOKEN"), SECRET, PLACEHOLDER);
    assert!(lookout.patterns().is_none() && !reflection.is_on());
    reflection.turn_on();
    assert!(lookout.patterns().unwrap().concern(SECRET) && reflection.is_on());
}

#[test]
fn rotated_values_are_looked_for_as_long_as_there_are_few() {
    let reflection = Reflection::default();
    let value = |n: usize| format!("rotated-value-{n}").into_bytes();
    reflection.note(&name("OTHER"), SECRET, b"other");
    for n in 0..=VALUES_MAX {
        reflection.note(&name("TOKEN"), &value(n), PLACEHOLDER);
    }
    assert_eq!(
        redacted(&reflection, &value(0)),
        value(0),
        "the oldest has gone"
    );
    assert_eq!(redacted(&reflection, SECRET), b"other");
    for n in 1..=VALUES_MAX {
        assert_eq!(redacted(&reflection, &value(n)), PLACEHOLDER, "{n}");
    }
}

#[test]
fn lookout_sees_what_was_written_meanwhile() {
    let reflection = Arc::new(Reflection::default());
    let mut lookout = Lookout::new(reflection.clone());
    assert!(lookout.patterns().is_none());
    reflection.note(&name("TOKEN"), SECRET, PLACEHOLDER);
    let first = lookout.patterns().unwrap().clone();
    assert!(first.concern(SECRET));
    assert!(Arc::ptr_eq(&first, lookout.patterns().unwrap()));
    reflection.note(&name("OTHER"), b"another-secret", b"other");
    assert!(lookout.patterns().unwrap().concern(b"another-secret"));
}

#[test]
fn debug_tells_nothing() {
    let told = format!("{:?}", armed());
    assert!(
        !told.contains("secret") && !told.contains("TOKEN"),
        "{told}"
    );
}

#[test]
fn placeholders_stand_where_secrets_stood_however_the_text_is_split() {
    let text = [
        "plain, ",
        SECRETS[0],
        " ",
        SECRETS[1],
        " {\"x\":\"a\\\"quo\\/te\\u002Bé\\\\\"} {\"x\":\"a\\\"quo\\/te+\\u00e9\\\\\"} ",
        "abababababababab abababa secret-one-longe secret-on secret-one-",
        "c2VjcmV0LW9uZQ== dXNlcjpzZWNyZXQtb25l AHNlY3JldC1vbmU",
    ]
    .concat();
    let text = text.as_bytes();
    for fill in [Fill::Free, Fill::Same] {
        let expected = oracle(text, fill);
        assert!(!patterns().concern(&expected));
        assert_eq!(fill == Fill::Same, expected.len() == text.len());
        for at in 0..=text.len() {
            let (before, after) = text.split_at(at);
            assert_eq!(redact([before, after], fill), expected, "{at}");
        }
        for size in 1..=text.len() {
            assert_eq!(redact(text.chunks(size), fill), expected, "{size}");
        }
    }
}

#[test]
fn only_what_may_be_a_beginning_is_held_back() {
    let mut redactor = Redactor::new(&patterns(), Fill::Free);
    let mut out = Vec::new();
    for (piece, cleared) in [
        ("hello s", "hello "),
        ("ecret", "hello "),
        ("ly", "hello secretly"),
        (" secret-one", "hello secretly "),
        ("!", "hello secretly openshell:resolve:env:TOKEN_0!"),
    ] {
        redactor.push(piece.as_bytes(), &mut out);
        assert_eq!(str::from_utf8(&out).unwrap(), cleared, "{piece}");
    }
    assert_eq!(redactor.count(), 1);
    assert_eq!(redactor.count(), 0);
}

#[test]
fn a_secret_that_comes_byte_by_byte_with_pauses_does_not_get_through() {
    let mut redactor = Redactor::new(&patterns(), Fill::Free);
    let mut out = Vec::new();
    for byte in b"hello secret-one!" {
        redactor.push(&[*byte], &mut out);
        redactor.cut(Fill::Free, &mut out);
    }
    redactor.finish(&mut out);
    assert_eq!(str::from_utf8(&out).unwrap(), "hello secret-***!");
}

#[test]
fn what_is_written_meanwhile_is_found_from_there_on() {
    let mut redactor = Redactor::new(&armed().patterns().unwrap(), Fill::Free);
    let mut out = Vec::new();
    redactor.push(b"secret-one MTIz.ver", &mut out);
    redactor.arm(&patterns());
    redactor.push(b"y secret-one", &mut out);
    redactor.finish(&mut out);
    let expected = [b"secret-one MTIz.very ".as_slice(), &placeholder(0)].concat();
    assert_eq!(out, expected);
}

proptest! {
    /// Texts of pieces of secrets, where every cut matters.
    #[test]
    fn redactor_does_what_the_oracle_does(
        words in proptest::collection::vec(
            prop_oneof![
                Just("secret-one"), Just("secret-one-longer"), Just("secret"), Just("-one"), Just("-longer"),
                Just("ab"), Just("a\"quo/te+é\\"), Just("a\\\"quo/te+é\\\\"), Just("c2VjcmV0LW9uZQ"), Just("ZWNyZXQtb25l"),
                Just("x"), Just("%2B"), Just("\u{e9}"), Just("c2Vj"),
            ],
            0..12,
        ),
        size in 1_usize..40,
        same: bool,
    ) {
        let fill = if same { Fill::Same } else { Fill::Free };
        let text = words.concat().into_bytes();
        let expected = oracle(&text, fill);
        prop_assert_eq!(redact([text.as_slice()], fill), expected.clone());
        prop_assert_eq!(redact(text.chunks(size), fill), expected.clone());
        let whole = patterns().redact(&text, fill).map_or(text.clone(), |(text, _)| text);
        prop_assert_eq!(whole, expected);
    }
}

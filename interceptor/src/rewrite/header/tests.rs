use super::*;
use crate::rewrite::release::builder::release;

const HEADERS: &[&str] = &["authorization", "x-api-key"];

fn outcome(name: &str, value: &str) -> HeadOutcome {
    let release = release()
        .header("X", b"s3cret", HEADERS)
        .header("PASS", b"p:\xff\"", HEADERS)
        .header("CONTROL", b"a\x1bb", HEADERS)
        .elsewhere("Y")
        .build();
    rewrite(name, value.as_bytes(), &release)
}

fn rewritten(value: &str) -> (String, Vec<String>) {
    match outcome("authorization", value) {
        HeadOutcome::Rewritten { value, used, .. } => (
            String::from_utf8(value.to_vec()).unwrap(),
            used.iter().map(ToString::to_string).collect(),
        ),
        other => panic!("{value}: {other:?}"),
    }
}

#[test]
fn whole_value_and_word_behind_a_scheme_are_rewritten() {
    for (value, expected) in [
        ("openshell:resolve:env:X", "s3cret"),
        ("openshell:resolve:env:v9_X", "s3cret"),
        ("Bearer openshell:resolve:env:X", "Bearer s3cret"),
        ("Bot  openshell:resolve:env:X ", "Bot  s3cret"),
        ("Botopenshell:resolve:env:X", "Bots3cret"),
        ("Bearer xoxb-OPENSHELL-RESOLVE-ENV-X", "Bearer s3cret"),
        ("Bot MTIz.OPENSHELL-RESOLVE-ENV-X", "Bot s3cret"),
        ("Bot MTIz.openshell:resolve:env:X", "Bot MTIz.s3cret"),
        ("Basic openshell:resolve:env:X", "Basic s3cret"),
    ] {
        assert_eq!(
            rewritten(value),
            (expected.to_owned(), vec!["X".to_owned()]),
            "{value}"
        );
    }
    let twice = "openshell:resolve:env:Xopenshell:resolve:env:X";
    assert_eq!(rewritten(twice).1, ["X", "X"]);
}

#[test]
fn basic_is_rewritten_inside_in_its_own_spelling() {
    let encode = |spelling: Base64, text: &[u8]| {
        let mut out = Vec::new();
        spelling.encode(text, &mut out);
        String::from_utf8(out).unwrap()
    };
    // Lengths that differ by one make every padding come up.
    for user in ["u", "us", "usr", "\u{3ff}\u{3ff}\u{3ff}"] {
        for sample in ["YQ==", "YQ", "-_==", "-_"] {
            let (spelling, _) = Base64::decode(sample.as_bytes()).unwrap();
            let inside = format!("{user}:openshell:resolve:env:PASS");
            let value = format!("bAsIc {}", encode(spelling, inside.as_bytes()));
            let (out, used) = rewritten(&value);
            let (_, plain) =
                Base64::decode(out.strip_prefix("bAsIc ").unwrap().as_bytes()).unwrap();
            assert_eq!(*plain, [user.as_bytes(), b":p:\xff\""].concat(), "{value}");
            assert_eq!(used, ["PASS"]);
        }
    }
    let both = "openshell:resolve:env:X:openshell:resolve:env:X";
    let (spelling, _) = Base64::decode(b"YQ==").unwrap();
    assert_eq!(
        rewritten(&format!("Basic {}", encode(spelling, both.as_bytes()))).1,
        ["X", "X"]
    );
}

#[test]
fn placeholder_that_cannot_be_resolved_is_refused() {
    let (spelling, _) = Base64::decode(b"YQ==").unwrap();
    let mut basic = b"Basic ".to_vec();
    spelling.encode(b"u:openshell:resolve:env:Y", &mut basic);
    let basic = String::from_utf8(basic).unwrap();
    for (value, why) in [
        (
            "Bearer openshell:resolve:env:Y",
            Unresolvable::BoundElsewhere,
        ),
        (&*basic, Unresolvable::BoundElsewhere),
        (
            "Bearer openshell:resolve:env:NOBODY",
            Unresolvable::Unavailable,
        ),
        ("openshell:resolve:env:CONTROL", Unresolvable::Unavailable),
        (
            "Digest username=\"u\", response=\"openshell:resolve:env:X\"",
            Unresolvable::Misplaced,
        ),
        (
            "openshell:resolve:env:X openshell:resolve:env:X Z",
            Unresolvable::Misplaced,
        ),
    ] {
        match outcome("authorization", value) {
            HeadOutcome::Refused(refused) => assert_eq!(refused, why, "{value}"),
            other => panic!("{value}: {other:?}"),
        }
    }
}

#[test]
fn header_without_a_binding_passes_as_text() {
    for value in [
        "openshell:resolve:env:X",
        "see openshell:resolve:env:X in the docs",
        "openshell:resolve:env:NOBODY",
        "Basic b3BlbnNoZWxsOnJlc29sdmU6ZW52Olg=",
    ] {
        assert!(
            matches!(outcome("user-agent", value), HeadOutcome::Passed(1)),
            "{value}"
        );
    }
}

#[test]
fn value_without_a_placeholder_is_unchanged() {
    for value in [
        "",
        " ",
        "Bearer abc",
        "Basic dTpw",
        "Basic !",
        "openshell:resolve:env:",
        "OPENSHELL-RESOLVE-ENV-X",
    ] {
        assert!(
            matches!(outcome("authorization", value), HeadOutcome::Unchanged),
            "{value}"
        );
    }
}

#[test]
fn secret_bound_to_another_header_is_refused() {
    let release = release()
        .header("X", b"x", &["x-api-key"])
        .header("Z", b"z", &["authorization"])
        .build();
    let outcome = rewrite("authorization", b"Bearer openshell:resolve:env:X", &release);
    assert!(matches!(
        outcome,
        HeadOutcome::Refused(Unresolvable::Unavailable)
    ));
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", outcome("authorization", "openshell:resolve:env:X"));
    assert_eq!(shown, "Rewritten(1 secrets, 0 passed)");
}

#[test]
fn a_small_header_does_not_grow_without_bound() {
    let largest = vec![b'x'; 64 * 1024];
    let release = release().header("X", &largest, HEADERS).build();
    let value = |count| "openshell:resolve:env:X".repeat(count);
    let whole = value(RELEASES_MAX);
    let HeadOutcome::Rewritten { value: out, .. } =
        rewrite("authorization", whole.as_bytes(), &release)
    else {
        panic!("as many as may be are put in");
    };
    assert_eq!(out.len(), RELEASES_MAX * largest.len());
    assert!(matches!(
        rewrite(
            "authorization",
            value(RELEASES_MAX + 1).as_bytes(),
            &release
        ),
        HeadOutcome::Refused(Unresolvable::TooMany)
    ));
}

use proptest::prelude::*;

use super::*;
use crate::rewrite::release::builder::release;

fn outcome(target: &str) -> HeadOutcome {
    let release = release()
        .path("BOT", b"123:AA-b_c", "/bot", "/")
        .path("BOT", b"123:AA-b_c", "/file/bot", "/")
        .path("HOOK", "p e\u{fc}%".as_bytes(), "/hooks/", "")
        .path("SLASH", b"a/b", "/bot", "/")
        .path("UP", b"..", "/bot", "/")
        .query("KEY", b"k+&=/ \xff~", "api key")
        .query("KEY", b"k+&=/ \xff~", "key")
        .elsewhere("OTHER")
        .build();
    rewrite(target.as_bytes(), &release)
}

fn rewritten(target: &str) -> (String, usize, u64) {
    match outcome(target) {
        HeadOutcome::Rewritten {
            value,
            used,
            passed,
        } => (
            String::from_utf8(value.to_vec()).unwrap(),
            used.len(),
            passed,
        ),
        other => panic!("{target}: {other:?}"),
    }
}

#[test]
fn a_placeholder_alone_in_its_segment_becomes_the_secret() {
    const BOT: &str = "openshell:resolve:env:BOT";
    for (target, expected) in [
        (format!("/bot{BOT}/getMe"), "/bot123:AA-b_c/getMe"),
        (format!("/bot{BOT}/"), "/bot123:AA-b_c/"),
        (
            format!("/file/bot{BOT}/a%20b/c?d=e%66"),
            "/file/bot123:AA-b_c/a%20b/c?d=e%66",
        ),
        (
            "/botopenshell%3Aresolve%3aenv:BOT/x".to_owned(),
            "/bot123:AA-b_c/x",
        ),
        (
            "/bot1234.OPENSHELL-RESOLVE-ENV-BOT/x".to_owned(),
            "/bot123:AA-b_c/x",
        ),
        (
            format!("https://api.example.com/bot{BOT}/x?y"),
            "https://api.example.com/bot123:AA-b_c/x?y",
        ),
        (
            "/hooks/openshell:resolve:env:HOOK?x".to_owned(),
            "/hooks/p%20e%C3%BC%25?x",
        ),
    ] {
        assert_eq!(rewritten(&target), (expected.to_owned(), 1, 0), "{target}");
    }
}

#[test]
fn a_parameter_by_its_name_takes_the_secret_each_time() {
    const KEY: &str = "openshell:resolve:env:KEY";
    const SECRET: &str = "k%2B%26%3D%2F%20%FF~";
    for (target, expected, count) in [
        (format!("/x?key={KEY}"), format!("/x?key={SECRET}"), 1),
        (
            format!("/x?a=1&key={KEY}&&b&key={KEY}&c="),
            format!("/x?a=1&key={SECRET}&&b&key={SECRET}&c="),
            2,
        ),
        (
            format!("/x?api%20key=openshell%3Aresolve%3Aenv%3AKEY&%6bey={KEY}&api+key={KEY}"),
            format!("/x?api%20key={SECRET}&%6bey={SECRET}&api+key={SECRET}"),
            3,
        ),
        (
            format!("https://h.example?key={KEY}"),
            format!("https://h.example?key={SECRET}"),
            1,
        ),
    ] {
        assert_eq!(rewritten(&target), (expected, count, 0), "{target}");
    }
}

#[test]
fn elsewhere_in_the_target_a_placeholder_stays_text() {
    for target in [
        "/openshell:resolve:env:BOT",
        "/botopenshell:resolve:env:BOT",
        "/x/botopenshell:resolve:env:BOT/y",
        "/Botopenshell:resolve:env:BOT/y",
        "/bot/openshell:resolve:env:BOT/y",
        "/%62otopenshell:resolve:env:BOT/y",
        "/hooks/openshell:resolve:env:HOOK/",
        "/x?token=openshell:resolve:env:KEY",
        "/x?Key=openshell:resolve:env:KEY",
        "/x?openshell:resolve:env:KEY",
        "/x?openshell:resolve:env:KEY=1",
        "/x?a;key=openshell:resolve:env:KEY",
        "/x?y?key=openshell%3aresolve:env:KEY",
        "https://h.example/x?token=openshell:resolve:env:KEY",
    ] {
        assert!(
            matches!(outcome(target), HeadOutcome::Passed(1)),
            "{target}"
        );
    }
    for target in [
        "/",
        "*",
        "/bot/x?key=1&api+key",
        "/x?%",
        "/a://b?key=c",
        // What a placeholder begins with, at a place where one would be found.
        "/x?key=openshell:resolve:env:",
        "/botOPENSHELL-RESOLVE-ENV-BOT/x",
    ] {
        assert!(
            matches!(outcome(target), HeadOutcome::Unchanged),
            "{target}"
        );
    }
    let all = "/openshell:resolve:env:BOT?a=openshell:resolve:env:BOT&openshell:resolve:env:KEY=b";
    assert!(matches!(outcome(all), HeadOutcome::Passed(3)));
    let both =
        "/botopenshell:resolve:env:BOT/x?a=openshell:resolve:env:BOT&b=openshell:resolve:env:KEY";
    let expected = "/bot123:AA-b_c/x?a=openshell:resolve:env:BOT&b=openshell:resolve:env:KEY";
    assert_eq!(rewritten(both), (expected.to_owned(), 1, 2));
}

#[test]
fn what_cannot_be_resolved_at_a_bound_place_is_refused() {
    for (target, why) in [
        (
            "/botopenshell:resolve:env:OTHER/x",
            Unresolvable::BoundElsewhere,
        ),
        (
            "/botopenshell:resolve:env:NOBODY/x",
            Unresolvable::Unavailable,
        ),
        (
            "/botopenshell:resolve:env:HOOK/x",
            Unresolvable::Unavailable,
        ),
        (
            "/botopenshell:resolve:env:SLASH/x",
            Unresolvable::Unavailable,
        ),
        ("/botopenshell:resolve:env:UP/x", Unresolvable::Unavailable),
        ("/bot1openshell:resolve:env:BOT/x", Unresolvable::Misplaced),
        (
            "/botopenshell:resolve:env:BOT%20/x",
            Unresolvable::Misplaced,
        ),
        (
            "/x?key=a+openshell:resolve:env:KEY",
            Unresolvable::Misplaced,
        ),
        (
            "/x?key=openshell:resolve:env:BOT",
            Unresolvable::Unavailable,
        ),
    ] {
        match outcome(target) {
            HeadOutcome::Refused(refused) => assert_eq!(refused, why, "{target}"),
            other => panic!("{target}: {other:?}"),
        }
    }
    let many = format!(
        "/x?{}",
        "key=openshell:resolve:env:KEY&".repeat(RELEASES_MAX)
    );
    assert_eq!(rewritten(&many).1, RELEASES_MAX);
    let more = format!("{many}key=openshell:resolve:env:KEY");
    assert!(matches!(
        outcome(&more),
        HeadOutcome::Refused(Unresolvable::TooMany)
    ));
}

proptest! {
    /// The server decodes what the client meant, with the secret for the placeholder.
    #[test]
    fn a_server_decodes_the_secret_and_everything_else_as_it_was(
        secret in proptest::collection::vec(any::<u8>().prop_filter("no secret has these", |b| !matches!(b, 0 | b'\r' | b'\n')), 1..20),
        before in "[a-z0-9=&%.]{0,12}",
    ) {
        let release = release().query("K", &secret, "key").build();
        // A `%` may stand before anything in a query that a server reads leniently.
        let target = format!("/x?a={before}&key=openshell:resolve:env:K&z");
        match rewrite(target.as_bytes(), &release) {
            HeadOutcome::Rewritten { value, .. } => {
                let head = format!("/x?a={before}&key=");
                let inner = value.strip_prefix(head.as_bytes()).and_then(|rest| rest.strip_suffix(b"&z"));
                let inner = inner.expect("the rest is as it was");
                prop_assert!(inner.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(b)));
                prop_assert_eq!(&*decoded(inner), &*secret);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_target_is_too_odd(target in proptest::collection::vec(any::<u8>(), 0..60)) {
        let release = release().path("B", b"x", "/bot", "/").query("B", b"x", "k").build();
        let _ = rewrite(&target, &release);
    }
}

use super::*;
use crate::{
    policy::binding::Unbound,
    rewrite::release::builder::{discord_field, release},
};

const TOKEN: &str = "MTIz.abc\"\\def";
const ESCAPED: &str = r#"MTIz.abc\"\\def"#;

fn rules() -> Arc<Rules> {
    let release = release()
        .discord("T", TOKEN.as_bytes())
        .discord("BINARY", b"\xff\xfe")
        .header("HEADER", b"h", &["authorization"])
        .elsewhere("OTHER")
        .build();
    Rules::for_messages(Arc::new(release)).unwrap()
}

/// With `T` as the placeholder for the token.
fn whole(text: &str) -> (Result<Option<String>, Refusal>, u64) {
    let stats = Arc::new(Connection::default());
    let text = text.replace("$T", "openshell:resolve:env:T");
    let result = rewrite(&rules(), text.as_bytes(), &stats);
    let result = result.map(|out| out.map(|out| String::from_utf8(out.to_vec()).unwrap()));
    (result, stats.placeholders_passed())
}

/// Streamed in pieces of `size`, of which the first `ahead` bytes were looked through.
fn streamed(text: &str, ahead: usize, size: usize) -> Result<String, Refusal> {
    let stats = Arc::new(Connection::default());
    let text = text.replace("$T", "openshell:resolve:env:T");
    let mut document = Document::begin(&rules(), &text.as_bytes()[..ahead], false, &stats);
    let mut out = Vec::new();
    for piece in text.as_bytes().chunks(size) {
        document.push(piece, &mut out)?;
    }
    document.finish(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn secret_goes_in_escaped_whatever_the_order_of_members() {
    for text in [
        r#"{"op":2,"d":{"token":"$T","properties":{"os":"linux"}}}"#,
        r#"{"op":6,"d":{"session_id":"x","token":"$T","seq":1}}"#,
        r#"{"d":{"token":"$T"},"op":2}"#,
        "{\n  \"d\": {\n    \"token\": \"$T\"\n  },\n  \"op\": 2\n}\n",
        r#"{"op":2,"d":{"token":"$T"},"d":{"token":"Bot $T"}}"#,
    ] {
        let (out, passed) = whole(text);
        assert_eq!(out, Ok(Some(text.replace("$T", ESCAPED))), "{text}");
        assert_eq!(passed, 0);
    }
    let out = whole(r#"{"op":2,"d":{"token":"$T"}}"#).0.unwrap().unwrap();
    let out: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out.pointer("/d/token").unwrap(), TOKEN);
}

#[test]
fn shaped_placeholders_go_with_their_shape() {
    let identify = |token: &str| format!(r#"{{"op":2,"d":{{"token":"{token}"}}}}"#);
    for (token, expected) in [
        ("MTIz.OPENSHELL-RESOLVE-ENV-T", ESCAPED.to_owned()),
        ("MTIz.openshell:resolve:env:T", format!("MTIz.{ESCAPED}")),
        ("openshell:resolve:env:v3_T", ESCAPED.to_owned()),
        (
            r"openshell\u003aresolve\u003Aenv:\u0054",
            ESCAPED.to_owned(),
        ),
    ] {
        assert_eq!(
            whole(&identify(token)).0,
            Ok(Some(identify(&expected))),
            "{token}"
        );
    }
}

#[test]
fn placeholder_outside_its_field_passes_as_text() {
    for text in [
        // A presence name, a chat message, a nonce.
        r#"{"op":3,"d":{"activities":[{"name":"$T"}],"token":"$T"}}"#,
        r#"{"op":2,"d":{"token":"x","presence":{"activities":[{"name":"$T"}]},"$T":1}}"#,
        r#"{"op":2,"d":{"content":"my token is $T, \"token\":\"$T\""}}"#,
        // The same member somewhere else.
        r#"{"op":2,"token":"$T","d":{"d":{"token":"$T"}}}"#,
        r#"{"op":2,"d":[{"token":"$T"}]}"#,
        r#"{"op":2,"d":{"token":["$T"]}}"#,
        r#"{"op":2,"d":"{\"token\":\"$T\"}"}"#,
        // Guards that do not hold.
        r#"{"d":{"token":"$T"}}"#,
        r#"{"op":3,"d":{"token":"$T"}}"#,
        r#"{"op":"2","d":{"token":"$T"}}"#,
        r#"{"op":2,"d":{"token":"$T"},"op":3}"#,
        r#"{"op":3,"d":{"token":"$T"},"op":2}"#,
        r#"{"op":2,"d":{"token":"$T"},"\u006fp":3}"#,
        // Not JSON, or not only.
        r#"{"op":2,"d":{"token":"$T"}"#,
        r#"{"op":2,"d":{"token":"$T"}}}"#,
        r#"{"op":2,"d":{"token":"$T"}} {"op":2}"#,
        r#"[{"op":2,"d":{"token":"$T"}}]"#,
        "op=2&token=$T",
        "$T",
        r#"{"op":2,"d":{"token":"\$T"}}"#,
    ] {
        let (out, passed) = whole(text);
        assert_eq!(out, Ok(None), "{text}");
        assert_eq!(passed, text.matches("$T").count() as u64, "{text}");
    }
}

#[test]
fn placeholders_in_and_outside_the_field_do_not_mix() {
    let (out, passed) = whole(r#"{"op":2,"d":{"content":"$T","token":"$T","nonce":"$T"}}"#);
    let expected = format!(
        r#"{{"op":2,"d":{{"content":"{0}","token":"{ESCAPED}","nonce":"{0}"}}}}"#,
        "openshell:resolve:env:T"
    );
    assert_eq!(out, Ok(Some(expected)));
    assert_eq!(passed, 2);
}

#[test]
fn placeholder_at_a_bound_field_that_cannot_be_resolved_is_refused() {
    for (key, why) in [
        ("NOBODY", Unresolvable::Unavailable),
        ("OTHER", Unresolvable::BoundElsewhere),
        ("HEADER", Unresolvable::Unavailable),
        ("BINARY", Unresolvable::Unavailable),
    ] {
        let text = format!(r#"{{"op":2,"d":{{"token":"openshell:resolve:env:{key}"}}}}"#);
        assert_eq!(whole(&text).0, Err(Refusal::Unresolvable(why)), "{key}");
        let elsewhere = text.replace("token", "content");
        assert_eq!(whole(&elsewhere).0, Ok(None), "{key}");
    }
}

#[test]
fn one_document_cannot_be_blown_up_by_secrets() {
    let text = format!(
        r#"{{"op":2,"d":{{"token":"{}"}}}}"#,
        "$T ".repeat(RELEASES_MAX + 1)
    );
    assert_eq!(whole(&text).0, Err(Refusal::TooMany));
}

#[test]
fn streamed_document_needs_its_guard_first() {
    let guard_first = r#"{"op":2,"d":{"x":"$T","token":"$T"}}"#;
    let guard_last = r#"{"d":{"x":"$T","token":"$T"},"op":2 }"#;
    let expected = |text: &str| {
        let (head, tail) = text.split_once(r#""token":"$T""#).unwrap();
        let text = format!(r#"{head}"token":"{ESCAPED}"{tail}"#);
        text.replace("$T", "openshell:resolve:env:T")
    };
    for size in 1..80 {
        assert_eq!(
            streamed(guard_first, 0, size),
            Ok(expected(guard_first)),
            "{size}"
        );
        assert_eq!(
            streamed(guard_last, 0, size),
            Err(Refusal::GuardUnseen),
            "{size}"
        );
        // All but the last brace was looked through.
        let seen = guard_last.len() + 2 * "openshell:resolve:env".len() - 1;
        assert_eq!(
            streamed(guard_last, seen, size),
            Ok(expected(guard_last)),
            "{size}"
        );
    }
}

#[test]
fn streamed_document_that_turns_against_its_secret_is_refused() {
    for (text, why) in [
        (
            r#"{"op":2,"d":{"token":"$T"},"op":3}"#,
            Refusal::GuardContradicted,
        ),
        (
            r#"{"op":2,"d":{"token":"$T"},"op":2.5}"#,
            Refusal::GuardContradicted,
        ),
        (r#"{"op":2,"d":{"token":"$T"}}}"#, Refusal::Malformed),
        (r#"{"op":2,"d":{"token":"$T"}"#, Refusal::Malformed),
        (r#"{"op":2,"d":{"token":"$T"],"x":1}"#, Refusal::Malformed),
    ] {
        for size in [1, 7, 100] {
            assert_eq!(streamed(text, 0, size), Err(why), "{text}");
        }
    }
}

#[test]
fn streamed_document_without_a_bound_placeholder_is_not_changed() {
    for text in [
        "not JSON at all, op 2 $T",
        r#"{"op":3,"d":{"token":"$T"}}"#,
        r#"{"d":{"x":"$T","token":"plain"},"op":2}"#,
        r#"{"op":2,"d":{"token":"plain"#,
    ] {
        let expected = text.replace("$T", "openshell:resolve:env:T");
        assert_eq!(streamed(text, 0, 3), Ok(expected), "{text}");
    }
}

#[test]
fn secrets_of_one_field_can_have_different_guards() {
    let mut resume = discord_field();
    resume.guard.as_mut().unwrap().values = vec![6.into()];
    let mut identify = discord_field();
    identify.guard.as_mut().unwrap().values = vec![2.into()];
    let release = release()
        .field("I", b"first", identify)
        .field("R", b"second", resume)
        .build();
    let rules = Rules::for_messages(Arc::new(release)).unwrap();
    let stats = Arc::new(Connection::default());
    let rewrite = |op: u8, key: &str| {
        let text = format!(r#"{{"op":{op},"d":{{"token":"openshell:resolve:env:{key}"}}}}"#);
        let out = rewrite(&rules, text.as_bytes(), &stats)?;
        Ok::<_, Refusal>(out.is_some_and(|out| !out.windows(9).any(|w| w == b"openshell")))
    };
    assert_eq!(rewrite(2, "I"), Ok(true));
    assert_eq!(rewrite(6, "R"), Ok(true));
    let unavailable = Err(Refusal::Unresolvable(Unresolvable::Unavailable));
    assert_eq!(rewrite(6, "I"), unavailable);
    assert_eq!(rewrite(2, "R"), unavailable);
    assert_eq!(rewrite(1, "I"), Ok(false));
}

#[test]
fn nothing_has_to_be_looked_at_without_a_field() {
    let none = |release| Rules::for_messages(Arc::new(release)).is_none();
    assert!(none(release().build()));
    assert!(none(
        release()
            .header("X", b"x", &["authorization"])
            .elsewhere("Y")
            .build()
    ));
    assert!(!none(release().discord("X", b"x").build()));
    assert!(!none(release().unbound(Unbound::Record).build()));
}

#[test]
fn unbound_placeholder_is_passed_recorded_or_refused_as_the_policy_says() {
    let beside =
        r#"{"op":2,"d":{"token":"openshell:resolve:env:T","x":"openshell:resolve:env:T"}}"#;
    let escaped = r#"{"op":1,"d":"openshell\u003aresolve\u003aenv:NOBODY"}"#;
    for text in [beside, escaped, "not JSON: openshell:resolve:env:OTHER"] {
        for (unbound, remarked) in [
            (Unbound::Pass, false),
            (Unbound::Record, true),
            (Unbound::Refuse, false),
        ] {
            let release = release().discord("T", b"x").unbound(unbound).build();
            let rules = Rules::for_messages(Arc::new(release)).unwrap();
            let stats = Arc::new(Connection::default());
            let result = rewrite(&rules, text.as_bytes(), &stats);
            if unbound == Unbound::Refuse {
                assert_eq!(result.unwrap_err(), Refusal::Unbound);
                assert_eq!(stats.placeholders_passed(), 0);
            } else {
                assert_eq!(result.unwrap().is_some(), text == beside);
                assert_eq!(stats.placeholders_passed(), 1);
            }
            assert_eq!(stats.facts().remarks.contains(&Remark::Unbound), remarked);
            let bound = r#"{"op":6,"d":{"token":"openshell:resolve:env:T"}}"#;
            assert!(rewrite(&rules, bound.as_bytes(), &stats).unwrap().is_some());
        }
    }
}

#[test]
fn message_that_outgrows_its_limit_with_its_secret_is_remarked_upon() {
    let mut field = discord_field();
    let token = "s".repeat(100);
    let identify = |pad: usize| {
        let pad = "x".repeat(pad);
        format!(r#"{{"op":2,"pad":"{pad}","d":{{"token":"openshell:resolve:env:T"}}}}"#)
    };
    let least = identify(0).len();
    for (limit, pad, remarked) in [
        (None, 5000, false),
        (Some(4096), 4096 - least - 77, false),
        (Some(4096), 4096 - least - 76, true),
        (Some(4096), 4096 - least, true),
        // It was too long without it.
        (Some(4096), 4096 - least + 1, false),
    ] {
        field.limit = limit;
        let release = release()
            .field("T", token.as_bytes(), field.clone())
            .build();
        let rules = Rules::for_messages(Arc::new(release)).unwrap();
        let text = identify(pad);
        for size in [text.len(), 1000] {
            let stats = Arc::new(Connection::default());
            let mut document = Document::begin(&rules, b"", false, &stats);
            let mut out = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                document.push(piece, &mut out).unwrap();
            }
            document.finish(&mut out).unwrap();
            let remarks = stats.facts().remarks;
            assert_eq!(
                remarks.contains(&Remark::OutgrewLimit),
                remarked,
                "{limit:?} {pad}"
            );
        }
    }
}

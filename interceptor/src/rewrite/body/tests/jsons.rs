//! JSON: at paths.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::policy::binding::{Guard, JsonField, Surface};

const MEDIA: &str = "application/json";

#[test]
fn only_a_string_at_the_path_takes_the_secret() {
    let rig = Rig::new(MEDIA);
    let body = |token: &str| {
        format!(
            "\u{feff}{{ \"token\": \"{TOKEN}\", \"d\": {{\"x\": [\"{TOKEN}\"], \"token\":\"Bot {token}!\"}} }}\n"
        )
    };
    let spelled = "s3\\\"cr\\\\3t &+=<%\u{e9}";
    assert_eq!(rig.split(body(TOKEN)), Ok(body(spelled)));
    assert_eq!(rig.split(body("plain")), Ok(body("plain")));
}

#[test]
fn what_cannot_be_resolved_is_refused() {
    let body = |token: &str| format!("{{\"d\":{{\"token\":\"{token}\"}}}}");
    let rig = Rig::new(MEDIA);
    assert_eq!(
        rig.split(body(OTHER)),
        Err(Unresolvable::BoundElsewhere.into())
    );
    assert_eq!(
        rig.split(body(NOBODYS)),
        Err(Unresolvable::Unavailable.into())
    );
    assert_eq!(
        rig.split(body(&TOKEN.repeat(RELEASES_MAX + 1))),
        Err(Unresolvable::TooMany.into())
    );
}

#[test]
fn what_is_no_json_is_text_and_takes_nothing() {
    let rig = Rig::new(MEDIA);
    for body in [
        format!("{{\"d\":{{\"token\":\"{TOKEN}\""),
        format!("x{{\"d\":{{\"token\":\"{TOKEN}\"}}}}"),
        format!("[{{\"d\":{{\"token\":\"{TOKEN}\"}}}}]"),
        format!("d[token]={TOKEN}"),
        String::new(),
    ] {
        assert_eq!(rig.split(&body), Ok(body));
    }
    assert_eq!(rig.rewrites(), 0);
}

#[test]
fn escapes_of_a_placeholder_are_seen_in_a_body_that_is_held() {
    let rig = Rig::new(MEDIA);
    let body = format!(
        "{{\"d\":{{\"token\":\"{}\"}}}}",
        TOKEN.replace(':', "\\u003a")
    );
    let out: Value = serde_json::from_str(&rig.split(body).unwrap()).unwrap();
    assert_eq!(out, json!({"d": {"token": SECRET}}));
}

#[test]
fn other_unicodes_are_refused_though_no_charset_says_so() {
    let rig = Rig::new(MEDIA);
    let body = format!("{{\"d\":{{\"token\":\"{TOKEN}\"}}}}");
    let little: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = body.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for body in [&little, &big, &[b"\xff\xfe", little.as_slice()].concat()] {
        assert_eq!(rig.split(body), Err(Refusal::Charset));
    }
}

fn guarded() -> Rig {
    let field = JsonField {
        path: vec!["token".into()],
        guard: Some(Guard {
            member: "type".into(),
            values: vec![crate::policy::binding::GuardValue::Text("auth".into())],
        }),
        limit: None,
    };
    let release = release().surface("TOKEN", b"secret-one", Surface::BodyJson(field));
    Rig::of(release, MEDIA)
}

#[test]
fn a_guard_may_come_last_in_a_body_that_is_held_and_must_come_first_in_one_that_is_not() {
    let body = |first: &str, pad: usize, last: &str| {
        format!("{{{first},\"pad\":\"{}\",{last}}}", "x".repeat(pad))
    };
    let token = format!("\"token\":\"{TOKEN}\"");
    let guard = "\"type\":\"auth\"";
    let secret = token.replace(TOKEN, "secret-one");
    let rig = guarded();
    for pad in [10, HOLD] {
        let guard_first = rig.whole(body(guard, pad, &token));
        assert_eq!(guard_first, Ok(body(guard, pad, &secret)));
    }
    assert_eq!(
        rig.split(body(&token, 10, guard)),
        Ok(body(&secret, 10, guard))
    );
    assert_eq!(
        rig.whole(body(&token, HOLD, guard)),
        Err(Refusal::GuardUnseen)
    );
    let other = "\"type\":\"chat\"";
    for pad in [10, HOLD] {
        let unguarded = body(other, pad, &token);
        assert_eq!(rig.whole(&unguarded), Ok(unguarded));
    }
    let twice = body(&format!("{guard},{token}"), HOLD, other);
    assert_eq!(rig.whole(twice), Err(Refusal::GuardContradicted));
}

#[test]
fn a_long_body_that_took_a_secret_and_ends_badly_is_refused() {
    let rig = Rig::new(MEDIA);
    let pad = "x".repeat(HOLD);
    let body = format!("{{\"d\":{{\"token\":\"{TOKEN}\",\"pad\":\"{pad}\"}}");
    assert_eq!(rig.whole(&body), Err(Refusal::Malformed));
    assert_eq!(rig.whole(body + "]"), Err(Refusal::Malformed));
}

#[test]
fn a_body_of_any_length_is_streamed() {
    let rig = Rig::new(MEDIA);
    let begin = format!("{{\"d\":{{\"token\":\"{TOKEN}\",\"pad\":\"");
    let filler = b"openshell:resolve: and what else there is to say of it.     ";
    stays_small(&rig, &begin, filler, "\"}}", 256 << 20);
    assert_eq!(rig.rewrites(), 1);
}

/// The document with secrets where a reader of all of it would put them.
fn oracle(value: &mut Value, path: &[&str]) {
    let Some((name, rest)) = path.split_first() else {
        if let Value::String(text) = value {
            *text = text.replace(TOKEN, SECRET);
        }
        return;
    };
    if let Value::Object(members) = value
        && let Some(member) = members.get_mut(*name)
    {
        oracle(member, rest);
    }
}

fn documents() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just(TOKEN.to_owned()),
        Just(format!("\"{TOKEN}\\")),
        Just("openshell:resolve:env".to_owned()),
        "[a-z\"\\\\\u{e9}]{0,6}",
    ];
    let leaf = prop_oneof![
        text.prop_map(Value::String),
        any::<i32>().prop_map(|number| json!(number)),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let names = prop_oneof![Just("d".to_owned()), Just("token".to_owned()), "[a-e]{1,2}"];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(names, inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn secrets_stand_where_a_reader_of_the_whole_document_puts_them(
        document in documents(),
        long in any::<bool>(),
        step in 1usize..40,
    ) {
        let mut document = json!({"a": 1, "d": document, "pad": ""});
        if long {
            document["a"] = Value::String("x".repeat(HOLD));
        }
        let body = document.to_string();
        let out = Rig::new(MEDIA).run(body.as_bytes().chunks(step * if long { 1000 } else { 1 }));
        oracle(&mut document, &["d", "token"]);
        let out: Value = serde_json::from_slice(&out.unwrap()).unwrap();
        prop_assert_eq!(out, document);
    }
}

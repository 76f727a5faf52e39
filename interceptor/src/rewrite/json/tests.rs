use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use super::*;
use crate::{policy::binding::Guard, rewrite::trail::DEPTH_MAX};

fn token() -> JsonField {
    field(&["d", "token"], Some(("op", &[2, 6])))
}

fn field(path: &[&str], guard: Option<(&str, &[u64])>) -> JsonField {
    JsonField {
        limit: None,
        path: path.iter().map(|name| (*name).into()).collect(),
        guard: guard.map(|(member, values)| Guard {
            member: member.into(),
            values: values.iter().copied().map(GuardValue::from).collect(),
        }),
    }
}

fn cursor(fields: &[JsonField]) -> Cursor {
    Cursor::new(fields.into())
}

/// The text with `~` for each byte at which the one field stands.
fn marked(field: JsonField, text: &str) -> String {
    let mut cursor = cursor(&[field]);
    let mut marked = String::new();
    for char in text.chars() {
        let here = cursor.fields_here().next().is_some() && char != '"';
        marked.push(if here { '~' } else { char });
        let mut bytes = [0; 4];
        cursor.push(char.encode_utf8(&mut bytes).as_bytes());
    }
    marked
}

fn guard_of(text: &str) -> GuardState {
    let mut cursor = cursor(&[token()]);
    cursor.push(text.as_bytes());
    assert!(!cursor.is_faulty(), "{text}");
    cursor.guard(0)
}

#[test]
fn guard_that_is_text_holds_however_it_is_spelled_and_split() {
    let mut guarded = field(&["token"], None);
    guarded.guard = Some(Guard {
        member: "type".into(),
        values: vec![GuardValue::Text("auth".into()), 7.into()],
    });
    for (text, state) in [
        (r#"{"type":"auth""#, GuardState::Holds),
        (r#"{"type" : "\u0061u\u0074h" "#, GuardState::Holds),
        (r#"{"type":7,"#, GuardState::Holds),
        (r#"{"type":"auth","type":7}"#, GuardState::Holds),
        (r#"{"type":"auth"#, GuardState::Unseen),
        (r#"{"x":{"type":"auth"},"type":"#, GuardState::Unseen),
        (r#"{"x":"auth""#, GuardState::Unseen),
        (r#"{"Type":"auth""#, GuardState::Unseen),
        (r#"{"type":"Auth""#, GuardState::Violated),
        (r#"{"type":"aut""#, GuardState::Violated),
        (
            r#"{"type":"auth_and_more_than_any_value_that_is_asked_for""#,
            GuardState::Violated,
        ),
        (r#"{"type":"auth\"""#, GuardState::Violated),
        (r#"{"type":"""#, GuardState::Violated),
        (r#"{"type":["auth"]"#, GuardState::Violated),
        (r#"{"type":true"#, GuardState::Violated),
        (r#"{"type":"auth","type":"x""#, GuardState::Violated),
        (r#"{"type":"x","type":"auth""#, GuardState::Violated),
        (r#"{"type":"auth","TYPE":"x""#, GuardState::Violated),
    ] {
        for size in 1..=text.len() {
            let mut cursor = cursor(std::slice::from_ref(&guarded));
            for piece in text.as_bytes().chunks(size) {
                cursor.push(piece);
            }
            assert!(!cursor.is_faulty());
            assert_eq!(cursor.guard(0), state, "{text}: {size}");
        }
    }
    let mut cursor = cursor(&[guarded]);
    cursor.push(br#"{"type":"\ud800""#);
    assert!(cursor.is_faulty(), "nobody knows what that says");
}

#[test]
fn field_is_found_only_at_its_path() {
    for (text, expected) in [
        (r#"{"d":{"token":"ab"}}"#, r#"{"d":{"token":"~~"}}"#),
        (
            "{ \"x\" : [1] ,\n\t\"d\" :\r{ \"token\" : \"ab\" } } ",
            "{ \"x\" : [1] ,\n\t\"d\" :\r{ \"token\" : \"~~\" } } ",
        ),
        (
            r#"{"d":{"token":"a","token":"b"},"d":{"token":"c"}}"#,
            r#"{"d":{"token":"~","token":"~"},"d":{"token":"~"}}"#,
        ),
        (
            r#"{"\u0064":{"to\u006ben":"a"}}"#,
            r#"{"\u0064":{"to\u006ben":"~"}}"#,
        ),
    ] {
        assert_eq!(marked(token(), text), expected, "{text}");
    }
    for text in [
        r#"{"token":"a"}"#,
        r#"{"d":"a"}"#,
        r#"{"d":{"x":{"token":"a"}}}"#,
        r#"{"x":{"d":{"token":"a"}}}"#,
        r#"{"x":{"token":"a"},"d":{"y":"token"}}"#,
        r#"{"d":[{"token":"a"}]}"#,
        r#"{"d":{"token":["a"]}}"#,
        r#"{"d":{"token":{"token":"a"}}}"#,
        r#"{"d":{"token":1,"x":"a"}}"#,
        r#"{"d":{"Token":"a","tokens":"b","toke":"c","":"d"}}"#,
        r#"{"d":{"token\u0000":"a"}}"#,
        r#"{"d":{},"token":"a"}"#,
        r#"{"d":[],"token":"a"}"#,
        r#"[{"d":{"token":"a"}}]"#,
        r#""{\"d\":{\"token\":\"a\"}}""#,
        r#"{"x":"{\"d\":{\"token\":\"a\"}}"}"#,
        r#"{"x":"\\","y":"\\\"","z":"\",\"d\":{\"token\":\"a\"}"}"#,
        r#"x{"d":{"token":"a"}}"#,
        r#"{"d":{,"token":"a"}}"#,
        r#"{"d":{"x":1,,"token":"a"}}"#,
        r#"{"d":{"x" 1,"token":"a"}}"#,
        r#"{"d":{'x':1,"token":"a"}}"#,
        r#"{"x":[1},"d":{"token":"a"}}"#,
        r#"{"x":1]"d":{"token":"a"}}"#,
        r#"{}{"d":{"token":"a"}}"#,
        r#"{"d":{"x\q":1,"token":"a"}}"#,
        r#"{"x":"\u00zz","d":{"token":"a"}}"#,
        r#"{/**/"d":{"token":"a"}}"#,
    ] {
        assert_eq!(marked(token(), text), text);
    }
}

#[test]
fn bytes_of_an_escape_are_not_the_field() {
    let text = r#"{"d":{"token":"a\nb\u00e9c\\d"}}"#;
    let expected = r#"{"d":{"token":"~~n~~u00e9~~\~"}}"#;
    assert_eq!(marked(token(), text), expected);
}

#[test]
fn guard_holds_if_every_occurrence_does() {
    use GuardState::{Holds, Unseen, Violated};
    for (text, expected) in [
        (r#"{"op":2}"#, Holds),
        (r#"{"op":6,"#, Holds),
        (r#"{"op" : 2 "#, Holds),
        (r#"{"\u006fp":2}"#, Holds),
        (r#"{"op":2,"op":6}"#, Holds),
        (r#"{"op":2"#, Unseen),
        (r#"{"d":{"op":2}}"#, Unseen),
        (r#"{"x":["op",2]}"#, Unseen),
        (r#"{"OP":2}"#, Unseen),
        (r#"{"op":3}"#, Violated),
        (r#"{"op":22}"#, Violated),
        (r#"{"op":2.0}"#, Violated),
        (r#"{"op":2e0}"#, Violated),
        (r#"{"op":-2}"#, Violated),
        (r#"{"op":02}"#, Violated),
        (r#"{"op":18446744073709551618}"#, Violated),
        (r#"{"op":"2"}"#, Violated),
        (r#"{"op":[2]}"#, Violated),
        (r#"{"op":{"op":2}}"#, Violated),
        (r#"{"op":null,"op":2}"#, Violated),
        (r#"{"op":2,"op":3}"#, Violated),
        (r#"{"op":3,"op":2}"#, Violated),
        (r#"{"op":2,"\u006fp":3}"#, Violated),
        (r#"{"op":2,"Op":3}"#, Violated),
        (r#"{"op":2,"d":{"op":3}}"#, Holds),
    ] {
        assert_eq!(guard_of(text), expected, "{text}");
    }
}

#[test]
fn field_without_a_guard_is_never_in_doubt() {
    let mut cursor = cursor(&[field(&["token"], None)]);
    assert_eq!(cursor.guard(0), GuardState::Holds);
    cursor.push(b"{\"token\":\"");
    assert_eq!(cursor.fields_here().collect::<Vec<_>>(), [0]);
    assert_eq!(cursor.guard(0), GuardState::Holds);
}

#[test]
fn several_fields_are_told_apart() {
    let fields = [
        token(),
        field(&["d", "token"], Some(("t", &[1]))),
        field(&["d"], None),
        field(&["d", "session", "token"], None),
    ];
    let mut cursor = cursor(&fields);
    cursor.push(br#"{"op":2,"t":2,"d":{"token":""#);
    assert_eq!(cursor.fields_here().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(cursor.guard(0), GuardState::Holds);
    assert_eq!(cursor.guard(1), GuardState::Violated);
    cursor.push(br#"a","session":{"token":""#);
    assert_eq!(cursor.fields_here().collect::<Vec<_>>(), [3]);
    cursor.push(br#""}},"d":""#);
    assert_eq!(cursor.fields_here().collect::<Vec<_>>(), [2]);
}

#[test]
fn nesting_is_followed_to_its_bound() {
    let deep = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let mut within = cursor(&[token()]);
    within.push(deep(DEPTH_MAX as usize - 1).as_bytes());
    assert!(within.is_complete());
    let mut beyond = cursor(&[token()]);
    beyond.push(deep(DEPTH_MAX as usize).as_bytes());
    assert!(beyond.is_faulty());
}

#[test]
fn only_a_complete_document_is_complete() {
    for (text, complete) in [
        ("{}", true),
        ("{} \n", true),
        (r#"{"a":[1,-2.5e3,true,false,null,"",{},[]]}"#, true),
        ("", false),
        ("{", false),
        ("{}}", false),
        ("{},", false),
        (r#"{"a":1"#, false),
        (r#"{"a":1,}"#, false),
        (r#"{"a":[1,]}"#, false),
        (r#"{"a"}"#, false),
        (r#"{"a":}"#, false),
        ("[]", false),
        ("2", false),
    ] {
        let mut cursor = cursor(&[token()]);
        cursor.push(text.as_bytes());
        assert_eq!(cursor.is_complete(), complete, "{text}");
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_u64..8).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        r#"[a-c"\\\n/é]{0,6}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof![Just("d"), Just("token"), Just("op"), Just("q\"\\\u{7}")];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name, inner), 0..4).prop_map(|members| {
                let members = members.into_iter();
                Value::Object(
                    members
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn every_document_is_followed_to_its_end(value in json(), pretty: bool) {
        let text = if pretty {
            serde_json::to_string_pretty(&value)
        } else {
            serde_json::to_string(&value)
        };
        let text = text.unwrap();
        let mut whole = cursor(&[token()]);
        whole.push(text.as_bytes());
        prop_assert_eq!(whole.is_complete(), value.is_object(), "{}", text);

        let mut bytewise = cursor(&[token()]);
        let mut found = Vec::new();
        for byte in text.bytes() {
            if byte != b'"' && bytewise.fields_here().next().is_some() {
                found.push(byte);
            }
            bytewise.push(&[byte]);
        }
        prop_assert_eq!(bytewise.guard(0), whole.guard(0));
        let expected = value.pointer("/d/token").and_then(Value::as_str);
        if let Some(plain) = expected.filter(|text| !text.contains(['"', '\\', '\n'])) {
            prop_assert_eq!(String::from_utf8(found).unwrap(), plain);
        } else if expected.is_none() {
            prop_assert!(found.is_empty());
        }
        let op = value.get("op");
        let holds = op.and_then(Value::as_u64).is_some_and(|op| op == 2 || op == 6);
        let guard = match op {
            None => GuardState::Unseen,
            Some(_) if holds => GuardState::Holds,
            Some(_) => GuardState::Violated,
        };
        if value.is_object() {
            prop_assert_eq!(whole.guard(0), guard);
        }
    }

    #[test]
    fn no_input_is_followed_differently_when_it_is_split(text in r#"[\[\]{}",:\\0-9a-f u]{0,40}"#, at in 0_usize..40) {
        let text = format!("{{\"op\":{text}");
        let (head, tail) = text.split_at(at.min(text.len()));
        let mut whole = cursor(&[token()]);
        whole.push(text.as_bytes());
        let mut split = cursor(&[token()]);
        split.push(head.as_bytes());
        split.push(tail.as_bytes());
        prop_assert_eq!(whole.state, split.state);
        prop_assert_eq!(whole.trail.is_outside(), split.trail.is_outside());
        prop_assert_eq!(whole.guard(0), split.guard(0));
    }
}

//! URL-encoded forms: in fields.

use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::*;

const MEDIA: &str = "application/x-www-form-urlencoded";
const SPELLED: &str = "s3%22cr%5C3t%20%26%2B%3D%3C%25%C3%A9";

#[test]
fn only_the_value_of_the_field_takes_the_secret() {
    let encoded = TOKEN.replace(':', "%3a");
    for name in ["to+ken", "to%20ken", "t%6F+%6ben"] {
        let rig = Rig::new(MEDIA);
        let body = |token: &str| {
            format!(
                "{TOKEN}=a&&b&x={encoded}&{name}={token}&token={TOKEN}&{name}=a%zz%&{name}={token}"
            )
        };
        assert_eq!(rig.split(body(TOKEN)), Ok(body(SPELLED)));
        assert_eq!(rig.split(body(&encoded)), Ok(body(SPELLED)));
        assert_eq!(rig.split(body("plain")), Ok(body("plain")));
    }
}

#[test]
fn placeholders_elsewhere_are_counted_also_percent_encoded() {
    let encoded = TOKEN.replace("e", "%65");
    let rig = Rig::new(MEDIA);
    rig.whole(format!("{encoded}={TOKEN}&x={encoded}&x=%"))
        .unwrap();
    assert_eq!(rig.stats.placeholders_passed(), 3);
}

#[test]
fn what_cannot_be_resolved_in_a_bound_field_is_refused() {
    let rig = Rig::new(MEDIA);
    let body = |token: &str| format!("a=b&to+ken={token}&c");
    for (token, why) in [
        (OTHER.to_owned(), Unresolvable::BoundElsewhere),
        (NOBODYS.to_owned(), Unresolvable::Unavailable),
        (format!("x+{TOKEN}"), Unresolvable::Misplaced),
        (format!("{TOKEN};x=y"), Unresolvable::Misplaced),
        (TOKEN.repeat(RELEASES_MAX + 1), Unresolvable::TooMany),
    ] {
        assert_eq!(rig.split(body(&token)), Err(why.into()), "{token}");
    }
    // Longer than any that is looked at as a whole.
    let pad = "x".repeat(20_000);
    let long = body(&format!("{pad}{TOKEN}"));
    assert_eq!(rig.whole(long), Err(Unresolvable::Misplaced.into()));
    let long = body(&pad);
    assert_eq!(rig.whole(&long), Ok(long));
}

#[test]
fn a_form_of_any_length_is_streamed() {
    let rig = Rig::new(MEDIA);
    let begin = format!("to+ken={TOKEN}&a=");
    stays_small(&rig, &begin, b"openshell%3Aresolve%", "&b", 64 << 20);
    stays_small(&rig, "", b"aaaaaaaaaaaaaaa&", "", 1 << 20);
    stays_small(&rig, "to+ken=", b"aaaaaaaaaaaaaaaa", "", 1 << 20);
    stays_small(&rig, "", b"aaaaaaaaaaaaaaaa", "=b", 1 << 20);
    assert_eq!(rig.rewrites(), 1);
}

/// As a server reads it.
fn parse(form: &str) -> Vec<(String, String)> {
    let read = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pairs = form.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (read(name), read(value))
        })
        .collect()
}

proptest! {
    #[test]
    fn a_server_reads_secrets_in_the_bound_field_and_all_else_as_it_was(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "to+ken", "to%20ken", "=", "&", "a", "+", "%4", "%", "openshell:resolve:env:TOKEN",
            "openshell%3Aresolve%3Aenv%3ATOKEN", "openshell:resolve", "%C3%A9",
        ]), 0..16),
        step in 1usize..12,
    ) {
        let body = words.concat();
        let rig = Rig::new(MEDIA);
        let out = rig.run(body.as_bytes().chunks(step));
        let mut expected = parse(&body);
        let mut misplaced = false;
        for (name, value) in &mut expected {
            if name == "to ken" && value.contains(TOKEN) {
                misplaced |= !value.replace(TOKEN, "").is_empty();
                *value = value.replace(TOKEN, SECRET);
            }
        }
        match out {
            Ok(out) => {
                prop_assert!(!misplaced);
                prop_assert_eq!(parse(std::str::from_utf8(&out).unwrap()), expected);
            }
            Err(Refusal::Unresolvable(Unresolvable::Misplaced)) => prop_assert!(misplaced),
            // `TOKEN` and letters behind it are another secret's name.
            Err(refusal) => prop_assert_eq!(refusal, Unresolvable::Unavailable.into()),
        }
    }
}

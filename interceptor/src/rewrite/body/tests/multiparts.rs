//! Multipart forms: in parts.

use proptest::prelude::*;

use super::*;

const MEDIA: &str = "multipart/form-data; boundary=\"=_b'1\"";
const BOUNDARY: &str = "=_b'1";

fn part(name: &str, content: &str) -> String {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
}

fn form(parts: &[(&str, &str)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(name, content)| part(name, content))
        .collect();
    format!("{parts}--{BOUNDARY}--\r\n")
}

#[test]
fn only_the_content_of_the_field_takes_the_secret() {
    let rig = Rig::new(MEDIA);
    let body = |token: &str| {
        let file = format!(
            "--{BOUNDARY} \t\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; filename=\"a {TOKEN}\"; \
             name=file\r\n\r\n\r\n-- {TOKEN}\r\n--\r\n\r\n"
        );
        let parts = [
            ("a", TOKEN),
            ("token", token),
            ("Token", TOKEN),
            ("token", &format!("\r\n\r\n--{token}\r\n--{token}\n")),
        ];
        format!("\r\n{file}{}{TOKEN}", form(&parts))
    };
    assert_eq!(rig.split(body(TOKEN)), Ok(body(SECRET)));
    assert_eq!(rig.split(body("plain")), Ok(body("plain")));
}

#[test]
fn a_part_with_a_file_takes_the_secret_if_it_is_the_one_that_is_named() {
    let rig = Rig::new(MEDIA);
    let body = |token: &str| {
        format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"token\"; filename=\"blob\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n{token}\r\n--{BOUNDARY}--\r\n"
        )
    };
    assert_eq!(rig.split(body(TOKEN)), Ok(body(SECRET)));
}

#[test]
fn what_cannot_be_resolved_in_a_bound_field_is_refused() {
    let rig = Rig::new(MEDIA);
    for (token, why) in [
        (OTHER, Unresolvable::BoundElsewhere),
        (NOBODYS, Unresolvable::Unavailable),
        (&TOKEN.repeat(RELEASES_MAX + 1), Unresolvable::TooMany),
    ] {
        assert_eq!(
            rig.split(form(&[("token", token)])),
            Err(why.into()),
            "{token}"
        );
    }
    let breaking = format!("x--{BOUNDARY}--y");
    let release = release().multipart("TOKEN", breaking.as_bytes(), "token");
    let rig = Rig::of(release, MEDIA);
    let why = Unresolvable::Unavailable;
    assert_eq!(rig.split(form(&[("token", TOKEN)])), Err(why.into()));
}

#[test]
fn from_where_a_form_is_in_doubt_no_place_is_bound() {
    let rig = Rig::new(MEDIA);
    let bound = form(&[("token", TOKEN)]);
    for body in [
        format!("preamble\r\n{bound}"),
        format!("\r\n\r\n{bound}"),
        bound.replace("\r\n", "\n"),
        format!("--{BOUNDARY}x\r\n{bound}"),
        format!("--{BOUNDARY}\n{bound}"),
        part("a", &format!("b\n--{BOUNDARY}")) + &bound,
        part("a", &format!("b --{BOUNDARY}")) + &bound,
        part("a", &format!("b\r\n--{BOUNDARY}2")) + &bound,
        part(&"a".repeat(9000), "b") + &bound,
        format!("--{BOUNDARY}{}\r\n{bound}", " ".repeat(300)),
        format!("--{BOUNDARY}--\r\n{bound}"),
        bound.replace("; name", "; x=y; x=z; name"),
    ] {
        assert_eq!(rig.split(&body), Ok(body));
    }
    for media in [
        "multipart/form-data",
        "multipart/form-data; boundary=\"a;b\"",
    ] {
        let rig = Rig::new(media);
        assert_eq!(rig.split(&bound), Ok(bound.clone()), "{media}");
    }
    assert_eq!(rig.rewrites(), 0);
}

#[test]
fn a_form_that_took_a_secret_and_turns_out_in_doubt_is_refused() {
    let rig = Rig::new(MEDIA);
    let bound = part("token", TOKEN);
    for rest in [
        String::new(),
        format!("--{BOUNDARY}"),
        format!("--{BOUNDARY}-"),
        format!("--{BOUNDARY}x"),
        part("a", "b"),
        part("a", &format!("b\n--{BOUNDARY}")) + &form(&[]),
    ] {
        assert_eq!(
            rig.split(format!("{bound}{rest}")),
            Err(Refusal::Malformed),
            "{rest}"
        );
    }
    // Two servers end this field at two places.
    let torn = form(&[("token", &format!("{TOKEN}\n--{BOUNDARY}\r\n"))]);
    assert_eq!(rig.split(torn), Err(Refusal::Malformed));
}

#[test]
fn a_form_of_any_length_is_streamed() {
    let rig = Rig::new(MEDIA);
    let begin = part("token", TOKEN) + part("file", "").trim_end();
    let begin = format!("{begin}\r\n\r\n");
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    stays_small(
        &rig,
        &begin,
        b"\r\n--=_b'openshell:resolve:env:\r\n",
        &end,
        64 << 20,
    );
    assert_eq!(rig.rewrites(), 1);
}

/// A simple reader of forms that are in no doubt.
fn parse(body: &str) -> Vec<(String, String)> {
    let body = format!("\r\n{body}");
    let delimiter = format!("\r\n--{BOUNDARY}");
    let mut parts = body.split(delimiter.as_str()).skip(1);
    let read = parts.by_ref().take_while(|part| *part != "--\r\n");
    read.map(|part| {
        let (head, content) = part.split_once("\r\n\r\n").unwrap();
        let name = head.split('"').nth(1).unwrap();
        (name.to_owned(), content.to_owned())
    })
    .collect()
}

proptest! {
    #[test]
    fn a_server_reads_secrets_in_the_bound_field_and_all_else_as_it_was(
        parts in proptest::collection::vec((
            proptest::sample::select(vec!["token", "text", "tokens"]),
            proptest::collection::vec(proptest::sample::select(vec![
                TOKEN, "openshell:", "\r\n", "--", "\r\n--=_b'", "\r", "\n", "x", " ", "=_b'1",
            ]), 0..6).prop_map(|words| words.concat()).prop_filter("no boundary", |text| !text.contains("--=_b'1")),
        ), 0..5),
        step in 1usize..30,
    ) {
        // Behind a placeholder, letters are another secret's name.
        let parts: Vec<_> = parts.iter().map(|(name, text)| (*name, text.replace("TOKENx", "TOKEN x").replace("TOKENopen", "TOKEN open"))).collect();
        let parts: Vec<_> = parts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let body = form(&parts);
        let out = Rig::new(MEDIA).run(body.as_bytes().chunks(step)).unwrap();
        let expected: Vec<_> = parts.iter().map(|(name, text)| {
            let text = if *name == "token" { text.replace(TOKEN, SECRET) } else { (*text).to_owned() };
            ((*name).to_owned(), text)
        }).collect();
        prop_assert_eq!(parse(std::str::from_utf8(&out).unwrap()), expected);
    }
}

//! Text: anywhere, or nowhere.

use super::*;

#[test]
fn a_placeholder_anywhere_becomes_the_secret_in_the_spelling_of_its_type() {
    for (media, spelled) in [
        ("text/plain", SECRET.to_owned()),
        (
            "application/xml",
            "s3&#34;cr\\3t &amp;+=&lt;%\u{e9}".to_owned(),
        ),
        (
            "application/x-ndjson",
            "s3\\\"cr\\\\3t &+=<%\u{e9}".to_owned(),
        ),
    ] {
        let rig = Rig::new(media);
        let body = |token: &str| format!("a {token}, {token}\nb");
        assert_eq!(rig.split(body(TOKEN)), Ok(body(&spelled)), "{media}");
    }
}

#[test]
fn what_cannot_be_resolved_is_refused() {
    let rig = Rig::new("text/plain");
    assert_eq!(rig.split(OTHER), Err(Unresolvable::BoundElsewhere.into()));
    assert_eq!(rig.split(NOBODYS), Err(Unresolvable::Unavailable.into()));
    assert_eq!(
        rig.split("openshell:resolve:env:"),
        Ok("openshell:resolve:env:".into())
    );
}

#[test]
fn a_text_of_any_length_is_streamed() {
    let rig = Rig::new("text/plain");
    let given = stays_small(
        &rig,
        &format!("{TOKEN} "),
        b"openshell:resolve:",
        TOKEN,
        64 << 20,
    );
    let piece = 16 * 1024 / 18 * 18;
    let filler = (64 << 20) / piece * piece;
    assert_eq!(given, (filler + 1 + 2 * SECRET.len()) as u64);
}

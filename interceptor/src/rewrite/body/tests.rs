mod forms;
mod jsons;
mod multiparts;
mod texts;

use super::*;
use crate::{
    policy::binding::Unbound,
    rewrite::release::builder::{Builder, release},
};

pub(super) const TOKEN: &str = "openshell:resolve:env:TOKEN";
pub(super) const OTHER: &str = "openshell:resolve:env:OTHER";
pub(super) const NOBODYS: &str = "openshell:resolve:env:NOBODYS";
/// In need of an encoding wherever it stands.
pub(super) const SECRET: &str = "s3\"cr\\3t &+=<%\u{e9}";

/// The secret `TOKEN` at a place of each kind.
pub(super) fn everywhere() -> Builder {
    release()
        .json_body("TOKEN", SECRET.as_bytes(), "d/token")
        .form("TOKEN", SECRET.as_bytes(), "to ken")
        .multipart("TOKEN", SECRET.as_bytes(), "token")
        .text("TOKEN", SECRET.as_bytes(), "text/plain")
        .text("TOKEN", SECRET.as_bytes(), "application/xml")
        .text("TOKEN", SECRET.as_bytes(), "application/x-ndjson")
        .elsewhere("OTHER")
}

pub(super) struct Rig {
    release: Arc<Release>,
    pub(super) stats: Arc<Connection>,
    fields: Vec<(&'static str, String)>,
}

impl Rig {
    pub(super) fn new(media: &str) -> Self {
        Self::of(everywhere(), media)
    }

    pub(super) fn of(release: Builder, media: &str) -> Self {
        Self {
            release: Arc::new(release.build()),
            stats: Arc::default(),
            fields: vec![("Content-Type", media.to_owned())],
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    pub(super) fn rewriter(&self) -> Result<Option<Rewriter>, Refusal> {
        let fields = self.fields.iter();
        let fields = fields.map(|(name, value)| (*name, value.as_bytes()));
        Rewriter::for_request(&self.release, fields, 0, &self.stats)
    }

    /// What becomes of a body that comes in these pieces.
    pub(super) fn run<'p>(
        &self,
        pieces: impl IntoIterator<Item = &'p [u8]>,
    ) -> Result<Vec<u8>, Refusal> {
        let mut rewriter = self.rewriter()?.expect("a body to be read");
        let mut out = Zeroizing::new(Vec::new());
        for piece in pieces {
            rewriter.push(piece, &mut out)?;
        }
        rewriter.finish(&mut out)?;
        Ok(out.to_vec())
    }

    pub(super) fn whole(&self, body: impl AsRef<[u8]>) -> Result<String, Refusal> {
        let out = self.run([body.as_ref()]);
        out.map(|out| String::from_utf8(out).unwrap())
    }

    /// The same, after a look at every way to split the body in two, and at single bytes.
    pub(super) fn split(&self, body: impl AsRef<[u8]>) -> Result<String, Refusal> {
        let body = body.as_ref();
        let whole = self.whole(body);
        let expected = whole.clone().map(String::into_bytes);
        for split in 0..=body.len() {
            let (head, tail) = body.split_at(split);
            assert_eq!(self.run([head, tail]), expected, "split at {split}");
        }
        assert_eq!(self.run(body.chunks(1)), expected, "byte by byte");
        whole
    }

    pub(super) fn rewrites(&self) -> u64 {
        self.stats.facts().rewrites.values().sum()
    }
}

/// Pushes `size` bytes of `filler` between `begin` and `end`, and bounds what is held meanwhile.
pub(super) fn stays_small(rig: &Rig, begin: &str, filler: &[u8], end: &str, size: usize) -> u64 {
    let mut rewriter = rig.rewriter().unwrap().unwrap();
    let mut out = Zeroizing::new(Vec::with_capacity(HOLD));
    let mut given = 0;
    let mut push = |rewriter: &mut Rewriter, piece: &[u8]| {
        rewriter.push(piece, &mut out).unwrap();
        given += out.len() as u64;
        out.clear();
        assert!(
            out.capacity() <= 4 * HOLD,
            "{} bytes of room",
            out.capacity()
        );
        assert!(
            rewriter.buffered() <= 2 * HOLD,
            "{} bytes held",
            rewriter.buffered()
        );
    };
    push(&mut rewriter, begin.as_bytes());
    let piece = filler.repeat(16 * 1024 / filler.len());
    for _ in 0..size / piece.len() {
        push(&mut rewriter, &piece);
    }
    push(&mut rewriter, end.as_bytes());
    rewriter.finish(&mut out).unwrap();
    given + out.len() as u64
}

#[test]
fn a_body_is_read_only_where_something_is_bound_in_its_kind() {
    let json = || release().json_body("TOKEN", b"secret-one", "token");
    let form = || release().form("TOKEN", b"secret-one", "token");
    for (release, media, read) in [
        (json(), "application/json", true),
        (json(), "Application/Problem+JSON; charset=utf-8", true),
        (json(), "application/x-www-form-urlencoded", false),
        (json(), "text/plain", false),
        (json(), "multipart/form-data; boundary=x", false),
        (json(), "application/octet-stream", false),
        (form(), "application/x-www-form-urlencoded", true),
        (form(), "application/json", false),
        (everywhere(), "text/plain;charset=UTF-8", true),
        (everywhere(), "text/css", false),
        (release(), "application/json", false),
        (
            release().header("TOKEN", b"secret-one", &["x"]),
            "application/json",
            false,
        ),
    ] {
        let rig = Rig::of(release, media);
        assert_eq!(rig.rewriter().unwrap().is_some(), read, "{media}");
    }
}

#[test]
fn other_textual_bodies_are_searched_where_the_policy_minds() {
    for (media, searched) in [
        ("application/json", true),
        ("application/x-www-form-urlencoded", true),
        ("multipart/form-data; boundary=x", true),
        ("text/css", true),
        ("image/svg+xml", true),
        ("image/png", false),
        ("application/octet-stream", false),
    ] {
        for unbound in [Unbound::Record, Unbound::Refuse] {
            let rig = Rig::of(release().elsewhere("TOKEN").unbound(unbound), media);
            let rewriter = rig.rewriter().unwrap();
            assert_eq!(rewriter.is_some(), searched, "{media}");
            let Some(rewriter) = rewriter else {
                continue;
            };
            assert!(rewriter.keeps_length());
            let body = format!("x {TOKEN} y");
            let expected = match unbound {
                Unbound::Refuse => Err(Refusal::Unbound),
                Unbound::Pass | Unbound::Record => Ok(body.clone()),
            };
            assert_eq!(rig.split(&body), expected, "{media}");
            assert!(
                rig.with("content-encoding", "gzip")
                    .rewriter()
                    .unwrap()
                    .is_none()
            );
        }
    }
}

#[test]
fn a_body_in_which_nothing_can_be_found_is_refused_by_name() {
    for (media, encoding, refusal) in [
        ("application/json", "gzip", Some(Refusal::Encoded)),
        ("application/json", "identity", None),
        (
            "application/json; charset=utf-16",
            "",
            Some(Refusal::Charset),
        ),
        ("text/plain; charset=shift_jis", "", Some(Refusal::Charset)),
        ("text/css; charset=utf-16", "gzip", None),
        (
            "application/x-www-form-urlencoded; charset=US-ASCII",
            "",
            None,
        ),
    ] {
        let rig = Rig::new(media).with("Content-Encoding", encoding);
        assert_eq!(rig.rewriter().err(), refusal, "{media} {encoding}");
    }
}

#[test]
fn a_signed_body_passes_as_it_is_or_not_at_all() {
    let kinds = [
        (
            "application/json",
            "{\"d\":{\"token\":\"@\"},\"x\":\"\\u0041\"}",
        ),
        ("application/x-www-form-urlencoded", "to+ken=@&b=%41"),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=token\r\n\r\n@\r\n--x--\r\n",
        ),
        ("text/plain", "a @ b"),
    ];
    for (media, body) in kinds {
        for (name, value, refusal) in [
            ("Content-MD5", "x", Refusal::Signed),
            ("Content-Range", "bytes 0-1/2", Refusal::Ranged),
        ] {
            let rig = Rig::new(media).with(name, value);
            assert!(rig.rewriter().unwrap().unwrap().keeps_length());
            let clean = body.replace('@', "plain");
            assert_eq!(rig.split(&clean), Ok(clean));
            assert_eq!(rig.split(body.replace('@', TOKEN)), Err(refusal), "{media}");
        }
    }
}

#[test]
fn a_request_takes_a_bounded_number_of_secrets_head_and_body_together() {
    let rig = Rig::new("text/plain");
    let body = TOKEN.repeat(3);
    for (used, refused) in [(RELEASES_MAX - 3, false), (RELEASES_MAX - 2, true)] {
        let fields = [("content-type", &b"text/plain"[..])].into_iter();
        let rewriter = Rewriter::for_request(&rig.release, fields, used, &rig.stats);
        let mut rewriter = rewriter.unwrap().unwrap();
        let mut out = Zeroizing::new(Vec::new());
        let pushed = rewriter.push(body.as_bytes(), &mut out);
        let result = pushed.and_then(|()| rewriter.finish(&mut out));
        let expected = if refused {
            Err(Unresolvable::TooMany.into())
        } else {
            Ok(())
        };
        assert_eq!(result, expected, "{used} used before");
    }
}

#[test]
fn what_is_written_is_known_to_come_back() {
    for (media, body) in [
        (
            "application/json",
            format!("{{\"d\":{{\"token\":\"{TOKEN}\"}}}}"),
        ),
        (
            "application/x-www-form-urlencoded",
            format!("to%20ken={TOKEN}"),
        ),
        ("text/plain", TOKEN.to_owned()),
    ] {
        let rig = Rig::new(media);
        assert!(rig.release.reflection().patterns().is_none());
        rig.whole(body).unwrap();
        assert!(rig.release.reflection().patterns().is_some(), "{media}");
    }
}

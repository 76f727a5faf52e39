use proptest::prelude::*;

use super::{Change, Facts, Length, ResponseFilter, Stop};
use crate::{
    rewrite::reflection::{
        Fill,
        oracle::{SECRETS, oracle, patterns, placeholder},
    },
    stats::connection::Connection,
};

pub(in crate::http) mod encoders;
mod heads;
mod inflating;
mod streams;

use self::encoders::{decode, encode, encode_flushed};

/// What became of a body.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    change: Change,
    body: Vec<u8>,
    count: u64,
    unread: bool,
}

const JSON: Facts<'_> = Facts {
    status: 200,
    media_type: Some(b"application/json; charset=utf-8"),
    length: None,
};

const EVENTS: Facts<'_> = Facts {
    media_type: Some(b"text/event-stream"),
    ..JSON
};

fn sized(body: &[u8]) -> Facts<'static> {
    Facts {
        length: Some(body.len() as u64),
        ..JSON
    }
}

/// A carrier that writes nothing anywhere. `rests`: the sender pauses after each piece.
fn carry<'p>(
    facts: Facts<'_>,
    encoding: &str,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    rests: bool,
) -> Result<Seen, Stop> {
    let mut carrier = Carrier::new(facts, encoding);
    for piece in pieces {
        carrier.push(piece)?;
        while rests && carrier.rest()? {}
    }
    carrier.finish()
}

struct Carrier {
    filter: ResponseFilter,
    out: Vec<u8>,
    stats: Connection,
}

impl Carrier {
    fn new(facts: Facts<'_>, encoding: &str) -> Self {
        let name = encoders::name(encoding);
        let encodings = (!name.is_empty()).then_some(name.as_bytes());
        Self {
            filter: ResponseFilter::new(&patterns(), facts, encodings.into_iter()),
            out: Vec::new(),
            stats: Connection::default(),
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), Stop> {
        self.filter.push(piece, &mut self.out)?;
        self.catch_up(false)
    }

    /// Whether there was something to wait for.
    fn rest(&mut self) -> Result<bool, Stop> {
        let rests = self.filter.patience().is_some();
        if rests {
            self.filter.rest(&mut self.out)?;
            self.catch_up(false)?;
        }
        Ok(rests)
    }

    fn catch_up(&mut self, complete: bool) -> Result<(), Stop> {
        while !self.filter.step(complete, &mut self.out, &self.stats)? {}
        assert!(!self.filter.holds() || self.out.is_empty());
        Ok(())
    }

    fn finish(mut self) -> Result<Seen, Stop> {
        self.catch_up(true)?;
        assert!(!self.filter.holds());
        Ok(Seen {
            change: self.filter.change(),
            body: self.out,
            count: self.stats.redactions(),
            unread: self.stats.opaque_messages() > 0,
        })
    }
}

/// The text that the client makes of what it gets.
fn read(seen: &Seen, encoding: &str) -> Vec<u8> {
    if seen.change.decoded {
        seen.body.clone()
    } else {
        decode(encoding, &seen.body)
    }
}

fn words() -> impl Strategy<Value = Vec<&'static str>> {
    let word = prop_oneof![
        Just("secret-one"),
        Just("secret-one-longer"),
        Just("secret"),
        Just("-one"),
        Just("ab"),
        Just("a\\\"quo/te+é\\\\"),
        Just("c2VjcmV0LW9uZQ"),
        Just("x"),
        Just("some text that comes again and again, "),
    ];
    proptest::collection::vec(word, 0..40)
}

const CLEAN: &[u8] =
    b"{\"hello\":\"world\",\"again\":\"hello world, hello world, secret secrets\"}";

fn with_secret() -> Vec<u8> {
    format!(
        "{{\"token\":\"{}\",\"and\":\"{}\"}}",
        SECRETS[0], SECRETS[1]
    )
    .into_bytes()
}

#[test]
fn clean_bodies_pass_as_they_came_at_every_split() {
    for encoding in encoders::ALL {
        let body = encode(encoding, CLEAN);
        for facts in [JSON, EVENTS, sized(&body)] {
            for at in 0..=body.len() {
                let (before, after) = body.split_at(at);
                for rests in [false, true] {
                    let seen = carry(facts, encoding, [before, after], rests).unwrap();
                    let expected = Seen {
                        change: Change::default(),
                        body: body.clone(),
                        count: 0,
                        unread: false,
                    };
                    assert_eq!(seen, expected, "{encoding} {at} {rests}");
                }
            }
        }
    }
}

#[test]
fn a_secret_in_a_short_body_takes_its_coding_away_and_its_length_stays_right() {
    let text = with_secret();
    let expected = oracle(&text, Fill::Free);
    for encoding in encoders::ALL {
        let body = encode(encoding, &text);
        for at in 0..=body.len() {
            let (before, after) = body.split_at(at);
            let seen = carry(sized(&body), encoding, [before, after], false).unwrap();
            assert_eq!(seen.body, expected, "{encoding} {at}");
            assert_eq!(seen.change.length, Length::Exact(expected.len() as u64));
            assert_eq!(seen.change.decoded, !encoding.is_empty());
            assert_eq!(seen.count, 2);
        }
    }
}

#[test]
fn a_plain_body_that_has_begun_to_go_keeps_its_length() {
    let text = with_secret();
    for at in 0..=text.len() {
        let (before, after) = text.split_at(at);
        let seen = carry(sized(&text), "", [before, after], true).unwrap();
        if at == text.len() {
            continue;
        }
        assert_eq!(seen.change, Change::default(), "{at}");
        assert_eq!(seen.body.len(), text.len(), "{at}");
        assert!(!patterns().concern(&seen.body), "{at}");
    }
}

#[test]
fn a_plain_body_without_a_length_takes_the_placeholder() {
    let text = with_secret();
    for size in 1..=text.len() {
        let seen = carry(JSON, "", text.chunks(size), false).unwrap();
        assert_eq!(seen.body, oracle(&text, Fill::Free), "{size}");
        assert_eq!((seen.change, seen.count), (Change::default(), 2));
    }
}

#[test]
fn formats_that_count_their_bytes_keep_their_lengths() {
    let text = with_secret();
    let expected = oracle(&text, Fill::Same);
    let grpc = Facts {
        media_type: Some(b"application/grpc"),
        ..JSON
    };
    let nothing = Facts {
        media_type: None,
        ..JSON
    };
    let part = Facts {
        status: 206,
        ..sized(&text)
    };
    for facts in [grpc, nothing, part] {
        let seen = carry(facts, "", text.chunks(7), false).unwrap();
        assert_eq!(
            (seen.change, seen.body),
            (Change::default(), expected.clone())
        );
    }
}

#[test]
fn what_cannot_be_read_passes_and_is_counted() {
    let text = with_secret();
    let damaged = [&encode("gzip", CLEAN)[..10], &[0xff; 20]].concat();
    let part = Facts {
        status: 206,
        ..JSON
    };
    let cases: [(Facts<'_>, &str, &[u8]); 5] = [
        (JSON, "compress", &text),
        (JSON, "gzip", &text),
        (JSON, "zstd", &text),
        (JSON, "gzip", &damaged),
        (part, "gzip", &encode("gzip", &text)),
    ];
    for (facts, encoding, body) in cases {
        for size in [1, 5, 1000] {
            let seen = carry(facts, encoding, body.chunks(size), false).unwrap();
            assert_eq!(seen.body, body, "{encoding} {size}");
            assert!(seen.unread && seen.count == 0, "{encoding} {size}");
        }
    }
}

#[test]
fn a_secret_before_damage_is_seen() {
    for encoding in ["gzip", "deflate", "raw deflate", "br", "zstd", "gzip, br"] {
        let body = [&encode(encoding, &with_secret()), &[0xff; 40][..]].concat();
        for size in [1, 7, 1000] {
            let seen = carry(sized(&body), encoding, body.chunks(size), false);
            assert_eq!(seen, Err(Stop::Torn), "{encoding} {size}");
        }
        let clean = [&encode(encoding, CLEAN), &[0xff; 40][..]].concat();
        let seen = carry(sized(&clean), encoding, [&clean[..]], false).unwrap();
        assert!(seen.body == clean && seen.unread, "{encoding}");
    }
}

#[test]
fn what_was_cut_off_does_not_end_well_if_it_was_changed() {
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let (first, second) = (with_secret(), CLEAN.repeat(20));
        let body = encode_flushed(encoding, &[&first, &second]);
        let cut = &body[..body.len() - 9];
        let seen = carry(JSON, encoding, [cut], false);
        assert_eq!(seen, Err(Stop::Torn), "{encoding}");
        // Clean, it ends as it did.
        let body = encode(encoding, &second);
        let cut = &body[..body.len() - 9];
        let seen = carry(JSON, encoding, [cut], false).unwrap();
        assert_eq!(seen.body, cut, "{encoding}");
    }
}

proptest! {
    /// Whatever the body is made of and however it comes, its reader sees the text with placeholders in it.
    #[test]
    fn filter_does_what_the_oracle_does(
        texts in proptest::collection::vec(words(), 1..4),
        encoding in proptest::sample::select(&encoders::SEAMED[..]),
        size in 1usize..60,
        live: bool,
    ) {
        let texts: Vec<Vec<u8>> = texts.iter().map(|words| words.concat().into_bytes()).collect();
        let body = encode_flushed(encoding, &texts);
        let facts = if live { EVENTS } else { JSON };
        let seen = carry(facts, encoding, body.chunks(size), false).unwrap();
        let text = texts.concat();
        let fill = if encoding == "sized zstd" { Fill::Same } else { Fill::Free };
        prop_assert_eq!(read(&seen, encoding), oracle(&text, fill));
        if !patterns().concern(&text) {
            prop_assert_eq!(seen.body, body);
        }
    }

    /// With pauses anywhere, no secret comes through, nor is anything of the rest lost.
    #[test]
    fn pauses_let_no_secret_through(
        texts in proptest::collection::vec(words(), 1..4),
        encoding in proptest::sample::select(&encoders::ALL[..]),
        size in 1usize..60,
        live: bool,
    ) {
        let texts: Vec<Vec<u8>> = texts.iter().map(|words| words.concat().into_bytes()).collect();
        let body = encode_flushed(encoding, &texts);
        let facts = if live { EVENTS } else { JSON };
        // Where it is cut, nothing is seen of it.
        if let Ok(seen) = carry(facts, encoding, body.chunks(size), true) {
            prop_assert!(!patterns().concern(&read(&seen, encoding)));
            if seen.count == 0 {
                prop_assert_eq!(seen.body, body);
            }
        }
    }
}

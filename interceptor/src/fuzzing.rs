//! Bodies of the fuzz targets in `interceptor/fuzz`; the tests here run them over random input.

#![allow(clippy::panic, reason = "only tests and fuzzers are built with it")]

use crate::{
    http::h2,
    rewrite::{
        binary, body,
        matcher::oracle::{collect, oracle},
        reflection::{self, Fill},
    },
    websocket::{
        echo::{self, Said},
        script::{self, Form, PLACEHOLDER, Sent, Takeover, Timing, check},
    },
};

/// Cuts a text into placeholders, whole and in pieces, and compares with an oracle.
///
/// # Panics
/// They differ.
pub fn matcher(data: &[u8]) {
    let Some((&size, words)) = data.split_first() else {
        return;
    };
    let text = spell(words);
    let expected = oracle(&text);
    assert_eq!(collect([text.as_slice()]), expected, "whole");
    let size = usize::from(size % 64) + 1;
    assert_eq!(collect(text.chunks(size)), expected, "in pieces of {size}");
}

/// Puts secrets into a binary message: one of values that the bytes choose, or any bytes.
///
/// # Panics
/// What comes out differs from an oracle.
pub fn binary(data: &[u8]) {
    binary::oracle::check(data);
}

/// Sends frames through the rewriter: a script, any bytes, or a message of any compressed bytes.
///
/// # Panics
/// What comes out depends on how it was split, or differs from an oracle.
pub fn frames(data: &[u8]) {
    let Some(([kind, read, write, rests], rest)) = data.split_first_chunk() else {
        return;
    };
    let timing = Timing {
        reads: vec![usize::from(*read), usize::from(read.rotate_left(3)) * 64],
        write: usize::from(*write) + 1,
        rests: (0..8).map(|bit| rests & (1 << bit) != 0).collect(),
    };
    match kind % 4 {
        0 => check(&read_script(rest), &timing, Takeover::None),
        2 => check(
            &read_script(rest),
            &timing,
            Takeover::Kept(8 + (kind >> 2) % 8),
        ),
        1 => check_bytes(rest, timing),
        _ => check_bytes(&script::compressed(rest), timing),
    }
}

/// Looks for the frames in a stream of HTTP/2: of kinds and lengths that the bytes choose.
///
/// # Panics
/// Others are found than were written.
pub fn http2(data: &[u8]) {
    if let Some(([size, of_client], script)) = data.split_first_chunk() {
        h2::frames::oracle::check(script, usize::from(*size), of_client % 2 == 1);
    }
}

/// Has secrets come back, in a text and in a server's messages, and compares what is left with an oracle.
///
/// # Panics
/// They differ.
pub fn reflection(data: &[u8]) {
    let Some(([kind, read, write, rests], rest)) = data.split_first_chunk() else {
        return;
    };
    if kind % 3 > 0 {
        let timing = Timing {
            reads: vec![usize::from(*read), usize::from(read.rotate_left(3)) * 64],
            write: usize::from(*write) + 1,
            rests: (0..8).map(|bit| rests & (1 << bit) != 0).collect(),
        };
        return echo::check(&read_answers(rest), &timing);
    }
    let text = echoes(rest);
    let size = usize::from(read % 64) + 1;
    for fill in [Fill::Free, Fill::Same] {
        let expected = reflection::oracle::oracle(&text, fill);
        let whole = reflection::oracle::redact([text.as_slice()], fill);
        assert_eq!(whole, expected, "whole");
        let pieces = reflection::oracle::redact(text.chunks(size), fill);
        assert_eq!(pieces, expected, "in pieces of {size}");
    }
}

/// Puts secrets into a request's body: one of words that the bytes choose, or any bytes.
///
/// # Panics
/// What comes out depends on how it was split, or a body without placeholders is not what it was.
pub fn bodies(data: &[u8]) {
    let Some(([kind, size], rest)) = data.split_first_chunk() else {
        return;
    };
    let body = if kind & 0x80 == 0 {
        let words = rest.iter().map(|byte| pick(&BODIES, *byte).as_bytes());
        words.collect::<Vec<_>>().concat()
    } else {
        rest.to_vec()
    };
    body::oracle::check(usize::from(*kind), &body, usize::from(*size) + 1);
}

/// Makes a server's script of any bytes.
fn read_answers(bytes: &[u8]) -> Vec<Said> {
    let read = |piece: &[u8]| match piece {
        [0..32, size, ..] => Said::Ping(vec![b'p'; usize::from(size % 126)]),
        [kind, repeat, cut, words @ ..] => {
            let text = echoes(words).repeat(usize::from(*repeat).pow(2) / 64 + 1);
            let cuts = 1..=usize::from(cut % 5);
            Said::Message {
                cuts: cuts
                    .map(|n| usize::from(*cut) * n % 100)
                    // One byte alone does not tell what a message is.
                    .filter(|cut| kind % 2 == 0 || cut * text.len() > 4000)
                    .collect(),
                text,
                binary: kind % 2 == 1,
                window: (kind & 0x40 != 0).then_some(9 + kind % 7),
            }
        }
        _ => Said::Ping(Vec::new()),
    };
    bytes.chunks(11).take(8).map(read).collect()
}

/// However a stream is split, its receiver sees the same. (Rests are left out: they decide what is streamed.)
fn check_bytes(stream: &[u8], timing: Timing) {
    let timing = Timing {
        rests: vec![false],
        ..timing
    };
    let at_once = Timing {
        reads: vec![usize::MAX],
        write: usize::MAX,
        rests: vec![false],
    };
    let (whole, whole_result) = script::play(stream, &at_once);
    let (split, split_result) = script::play(stream, &timing);
    assert_eq!(whole_result, split_result);
    let (whole, split) = (script::receive(&whole), script::receive(&split));
    assert_eq!(whole.messages, split.messages);
    assert_eq!(whole.controls, split.controls);
}

/// Makes a client's script of any bytes.
fn read_script(bytes: &[u8]) -> Vec<Sent> {
    let (chunks, _) = bytes.as_chunks::<6>();
    let read = |[kind, op, token, filler, size, cut]: &[u8; 6]| match kind % 8 {
        0 => Sent::Ping(vec![*filler; usize::from(size % 126)]),
        kind => Sent::Message {
            op: op % 8,
            token: pick(&TOKENS, *token).to_owned(),
            filler: pick(&FILLERS, *filler).repeat(usize::from(*size) * usize::from(size % 8)),
            cuts: (0..cut % 8)
                .map(|n| usize::from(cut.wrapping_mul(n) % 100))
                .collect(),
            form: match kind {
                1 => Form::Binary,
                3 => Form::Opaque,
                _ => Form::Text,
            },
            guard_last: kind == 2,
            window: (op & 0x80 != 0).then_some(8 + (op >> 3) % 8),
        },
    };
    chunks.iter().take(12).map(read).collect()
}

/// Makes a text of secrets, whole and in pieces.
fn echoes(bytes: &[u8]) -> Vec<u8> {
    let words = bytes.iter().map(|byte| pick(&ECHOES, *byte).as_bytes());
    words.collect::<Vec<_>>().concat()
}

/// Makes a text of words that a matcher has to look at twice.
fn spell(bytes: &[u8]) -> Vec<u8> {
    let words = bytes.iter().map(|byte| pick(&WORDS, *byte).as_bytes());
    words.collect::<Vec<_>>().concat()
}

fn pick<'w>(words: &[&'w str], byte: u8) -> &'w str {
    words
        .get(usize::from(byte) % words.len())
        .copied()
        .unwrap_or_default()
}

const TOKENS: [&str; 4] = [PLACEHOLDER, "plain", "openshell:resolve:env", ""];

const FILLERS: [&str; 6] = [
    "x",
    "a long filler with \"quotes\" and \\backslashes\\, ",
    PLACEHOLDER,
    "openshell:resolve:",
    "{\"token\":\"",
    "\u{e9}",
];

const ECHOES: [&str; 24] = [
    "secret-one",
    "secret-one-longer",
    "secret",
    "-one",
    "-longer",
    "s",
    "a\"quo/te+\u{e9}\\",
    "a\\\"quo\\/te+\u{e9}\\\\",
    "a\\\"quo/te",
    "+\\u00e9\\\\",
    "a%22quo%2Fte%2B%C3%A9%5C",
    "a%22quo%2f",
    "abababab",
    "ab",
    "b",
    "c2VjcmV0LW9uZQ",
    "NlY3JldC1vbmU",
    "ZWNyZXQtb25l",
    "c2Vj",
    "{",
    "\"",
    " ",
    "\u{e9}",
    "nothing of interest ",
];

const BODIES: [&str; 32] = [
    "openshell:resolve:env:TOKEN",
    "openshell%3Aresolve%3Aenv%3ATOKEN",
    "openshell:resolve:env:",
    "openshell:resolve:env:OTHER",
    "{",
    "}",
    "[",
    "]",
    "\"token\"",
    "\"",
    "\\",
    ":",
    ",",
    "{\"token\":\"",
    "token",
    "token=",
    "=",
    "&",
    "%",
    "%4",
    "+",
    "\r\n",
    "\r",
    "\n",
    "--b",
    "--",
    "\r\n--b\r\n",
    "\r\n--b--\r\n",
    "Content-Disposition: form-data; name=\"token\"\r\n",
    "\r\n\r\n",
    "\u{e9}",
    "nothing of interest ",
];

const WORDS: [&str; 24] = [
    "openshell:resolve:env:",
    "OPENSHELL-RESOLVE-ENV-",
    "openshell",
    ":resolve:env:",
    "openshell:reso",
    "lve:env:",
    "OPENSHELL-RES",
    "OLVE-ENV-",
    "X",
    "XY",
    "TOKEN",
    "_",
    "v7_",
    "s0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef_",
    "KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK",
    "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
    "-",
    ".",
    "\"",
    " ",
    ":",
    "o",
    "O",
    "\u{e9}",
];

#[cfg(test)]
mod tests {
    /// A corpus that is the same every time: xorshift64 (Marsaglia 2003).
    fn corpus(seed: u64, count: usize, most: u64) -> impl Iterator<Item = Vec<u8>> {
        let mut state = seed;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..count).map(move |_| {
            let length = next() % most;
            (0..length).map(|_| next().to_le_bytes()[4]).collect()
        })
    }

    #[test]
    fn matcher_stands_random_input() {
        corpus(0x1234_5678_9abc_def1, 20_000, 40).for_each(|data| super::matcher(&data));
    }

    #[test]
    fn reflection_stands_random_input() {
        corpus(0x0c0f_fee0_dead_beef, 400, 60).for_each(|data| super::reflection(&data));
    }

    #[test]
    fn http2_stands_random_input() {
        corpus(0x0505_7265_7365_7421, 5_000, 40).for_each(|data| super::http2(&data));
    }

    #[test]
    fn binary_stands_random_input() {
        corpus(0x0dd_ba11_feed_f00d, 20_000, 120).for_each(|data| super::binary(&data));
    }

    #[test]
    fn bodies_stand_random_input() {
        corpus(0x0b0d_1e50_b0d1_e500, 30_000, 40).for_each(|data| super::bodies(&data));
    }

    #[test]
    fn frames_stand_random_input() {
        corpus(0xfeed_beef_dead_cafe, 2_000, 60).for_each(|data| super::frames(&data));
    }

    /// Random bytes are soon a violation: these are frames with something wrong here and there.
    #[test]
    fn frames_stand_damaged_frames() {
        use crate::websocket::script::{
            self, Compressor, Opcode, PLACEHOLDER, client_frame, fragments,
        };

        let payload = format!(r#"{{"op":2,"d":{{"token":"{PLACEHOLDER}"}}}}"#);
        let compressed = Compressor::new(15).message(payload.as_bytes());
        let good = [
            script::compressed(&compressed),
            client_frame(true, Opcode::Text, payload.as_bytes()),
            fragments(payload.as_bytes(), &[5, 20, 40]).concat(),
            client_frame(true, Opcode::Ping, b"ping"),
            client_frame(true, Opcode::Close, b"\x03\xe8"),
        ]
        .concat();
        for damage in corpus(0x0bad_c0de_0bad_c0de, 3_000, 12) {
            let mut data = vec![1, 0, 0, 0];
            data.extend(&good);
            for (at, byte) in damage.iter().zip(damage.iter().skip(1)) {
                if let Some(place) = data.get_mut(1 + usize::from(*at)) {
                    *place = *byte;
                }
            }
            super::frames(&data);
        }
    }
}

//! Bodies of the fuzz targets in `interceptor/fuzz`; the tests here run them over random input.

#![allow(clippy::panic, reason = "only tests and fuzzers are built with it")]

use crate::{
    rewrite::{
        binary,
        matcher::oracle::{collect, oracle},
    },
    websocket::script::{self, Form, PLACEHOLDER, Sent, Takeover, Timing, check},
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
    fn binary_stands_random_input() {
        corpus(0x0dd_ba11_feed_f00d, 20_000, 120).for_each(|data| super::binary(&data));
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

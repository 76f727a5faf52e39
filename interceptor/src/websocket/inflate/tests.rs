use proptest::{collection::vec, prelude::*};
use zlib_rs::DeflateFlush;

use super::{peers::Compressor, *};
use crate::rewrite::grammar;

const PLACEHOLDER: &str = "openshell:resolve:env:T";

/// Inflates a whole message that arrives in pieces of `size`.
fn inflate(message: &[u8], size: usize) -> Result<Vec<u8>, Fault> {
    let mut inflater = Inflater::new(None);
    let mut text = Vec::new();
    for chunk in message.chunks(size) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let before = text.len();
            let taken = inflater.push(rest, &mut text)?;
            assert!(text.len() - before <= CHUNK);
            rest = &rest[taken..];
        }
    }
    while !inflater.finish(&mut text)? {}
    Ok(text)
}

fn compress(text: &[u8]) -> Vec<u8> {
    Compressor::new(15).message(text)
}

#[test]
fn overlap_is_longer_than_what_is_looked_for() {
    assert!(grammar::PREFIX.len() < OVERLAP && grammar::MARKER.len() < OVERLAP);
}

#[test]
fn every_window_is_read() {
    // Repeats itself at every distance.
    let text: Vec<u8> = (0..100_000_u32)
        .map(|n| b'a' + (n.wrapping_mul(n) >> 7) as u8 % 20)
        .collect();
    for bits in 8..=15 {
        let message = Compressor::new(bits).message(&text);
        assert!(inflate(&message, 1000).unwrap() == text, "{bits}");
    }
}

/// RFC 7692 §7.2.3, all of them `Hello`.
#[test]
fn examples_of_the_specification_are_read_wherever_they_are_split() {
    for message in [
        // One block, two blocks, stored, BFINAL with its zero byte.
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
    ] {
        for size in 1..=message.len() {
            assert_eq!(inflate(message, size).unwrap(), b"Hello", "{message:x?}");
        }
    }
}

#[test]
fn empty_messages_are_empty() {
    for message in [&[][..], &[0x00], &[0x02, 0x00], &[0x03, 0x00], &[0x01]] {
        assert_eq!(inflate(message, 1).unwrap(), b"", "{message:x?}");
    }
}

#[test]
fn last_block_may_end_a_message_and_nothing_may_follow() {
    let last = Compressor::new(15).flush(b"Hello", DeflateFlush::Finish);
    assert_eq!(inflate(&last, 100).unwrap(), b"Hello");
    for trailing in [
        &[0][..],
        &[0, 0],
        &[1],
        &[0, 0, 0, 0xff, 0xff, 0],
        b"x",
        &compress(b"more"),
    ] {
        let message = [last.as_slice(), trailing].concat();
        let expected = match trailing {
            [0] => Ok(b"Hello".to_vec()),
            _ => Err(Fault::Trailing),
        };
        for size in 1..=message.len() {
            assert_eq!(inflate(&message, size), expected, "{trailing:x?}");
        }
    }
}

#[test]
fn message_that_ends_inside_a_block_is_refused() {
    let message = compress(b"Hello, hello, hello; nothing else.");
    for end in 1..message.len() {
        // Its last byte is the header of the empty block that ends it: all of it, or the end of what came before.
        let result = inflate(&message[..end], 100);
        assert!(
            matches!(result, Err(Fault::CutOff | Fault::Corrupt)),
            "{end}: {result:?}"
        );
    }
    // The end was not taken off.
    let whole = [message.as_slice(), &TAIL].concat();
    assert!(inflate(&whole, 100).is_err());
}

#[test]
fn damage_is_refused() {
    assert_eq!(inflate(&[0x06], 1), Err(Fault::Corrupt));
    // A stored block whose lengths disagree.
    assert_eq!(
        inflate(&[0x00, 0x05, 0x00, 0x00, 0x00, b'x'], 1),
        Err(Fault::Corrupt)
    );
}

#[test]
fn message_that_leans_on_the_one_before_is_refused() {
    let mut compressor = Compressor::new(15);
    let text = b"a sentence that comes twice, a sentence that comes twice";
    assert_eq!(inflate(&compressor.message(text), 9).unwrap(), text);
    assert_eq!(inflate(&compressor.message(text), 9), Err(Fault::Corrupt));
}

#[test]
fn bombs_are_refused_by_ratio_and_by_size() {
    let bomb = compress(&vec![b'x'; 2 * 1024 * 1024]);
    assert!(bomb.len() < 4096);
    assert_eq!(inflate(&bomb, 100), Err(Fault::Bomb));
    let small = compress(&vec![b'x'; 1024 * 1024]);
    assert_eq!(inflate(&small, 100).unwrap().len(), 1024 * 1024);

    let limits = Limits {
        free: 10,
        ratio: 1000,
        total: 5000,
    };
    let mut inflater = Inflater::limited(limits, None);
    let message = Compressor::new(8).message(&[b'y'; 6000]);
    let result = inflater.push(&message, &mut Vec::new());
    assert_eq!(result, Err(Fault::Bomb));
}

#[test]
fn survey_finds_a_placeholder_anywhere_and_keeps_the_beginning() {
    const LEAST: usize = 20_000;
    // What does not repeat itself comes out of the inflater in pieces of its own choice.
    let noise = |length: usize| -> String {
        (0..length as u64)
            .map(|n| char::from(b'a' + (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59) as u8 % 26))
            .collect()
    };
    let mut text = Vec::new();
    for length in [
        0,
        100,
        CHUNK - 5,
        LEAST - 5,
        2 * CHUNK - 11,
        2 * CHUNK,
        100_000,
    ] {
        for (placeholder, behind) in [(PLACEHOLDER, 0), (PLACEHOLDER, 70_000), ("", 0)] {
            let plain = [&noise(length), placeholder, &noise(behind)].concat();
            let found = survey(&compress(plain.as_bytes()), true, LEAST, None, &mut text).unwrap();
            assert_eq!(found.concerns, !placeholder.is_empty(), "{length}");
            assert_eq!(found.whole, text.len() == plain.len());
            assert!(plain.as_bytes().starts_with(&text) && text.len() < LEAST + CHUNK);
            assert!(text.len() >= LEAST.min(plain.len()));
        }
    }
}

#[test]
fn fault_at_the_end_of_a_long_message_is_found_before_any_of_it_goes() {
    let mut message = compress(&[b"openshell:resolve:env:T", &[b'z'; 200_000][..]].concat());
    message.pop();
    let found = survey(&message, true, 1000, None, &mut Vec::new());
    assert!(found.is_err());
}

#[test]
fn message_that_leans_on_those_before_it_is_read_with_their_text() {
    let noise = |seed: u32, length: u32| -> Vec<u8> {
        (0..length)
            .map(|n| (n ^ seed).wrapping_mul(0x9e37_79b9) >> 27)
            .map(|n| b'a' + n as u8)
            .collect()
    };
    for bits in 8..=15 {
        let mut compressor = Compressor::new(bits);
        let mut history = History::default();
        let mut text = Vec::new();
        for round in 0..40 {
            // Short and long, new and said before, within the window and beyond it.
            let said = [noise(7, 300), noise(round, round * 1500)].concat();
            let message = compressor.message(&said);
            let seen = survey(&message, true, usize::MAX, Some(&history), &mut text).unwrap();
            assert!(text == said, "{bits} {round}");
            history = seen.behind.unwrap();
        }
    }
}

#[test]
fn history_ends_with_a_last_block_as_windows_do() {
    let said = b"a sentence that comes twice, a sentence that comes twice";
    let mut history = History::default();
    for (message, kept) in [
        (Compressor::new(15).message(said), true),
        (Compressor::new(15).flush(said, DeflateFlush::Finish), false),
    ] {
        for message in [message.clone(), [message.as_slice(), &[0]].concat()] {
            let seen = survey(&message, true, 10, Some(&history), &mut Vec::new());
            let Ok(seen) = seen else {
                // A zero byte behind blocks that were not the last is no block.
                assert!(kept);
                continue;
            };
            history = seen.behind.unwrap();
            assert_eq!(history.text().is_empty(), !kept);
        }
    }
    let part = survey(&compress(said), false, 10, Some(&history), &mut Vec::new());
    assert!(part.unwrap().behind.is_none(), "it is not complete");
}

proptest! {
    #[test]
    fn what_is_deflated_is_inflated(
        text in vec(prop_oneof![any::<u8>(), Just(b'a')], 0..3000),
        repeat in 1_usize..40,
        bits in 8_u8..16,
        size in 1_usize..5000,
    ) {
        let text = text.repeat(repeat);
        let message = Compressor::new(bits).message(&text);
        prop_assert!(inflate(&message, size).unwrap() == text);
    }

    #[test]
    fn anything_else_is_refused_or_read_but_never_breaks(
        message in vec(any::<u8>(), 0..300),
        size in 1_usize..50,
    ) {
        let whole = inflate(&message, 1000);
        let split = inflate(&message, size);
        prop_assert!(whole == split || whole.is_err() && split.is_err());
    }
}

//! Our inflater against zlib's.

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status, Strategy};

use super::super::coded::testing::{inflate, splice_at_every_mark};
use super::*;
use proptest::strategy::Strategy as Values;

fn deflated(texts: &[Vec<u8>], level: i32, strategy: Strategy, flush: DeflateFlush) -> Vec<u8> {
    let mut deflate = Deflate::new_with_config(DeflateConfig {
        level,
        window_bits: -15,
        strategy,
        ..DeflateConfig::default()
    });
    let mut out = Vec::new();
    for text in texts {
        out.extend(encoders::run(&mut deflate, text, flush));
    }
    out.extend(encoders::run(&mut deflate, b"", DeflateFlush::Finish));
    out
}

/// What zlib makes of `body`, and whether it finds no fault.
fn reference(body: &[u8]) -> (Vec<u8>, bool) {
    let mut inflate = Inflate::new(false, 15);
    let mut out = vec![0; 1 << 20];
    let result = inflate.decompress(body, &mut out, InflateFlush::NoFlush);
    out.truncate(inflate.total_out() as usize);
    (out, result.is_ok())
}

fn texts() -> impl Values<Value = Vec<Vec<u8>>> {
    let word = prop_oneof![
        Just(b"hello ".to_vec()),
        Just(b"some text that comes again, ".to_vec()),
        Just(vec![b'a'; 700]),
        proptest::collection::vec(any::<u8>(), 0..300),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    let text = proptest::collection::vec(word, 0..60).prop_map(|words| words.concat());
    proptest::collection::vec(text, 1..4)
}

fn strategies() -> impl Values<Value = Strategy> {
    prop_oneof![
        Just(Strategy::Default),
        Just(Strategy::Fixed),
        Just(Strategy::HuffmanOnly),
        Just(Strategy::Rle),
        Just(Strategy::Filtered),
    ]
}

fn flushes() -> impl Values<Value = DeflateFlush> {
    prop_oneof![
        Just(DeflateFlush::NoFlush),
        Just(DeflateFlush::PartialFlush),
        Just(DeflateFlush::SyncFlush),
        Just(DeflateFlush::FullFlush),
        Just(DeflateFlush::Block),
    ]
}

proptest! {
    #[test]
    fn whatever_zlib_deflates_is_inflated(
        texts in texts(), level in 0..=9, strategy in strategies(), flush in flushes(), size in 1usize..3000,
    ) {
        let body = deflated(&texts, level, strategy, flush);
        let (text, complete) = inflate(body.chunks(size)).unwrap();
        prop_assert_eq!(text, texts.concat());
        prop_assert!(complete);
    }

    /// What is damaged and a whole stream to zlib all the same is read as zlib reads it. Of one that has not ended zlib may
    /// not have seen the fault yet, or we.
    #[test]
    fn damage_is_read_as_zlib_reads_it(
        texts in texts(), level in 0..=9, strategy in strategies(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        size in 1usize..3000,
    ) {
        let mut body = deflated(&texts, level, strategy, DeflateFlush::SyncFlush);
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] ^= byte;
        }
        let mut whole = Inflate::new(false, 15);
        let mut expected = vec![0; 1 << 20];
        if let Ok(Status::StreamEnd) = whole.decompress(&body, &mut expected, InflateFlush::NoFlush) {
            expected.truncate(whole.total_out() as usize);
            prop_assert_eq!(inflate(body.chunks(size)), Some((expected, true)));
        } else if let (expected, true) = reference(&body)
            && expected.len() < 1 << 20
            && let Some((text, _)) = inflate(body.chunks(size))
        {
            prop_assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_stream_can_be_gone_on_with_at_every_mark(
        texts in texts(), level in 0..=9, strategy in strategies(), flush in flushes(),
    ) {
        let body = deflated(&texts, level, strategy, flush);
        let text = texts.concat();
        for (at, spliced) in splice_at_every_mark(&body, b"something else") {
            let (read, sound) = reference(&spliced);
            prop_assert!(sound);
            let expected = [&text[..at], b"something else"].concat();
            prop_assert_eq!(read, expected);
        }
    }
}

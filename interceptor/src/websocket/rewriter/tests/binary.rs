//! Binary messages.

use super::*;
use crate::websocket::script::Compressor;

/// Writes an IDENTIFY with this token.
type Format = dyn Fn(&str) -> Vec<u8>;

/// `{"op": 2, "d": {"token": …}}` in msgpack.
fn message_pack(token: &str) -> Vec<u8> {
    let mut out = b"\x82\xa2op\x02\xa1d\x81\xa5token".to_vec();
    out.extend([0xd9, u8::try_from(token.len()).unwrap()]);
    out.extend_from_slice(token.as_bytes());
    out
}

/// The same in ETF, as Discord takes it.
fn etf(token: &str) -> Vec<u8> {
    let string = |text: &str| {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [b"m", length.as_slice(), text.as_bytes()].concat()
    };
    let map = |pairs: u8| vec![b't', 0, 0, 0, pairs];
    [
        vec![0x83],
        map(2),
        string("op"),
        vec![b'a', 2],
        string("d"),
        map(1),
        string("token"),
        string(token),
    ]
    .concat()
}

/// In fragments that end at `cuts`, compressed or not.
fn binary(payload: &[u8], cuts: &[usize], compress: bool) -> Vec<u8> {
    let deflated = Compressor::new(15).message(payload);
    let payload = if compress { &deflated } else { payload };
    let cuts: Vec<_> = cuts.iter().map(|cut| (*cut).min(payload.len())).collect();
    let mut stream = fragments(payload, &cuts).concat();
    stream[0] = 2 | stream[0] & 0x80 | if compress { frame::RSV1 } else { 0 };
    stream
}

#[test]
fn secret_goes_into_every_known_format_whole_and_in_fragments() {
    let json = |token: &str| identify(token).into_bytes();
    let spaced = |token: &str| format!(" \n{}", identify(token)).into_bytes();
    let formats: [(&Format, _); 4] = [
        (&json, ESCAPED),
        (&spaced, ESCAPED),
        (&message_pack, SECRET),
        (&etf, SECRET),
    ];
    for (format, secret) in formats {
        for compress in [false, true] {
            for cuts in [vec![], vec![0, 0], vec![1, 20, 30]] {
                let stream = binary(&format(PLACEHOLDER), &cuts, compress);
                for size in (1..40).chain([usize::MAX]) {
                    let (out, result) = run(&mut rewriter(), &stream, size);
                    result.unwrap();
                    let seen = receive(&out);
                    assert_eq!(seen.messages[0].payload, format(secret));
                    assert_eq!(seen.messages[0].opcode, Opcode::Binary);
                    assert_eq!((seen.lengths.len(), out[0]), (1, 0x82), "one new frame");
                }
            }
        }
    }
}

#[test]
fn long_json_is_streamed_and_stays_binary() {
    let payload = |token: &str| {
        let pad = "x".repeat(100_000);
        format!(r#"{{"op":2,"pad":"{pad}","d":{{"token":"{token}"}}}}"#).into_bytes()
    };
    for compress in [false, true] {
        for cuts in [vec![], vec![30_000, 60_000]] {
            let stream = binary(&payload(PLACEHOLDER), &cuts, compress);
            let (out, result) = run(&mut rewriter(), &stream, 5000);
            result.unwrap();
            let seen = receive(&out);
            assert!(seen.messages[0].payload == payload(ESCAPED));
            assert_eq!(seen.messages[0].opcode, Opcode::Binary);
            assert!(seen.lengths.len() > 1);
        }
    }
}

#[test]
fn other_format_beyond_the_hold_passes_as_it_comes_and_is_counted() {
    let pad = noise(100_000);
    for (payload, opaque) in [
        ([&[8], PLACEHOLDER.as_bytes()].concat(), 1),
        (message_pack("plain"), 0),
        (vec![0; 200], 0),
    ] {
        let payload = [payload.as_slice(), pad.as_bytes()].concat();
        for compress in [false, true] {
            for cuts in [vec![], vec![10, 40_000, 90_000]] {
                let stream = binary(&payload, &cuts, compress);
                for size in [5000, usize::MAX] {
                    let stats = Arc::new(Connection::default());
                    let mut rewriter =
                        Rewriter::new(BytesMut::new(), rules(), ALONE, stats.clone());
                    let (out, result) = run(&mut rewriter, &stream, size);
                    result.unwrap();
                    assert!(out == stream);
                    assert_eq!(
                        stats.opaque_messages(),
                        opaque,
                        "{compress} {cuts:?} {size}"
                    );
                    assert_eq!(stats.messages(Direction::ClientToServer), 1);
                    assert!(rewriter.at_boundary());
                }
            }
        }
    }
}

#[test]
fn sender_that_rests_in_another_format_is_passed_unless_a_placeholder_waits_for_its_end() {
    for (token, passed) in [("plain", true), (PLACEHOLDER, false)] {
        for payload in [message_pack(token), etf(token)] {
            let cut = payload.len() - 1;
            let stream = binary(&payload, &[cut], false);
            let (first, last) = stream.split_at(stream.len() - 7);
            let mut rewriter = rewriter();
            let (mut out, _) = run(&mut rewriter, first, usize::MAX);
            assert_eq!(out, b"");
            rewriter.on_rest().unwrap();
            drain(&mut rewriter, &mut out, usize::MAX).unwrap();
            assert_eq!(out == first, passed);
            assert!(!rewriter.awaits_rest());
            out.extend(run(&mut rewriter, last, usize::MAX).0);
            assert_eq!(receive(&out).messages.len(), 1);
            assert_eq!(out == stream, passed);
        }
    }
    // Nothing tells yet what it will be.
    let mut rewriter = rewriter();
    let empty = client_frame(false, Opcode::Binary, b"");
    run(&mut rewriter, &empty, usize::MAX).1.unwrap();
    rewriter.on_rest().unwrap();
    assert!(rewriter.output().concat().is_empty());
}

#[test]
fn policy_on_unbound_placeholders_holds_for_binary_messages_too() {
    use crate::{policy::binding::Unbound, rewrite::release::builder::release};

    let opaque = [&[8], PLACEHOLDER.as_bytes()].concat();
    let long = [opaque.as_slice(), &[0; 100_000]].concat();
    let beside = [b"\x81\xa1x\xb7", PLACEHOLDER.as_bytes()].concat();
    for payload in [opaque, long, beside] {
        for compress in [false, true] {
            let release = release().discord("T", b"s").unbound(Unbound::Refuse);
            let rules = Rules::for_messages(Arc::new(release.build()));
            let mut rewriter = Rewriter::new(BytesMut::new(), rules, ALONE, Arc::default());
            let stream = binary(&payload, &[], compress);
            let (out, result) = run(&mut rewriter, &stream, 5000);
            assert_eq!(result, Err(Stop::Refused(Refusal::Unbound)));
            assert_eq!(out, b"");
        }
    }
}

//! Compressed messages.

use zlib_rs::DeflateFlush;

use super::*;
use crate::websocket::{
    inflate::{Fault, peers::Decompressor},
    script::{Compressor, compressed},
};

fn compress(text: &str) -> Vec<u8> {
    Compressor::new(15).message(text.as_bytes())
}

/// A compressed text message in fragments that end at `cuts`.
fn compressed_fragments(payload: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut frames = fragments(payload, cuts);
    frames[0][0] |= frame::RSV1;
    frames
}

/// An IDENTIFY with `pad` in front of its token.
fn padded(pad: &str, token: &str) -> String {
    format!(r#"{{"op":2,"pad":"{pad}","d":{{"token":"{token}"}}}}"#)
}

#[test]
fn clean_stream_goes_on_byte_for_byte() {
    let mut stream = Vec::new();
    for bits in 8..=15 {
        let payload = Compressor::new(bits).message(identify("plain").as_bytes());
        stream.extend(compressed(&payload));
        stream.extend(text("not compressed"));
    }
    let payload = compress(&padded(&noise(500), "plain"));
    let cuts = [0, 1, 50, 50, payload.len() - 1];
    stream.extend(compressed_fragments(&payload, &cuts).concat());
    stream.extend(client_frame(true, Opcode::Ping, b"between"));
    let opaque = format!("\u{8}{}", identify(PLACEHOLDER));
    let mut binary = compressed(&compress(&opaque));
    binary[0] = 0xc2;
    stream.extend(binary);
    for empty in [&[][..], &[0x00], &[0x02, 0x00]] {
        stream.extend(compressed(empty));
    }
    // Outside its field a placeholder is text; this one is no placeholder.
    stream.extend(compressed(&compress(&format!("say {PLACEHOLDER}"))));
    stream.extend(compressed(&compress("openshell:resolve:env")));
    // Much more text than is held, and never a placeholder.
    stream.extend(compressed(&compress(&"z".repeat(1_000_000))));
    // Ends with a last block, alone and with its zero byte.
    let last = Compressor::new(15).flush(b"last", DeflateFlush::Finish);
    stream.extend(compressed(&last));
    stream.extend(compressed(&[last.as_slice(), &[0]].concat()));
    stream.extend(client_frame(true, Opcode::Close, b"\x0f\xa0bye"));
    for size in (1..60).chain([4096, stream.len()]) {
        let stats = Arc::new(Connection::default());
        let mut rewriter = Rewriter::new(BytesMut::new(), rules(), ALONE, stats.clone());
        let (out, result) = run(&mut rewriter, &stream, size);
        result.unwrap();
        assert!(out == stream, "{size}");
        assert_eq!(
            stats.messages(Direction::ClientToServer),
            16 + 1 + 1 + 3 + 3 + 2
        );
        assert_eq!(stats.placeholders_passed(), 1);
        assert_eq!(stats.opaque_messages(), 1);
    }
}

#[test]
fn token_goes_uncompressed_wherever_the_stream_is_split() {
    let before = compressed(&compress("before"));
    let after = compressed(&compress("after"));
    let stream = [
        before.as_slice(),
        &compressed(&compress(&identify(PLACEHOLDER))),
        &after,
    ]
    .concat();
    for cut in 0..stream.len() {
        let mut rewriter = rewriter();
        let (mut out, result) = run(&mut rewriter, &stream[..cut], usize::MAX);
        result.unwrap();
        out.extend(run(&mut rewriter, &stream[cut..], usize::MAX).0);
        assert!(out.starts_with(&before) && out.ends_with(&after), "{cut}");
        assert_eq!(out[before.len()], 0x81, "{cut}: text, not compressed");
        let Received { messages, .. } = receive(&out);
        assert_eq!(messages[1].payload, identify(ESCAPED).as_bytes(), "{cut}");
        assert_eq!(messages.len(), 3);
    }
}

#[test]
fn token_is_rewritten_wherever_a_compressed_message_is_fragmented() {
    let late_guard = format!(r#"{{"d":{{"token":"{PLACEHOLDER}"}},"op":6}}"#);
    for plain in [identify(PLACEHOLDER), late_guard] {
        let payload = compress(&plain);
        for one in 0..=payload.len() {
            for two in (one..=payload.len()).step_by(5) {
                let stream = compressed_fragments(&payload, &[one, two]).concat();
                for size in [1, 13, usize::MAX] {
                    let (out, result) = run(&mut rewriter(), &stream, size);
                    result.unwrap();
                    let Received {
                        messages, lengths, ..
                    } = receive(&out);
                    let token = plain.replace(PLACEHOLDER, ESCAPED);
                    assert_eq!(messages[0].payload, token.as_bytes());
                    assert_eq!((lengths.len(), out[0]), (1, 0x81), "one new frame");
                }
            }
        }
    }
}

#[test]
fn long_text_is_streamed_uncompressed_whether_it_came_long_or_short() {
    let ping = client_frame(true, Opcode::Ping, b"inside");
    let pads = ["y".repeat(300_000), noise(300_000)];
    assert!(compress(&pads[0]).len() < 1000);
    assert!(compress(&pads[1]).len() > 2 * HOLD);
    for pad in pads {
        let payload = compress(&padded(&pad, PLACEHOLDER));
        let some = (1..20).map(|n| n * payload.len() / 20).collect();
        for cuts in [vec![], vec![10, payload.len() - 1], some] {
            let mut frames = compressed_fragments(&payload, &cuts);
            let last = frames.pop().unwrap();
            let frames = frames.iter().flat_map(|frame| [frame.as_slice(), &ping]);
            let stream = frames.chain([last.as_slice()]).collect::<Vec<_>>().concat();
            let stream = [stream.as_slice(), &text("behind")].concat();
            for size in [777, 4096, 64 * 1024, usize::MAX] {
                let (out, result) = run(&mut rewriter(), &stream, size);
                result.unwrap();
                let Received {
                    messages,
                    controls,
                    lengths,
                    ..
                } = receive(&out);
                assert!(messages[0].payload == padded(&pad, ESCAPED).as_bytes());
                assert_eq!(messages[1].payload, b"behind");
                assert_eq!(controls.len(), cuts.len());
                let (_, but_two) = lengths
                    .split_last_chunk::<2>()
                    .map(|(a, b)| (b, a))
                    .unwrap();
                let least = FRAGMENT_MIN as u64;
                assert!(but_two.iter().all(|length| *length >= least), "{lengths:?}");
            }
        }
    }
}

#[test]
fn endless_compressed_message_passes_at_flat_memory() {
    let mut compressor = Compressor::new(15);
    let mut rewriter = rewriter();
    let pad = noise(3000).repeat(20);
    let mut out = Vec::new();
    let mut seen = 0;
    let mut sent = 0;
    for index in 0..500 {
        let piece = if index == 0 { r#"{"op":1,"d":""# } else { &pad };
        sent += piece.len();
        let payload = compressor.flush(piece.as_bytes(), DeflateFlush::SyncFlush);
        let opcode = if index == 0 {
            Opcode::Text
        } else {
            Opcode::Continuation
        };
        let mut fragment = client_frame(false, opcode, &payload);
        fragment[0] |= if index == 0 { frame::RSV1 } else { 0 };
        rewriter.input().extend_from_slice(&fragment);
        drain(&mut rewriter, &mut out, usize::MAX).unwrap();
        rewriter.on_rest().unwrap();
        drain(&mut rewriter, &mut out, usize::MAX).unwrap();
        assert!(rewriter.buffered() < 300 * 1024, "{}", rewriter.buffered());
        let mut rest = out.as_slice();
        while let Some(header) = Header::parse(rest, Sender::Client, false).unwrap() {
            seen += header.length;
            rest = &rest[header.total()..];
        }
        out.clear();
    }
    assert!(seen > 29_000_000 && sent as u64 - seen < FRAGMENT_MIN as u64);
}

#[test]
fn sender_that_rests_between_compressed_fragments_is_streamed() {
    let mut compressor = Compressor::new(15);
    let parts = [
        r#"{"op":2,"pad":"aaaa","#,
        &format!(r#""d":{{"token":"{PLACEHOLDER}"}},"#),
        r#""end":[1]}"#,
    ];
    let mut rewriter = rewriter();
    let mut out = Vec::new();
    let mut sizes = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let payload = match index {
            2 => compressor.message(part.as_bytes()),
            _ => compressor.flush(part.as_bytes(), DeflateFlush::SyncFlush),
        };
        let opcode = if index == 0 {
            Opcode::Text
        } else {
            Opcode::Continuation
        };
        let mut fragment = client_frame(index == 2, opcode, &payload);
        fragment[0] |= if index == 0 { frame::RSV1 } else { 0 };
        rewriter.input().extend_from_slice(&fragment);
        for _ in 0..2 {
            drain(&mut rewriter, &mut out, usize::MAX).unwrap();
            rewriter.on_rest().unwrap();
        }
        drain(&mut rewriter, &mut out, usize::MAX).unwrap();
        sizes.push(out.len());
    }
    assert!(sizes[0] > 0, "{sizes:?}");
    let payload = parts.concat().replace(PLACEHOLDER, ESCAPED);
    assert_eq!(receive(&out).messages[0].payload, payload.as_bytes());
}

#[test]
fn guard_may_come_after_the_field_as_far_as_the_hold_of_text_reaches() {
    let padded = |before: usize, after: usize| {
        let (before, after) = ("x".repeat(before), "x".repeat(after));
        let token = format!(r#""d":{{"token":"{PLACEHOLDER}"}}"#);
        format!(r#"{{"a":"{before}",{token},"b":"{after}","op":2}}"#)
    };
    for (before, after, good) in [
        (10, 10, true),
        (10, HOLD - 1000, true),
        (HOLD - 1000, 100, true),
        (10, 2 * HOLD, false),
        (2 * HOLD, 10, false),
    ] {
        let plain = padded(before, after);
        let stream = compressed(&compress(&plain));
        for size in [10, usize::MAX] {
            let (out, result) = run(&mut rewriter(), &stream, size);
            if good {
                result.unwrap();
                let token = plain.replace(PLACEHOLDER, ESCAPED);
                assert!(receive(&out).messages[0].payload == token.as_bytes());
            } else {
                assert_eq!(result, Err(Stop::Refused(Refusal::GuardUnseen)));
                assert!(receive(&out).messages.is_empty());
            }
        }
    }
}

#[test]
fn message_that_cannot_be_searched_ends_the_stream_and_nothing_of_it_goes() {
    let good = compressed(&compress("good"));
    let last = Compressor::new(15).flush(b"last", DeflateFlush::Finish);
    let bomb = compress(&"x".repeat(2_000_000));
    for (payload, fault) in [
        (vec![0x06], Fault::Corrupt),
        (vec![0xf2], Fault::CutOff),
        ([last.as_slice(), b"more"].concat(), Fault::Trailing),
        (bomb, Fault::Bomb),
    ] {
        for cuts in [vec![], vec![0], vec![payload.len() / 2]] {
            let frames = compressed_fragments(&payload, &cuts).concat();
            let stream = [good.as_slice(), &frames].concat();
            for size in [1, 50, usize::MAX] {
                let mut rewriter = rewriter();
                let (out, result) = run(&mut rewriter, &stream, size);
                assert_eq!(result, Err(Stop::Opaque(fault)));
                assert_eq!(out, good);
                assert!(rewriter.at_boundary());
            }
            // Where nothing is to be looked at, it is the server's to judge.
            let mut unbound = Rewriter::new(BytesMut::new(), None, ALONE, Arc::default());
            let (out, result) = run(&mut unbound, &stream, usize::MAX);
            assert_eq!((out, result), (stream, Ok(())));
        }
    }
}

#[test]
fn bomb_is_found_while_it_is_streamed() {
    let noise = noise(200_000);
    let mut compressor = Compressor::new(15);
    let mut payload = compressor.flush(noise.as_bytes(), DeflateFlush::SyncFlush);
    payload.extend(compressor.message(&vec![b'x'; 64_000_000]));
    assert!(payload.len() < 300_000);
    for size in [4096, usize::MAX] {
        let mut rewriter = rewriter();
        let (out, result) = run(&mut rewriter, &compressed(&payload), size);
        assert_eq!(result, Err(Stop::Opaque(Fault::Bomb)));
        assert!(receive(&out).messages.is_empty());
        // What is all here is looked through first.
        assert_eq!(out.is_empty(), size == usize::MAX);
        assert!(out.len() < 200 * payload.len());
    }
}

/// A client that goes on using its window: its third message leans on the second, which the server got rewritten and
/// uncompressed, and so never had in its window.
#[test]
fn message_that_leans_on_a_rewritten_one_never_reaches_the_server() {
    let first = identify("something else of about the same length");
    let second = identify(PLACEHOLDER);
    let third = format!("{second}, once more");
    let mut leaning = Compressor::new(15);
    let payloads = [&first, &second, &third].map(|text| leaning.message(text.as_bytes()));

    // What forwarding would do: no error, and another text.
    let mut server = Decompressor::new();
    assert_eq!(server.message(&payloads[0]).unwrap(), first.as_bytes());
    let corrupted = server.message(&payloads[2]).unwrap();
    assert_ne!(corrupted, third.as_bytes());

    // The second leans on the first, and is not passed either.
    let stream = payloads
        .each_ref()
        .map(|payload| compressed(payload))
        .concat();
    let (out, result) = run(&mut rewriter(), &stream, usize::MAX);
    assert_eq!(result, Err(Stop::Opaque(Fault::Corrupt)));
    assert_eq!(receive(&out).messages.len(), 1);
    let rewritten_first = [compressed(&compress(&second)), compressed(&payloads[2])].concat();
    let (out, result) = run(&mut rewriter(), &rewritten_first, usize::MAX);
    assert_eq!(result, Err(Stop::Opaque(Fault::Corrupt)));
    assert_eq!(
        receive(&out).messages[0].payload,
        identify(ESCAPED).as_bytes()
    );
    assert_eq!(receive(&out).messages.len(), 1);

    // What a client does that keeps to what it was told.
    let stream = [&first, &second, &third].map(|text| compressed(&compress(text)));
    let (out, result) = run(&mut rewriter(), &stream.concat(), usize::MAX);
    result.unwrap();
    let seen: Vec<_> = receive(&out)
        .messages
        .into_iter()
        .map(|message| message.payload)
        .collect();
    let expected = [&first, &identify(ESCAPED), &third].map(|text| text.clone().into_bytes());
    assert_eq!(seen, expected);
}

#[test]
fn compressed_messages_leave_nothing_behind() {
    let mut rewriter = rewriter();
    let stream = [
        compressed(&compress(&identify("x"))),
        compressed(&compress(&identify(PLACEHOLDER))),
    ]
    .concat();
    let mut out = Vec::new();
    for _ in 0..2000 {
        rewriter.input().extend_from_slice(&stream);
        drain(&mut rewriter, &mut out, usize::MAX).unwrap();
        out.clear();
        assert!(rewriter.buffered() < 64 * 1024);
    }
    rewriter.relax();
    assert_eq!(rewriter.buffered(), 0);
}

//! Compressed messages of a client that goes on using its window.

use zlib_rs::DeflateFlush;

use super::*;
use crate::websocket::{
    inflate::peers::Decompressor,
    script::{Compressor, compressed, following_rewriter},
};

fn leaning(client: &mut Compressor, text: &str) -> Vec<u8> {
    compressed(&client.message(text.as_bytes()))
}

fn binary(mut frame: Vec<u8>) -> Vec<u8> {
    frame[0] = frame[0] & 0xf0 | 2;
    frame
}

/// What a server reads.
fn texts(out: &[u8]) -> Vec<String> {
    let messages = receive(out).messages.into_iter();
    messages
        .map(|message| String::from_utf8(message.payload).unwrap())
        .collect()
}

#[test]
fn clean_messages_go_on_byte_for_byte() {
    for bits in [8, 9, 12, 15] {
        let mut client = Compressor::new(bits);
        let mut stream = Vec::new();
        for round in 0..6 {
            stream.extend(leaning(&mut client, &identify("plain")));
            stream.extend(text("not compressed"));
            stream.extend(leaning(&mut client, &noise(1 + round * 9000)));
            stream.extend(binary(leaning(&mut client, &identify("plain"))));
            stream.extend(leaning(&mut client, ""));
            // Far more text than is held.
            stream.extend(leaning(&mut client, &"z".repeat(200_000)));
        }
        // A last block, behind which client and server begin anew.
        let last = Compressor::new(bits).flush(b"last", DeflateFlush::Finish);
        stream.extend(compressed(&last));
        stream.extend(leaning(&mut Compressor::new(bits), "anew, anew, anew"));
        for size in [7, 1000, usize::MAX] {
            let (out, result) = run(&mut following_rewriter(), &stream, size);
            result.unwrap();
            assert!(out == stream, "{bits} {size}");
        }
    }
}

/// The third message leans on the second, which was rewritten: what a forwarder makes of that, and what we do.
#[test]
fn message_behind_a_rewritten_one_reaches_the_server_as_it_was_meant() {
    let first = identify("something else of about the same length");
    let second = identify(PLACEHOLDER);
    let third = format!(r#"{{"op":3,"d":{second}}}"#);
    let texts_sent = [&first, &second, &third];
    let mut client = Compressor::new(15);
    let payloads = texts_sent.map(|text| client.message(text.as_bytes()));

    // Forwarded behind a rewritten message that went uncompressed: no error, and another text.
    let mut server = Decompressor::new();
    server.message(&payloads[0]).unwrap();
    let corrupted = server.message(&payloads[2]).unwrap();
    assert_ne!(corrupted, third.as_bytes());

    // Behind one that was compressed again: bytes of the secret where the client never had them.
    let mut forwarder = Compressor::new(15);
    let mut server = Decompressor::new();
    for text in [&first, &identify(ESCAPED)] {
        let payload = forwarder.message(text.as_bytes());
        assert_eq!(server.message(&payload).unwrap(), text.as_bytes());
    }
    let corrupted = server.message(&payloads[2]).unwrap();
    let leaks = |text: &[u8]| text.windows(5).any(|part| part == b"real\\");
    assert!(leaks(&corrupted), "{}", String::from_utf8_lossy(&corrupted));

    let frames = payloads.each_ref().map(|payload| compressed(payload));
    let fourth = "and on, and on, and on";
    let after = [
        leaning(&mut client, fourth),
        text(fourth),
        binary(leaning(&mut client, fourth)),
        leaning(&mut client, ""),
        leaning(&mut client, &identify(PLACEHOLDER)),
    ];
    let stream = [frames.concat(), after.concat()].concat();
    for size in (1..50).chain([usize::MAX]) {
        let (out, result) = run(&mut following_rewriter(), &stream, size);
        result.unwrap();
        assert!(out.starts_with(&frames[0]), "in step until the first hit");
        let rest = &out[frames[0].len()..];
        assert!(receive(rest).messages.len() == 7 && !leaks(&receive(rest).messages[1].payload));
        let mut frames = rest;
        while let Some(header) = Header::parse(frames, Sender::Client, true).unwrap() {
            assert!(!header.compressed, "out of step from there on");
            frames = &frames[header.total()..];
        }
        let token = identify(ESCAPED);
        let expected = [&first, &token, &third, fourth, fourth, fourth, "", &token];
        assert_eq!(texts(&out), expected, "{size}");
    }
}

#[test]
fn streamed_message_puts_the_window_out_of_step() {
    let mut client = Compressor::new(15);
    let long = format!(
        r#"{{"op":2,"pad":"{}","d":{{"token":"{PLACEHOLDER}"}}}}"#,
        noise(200_000)
    );
    let said = "said before, said before";
    let stream = [
        leaning(&mut client, said),
        leaning(&mut client, &long),
        leaning(&mut client, said),
    ];
    for size in [777, 64 * 1024, usize::MAX] {
        let (out, result) = run(&mut following_rewriter(), &stream.concat(), size);
        result.unwrap();
        assert!(texts(&out) == [said, &long.replace(PLACEHOLDER, ESCAPED), said]);
        assert!(out.ends_with(said.as_bytes()) || !out.ends_with(&stream[2]));
    }
}

#[test]
fn rules_that_come_and_go_leave_the_window_followed() {
    let mut client = Compressor::new(15);
    let mut rewriter = following_rewriter();
    let mut out = Vec::new();
    for (rules, said) in [
        (rules(), "one, and one, and one"),
        (None, "two, and one, and one"),
        (None, &identify("openshell:resolve:env:U")),
        (rules(), &identify(PLACEHOLDER)),
        (None, &identify(PLACEHOLDER)),
        (None, &format!("{}, and one, and one", noise(100_000))),
    ] {
        rewriter.replace_rules(rules);
        rewriter
            .input()
            .extend_from_slice(&leaning(&mut client, said));
        drain(&mut rewriter, &mut out, usize::MAX).unwrap();
    }
    let seen = texts(&out);
    assert_eq!(seen[3], identify(ESCAPED));
    assert_eq!(seen[4], identify(PLACEHOLDER));
    assert!(seen[5] == format!("{}, and one, and one", noise(100_000)));
}

#[test]
fn idle_connection_keeps_a_window_and_no_more() {
    let mut client = Compressor::new(15);
    let mut rewriter = following_rewriter();
    let mut out = Vec::new();
    for round in 0..40 {
        let said = [identify("x"), identify(PLACEHOLDER), noise(round * 3000)];
        for said in said {
            rewriter
                .input()
                .extend_from_slice(&leaning(&mut client, &said));
            drain(&mut rewriter, &mut out, usize::MAX).unwrap();
        }
        out.clear();
    }
    rewriter.relax();
    assert_eq!(rewriter.buffered(), 32 * 1024);
}

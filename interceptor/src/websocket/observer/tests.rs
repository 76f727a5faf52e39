use std::sync::Arc;

use proptest::{collection::vec, prelude::*};

use super::{
    script::{Said, armed, check, play, server_frame},
    *,
};
use crate::{
    rewrite::reflection::{
        Reflection,
        oracle::{SECRETS, reflection},
    },
    websocket::{
        frame::{RSV1, Violation},
        inflate::{Fault, peers::Compressor},
        script::{Timing, drain, receive_from},
    },
};

fn unarmed() -> Lookout {
    Lookout::new(Arc::default())
}

fn stream() -> Vec<u8> {
    [
        server_frame(true, Opcode::Text, b"one"),
        server_frame(false, Opcode::Binary, &[7; 300]),
        server_frame(true, Opcode::Ping, b"now"),
        server_frame(true, Opcode::Continuation, b""),
        server_frame(true, Opcode::Text, b""),
        server_frame(true, Opcode::Close, b"\x0f\xa4bad token"),
        b"late data".to_vec(),
    ]
    .concat()
}

fn take(observer: &mut Observer, out: &mut Vec<u8>) {
    let [ready, none] = observer.output();
    assert!(none.is_empty());
    out.extend_from_slice(ready);
    let length = ready.len();
    observer.written(length);
}

#[test]
fn stream_passes_unchanged_and_is_counted_however_it_is_split() {
    let stream = stream();
    for size in 1..=stream.len() {
        let stats = Arc::new(Connection::default());
        let mut observer = Observer::new(BytesMut::new(), true, unarmed(), stats.clone());
        let mut out = Vec::new();
        for chunk in stream.chunks(size) {
            observer.input().extend_from_slice(chunk);
            observer.process().unwrap();
            take(&mut observer, &mut out);
            assert!(observer.input.len() < 10, "only a header may wait");
        }
        assert_eq!(out, stream, "{size}");
        assert_eq!(stats.messages(Direction::ServerToClient), 3);
        assert_eq!(observer.closed(), Some(Some(4004)));
    }
}

#[test]
fn nothing_from_a_violation_on_is_passed() {
    let good = server_frame(true, Opcode::Text, b"good");
    let bad = server_frame(true, Opcode::Continuation, b"bad");
    let input = [good.as_slice(), &bad].concat();
    let mut observer = Observer::new(input.as_slice().into(), true, unarmed(), Arc::default());
    let stop = observer.process().unwrap_err();
    assert_eq!(stop, Stop::Violation(Violation::StrayContinuation));
    assert_eq!(observer.output()[0], good);
    assert!(observer.at_boundary());
}

#[test]
fn stopped_stream_ends_with_its_frame() {
    let frames = [
        server_frame(true, Opcode::Text, b"first"),
        server_frame(true, Opcode::Text, b"second"),
    ];
    let stream = frames.concat();
    let mut observer = Observer::new(
        stream.get(..4).unwrap().into(),
        true,
        unarmed(),
        Arc::default(),
    );
    observer.process().unwrap();
    assert!(!observer.at_boundary());
    observer.stop();
    observer.input().extend_from_slice(&stream[4..]);
    observer.process().unwrap();
    assert!(observer.at_boundary());
    assert_eq!(observer.output()[0], frames[0]);
}

const SECRET: &str = SECRETS[0];

fn text(text: &str) -> Said {
    Said::Message {
        text: text.as_bytes().to_vec(),
        binary: false,
        cuts: Vec::new(),
        window: None,
    }
}

/// The same in fragments, compressed, or in binary frames.
fn variants(payload: &str) -> Vec<Said> {
    let mut variants = Vec::new();
    for cuts in [vec![], vec![0, 40, 40, 90]] {
        for window in [None, Some(15), Some(9)] {
            for binary in [false, true] {
                variants.push(Said::Message {
                    text: payload.as_bytes().to_vec(),
                    binary,
                    cuts: cuts.clone(),
                    window,
                });
            }
        }
    }
    variants
}

fn timing(read: usize, rests: bool) -> Timing {
    Timing {
        reads: vec![read],
        write: read.max(3),
        rests: vec![rests],
    }
}

fn whole() -> Timing {
    timing(usize::MAX, false)
}

fn payloads(out: &[u8]) -> Vec<String> {
    let received = receive_from(Sender::Server, out);
    let texts = received.messages.into_iter().map(|seen| seen.payload);
    texts.map(|text| String::from_utf8(text).unwrap()).collect()
}

#[test]
fn armed_connection_passes_clean_messages_byte_for_byte() {
    let clean = r#"{"op":11,"d":{"nothing":"of interest","x":["sec","c2Vj"]}}"#;
    let script: Vec<_> = variants(clean)
        .into_iter()
        .chain([Said::Ping(b"secret".to_vec()), text("")])
        .collect();
    let stream: Vec<u8> = script.iter().flat_map(Said::frames).collect();
    for size in 1..=stream.len() {
        let stats = Arc::default();
        let mut observer = armed(&stats);
        let (out, result) = play(&mut observer, &stream, &timing(size, false));
        assert_eq!((out, result), (stream.clone(), Ok(())), "{size}");
        assert_eq!(stats.messages(Direction::ServerToClient), 13);
        assert_eq!(stats.redactions(), 0);
    }
}

#[test]
fn connection_without_a_written_secret_passes_identical_bytes_at_once() {
    let payload = format!(r#"{{"error":"bad token {SECRET}","t":"{}"}}"#, SECRETS[1]);
    let mut script = variants(&payload);
    script.push(Said::Ping(format!("ping {SECRET}").into_bytes()));
    let mut stream: Vec<u8> = script.iter().flat_map(Said::frames).collect();
    stream.extend(server_frame(true, Opcode::Close, b"\x0f\xa4secret-one"));
    stream.extend_from_slice(SECRET.as_bytes());
    for size in (1..50).chain([777, stream.len()]) {
        let stats = Arc::new(Connection::default());
        let mut observer = Observer::new(BytesMut::new(), true, unarmed(), stats.clone());
        let (mut out, mut taken) = (Vec::new(), 0);
        for chunk in stream.chunks(size) {
            observer.input().extend_from_slice(chunk);
            drain(&mut observer, &mut out, usize::MAX).unwrap();
            taken += chunk.len();
            assert!(taken - out.len() < 4, "only a header may wait");
        }
        assert!(out == stream, "{size}");
        assert_eq!(stats.redactions(), 0);
        assert_eq!(observer.held.capacity() + observer.scratch.capacity(), 0);
    }
}

#[test]
fn no_secret_comes_back_however_it_is_split() {
    for payload in [
        format!(r#"{{"error":"bad token {SECRET}","t":"{}"}}"#, SECRETS[1]),
        format!("plain text {SECRET} c2VjcmV0LW9uZQ== a\\\"quo\\/te+\\u00e9\\\\"),
    ] {
        let mut script = variants(&payload);
        script.insert(1, Said::Ping(format!("ping {SECRET}!").into_bytes()));
        let length = script.iter().flat_map(Said::frames).count();
        for size in 1..=length {
            check(&script, &timing(size, false));
            check(&script, &timing(size, true));
        }
    }
}

#[test]
fn long_messages_are_streamed_in_bounded_memory() {
    let filler = "nothing of interest, ".repeat(5_000);
    let payload = format!("{filler}{SECRET}{filler}{SECRET}");
    for said in variants(&payload) {
        for (read, rests) in [(1000, false), (64 * 1024, false), (5000, true)] {
            check(std::slice::from_ref(&said), &timing(read, rests));
        }
    }
    let stats = Arc::default();
    let mut observer = armed(&stats);
    let stream = text(&payload).frames();
    for chunk in stream.chunks(64 * 1024) {
        observer.input().extend_from_slice(chunk);
        drain(&mut observer, &mut Vec::new(), usize::MAX).unwrap();
        let staged = match &observer.message {
            Message::Streamed(stream) => stream.staged.capacity(),
            _ => 0,
        };
        assert!(observer.held.capacity() + observer.out.bytes.capacity() + staged < 200 * 1024);
    }
    assert_eq!(stats.redactions(), 2);
}

#[test]
fn long_compressed_message_without_a_secret_passes_byte_for_byte() {
    let said = Said::Message {
        text: "nothing of interest, ".repeat(200_000).into_bytes(),
        binary: false,
        cuts: vec![],
        window: Some(15),
    };
    let stream = said.frames();
    let (out, result) = play(&mut armed(&Arc::default()), &stream, &whole());
    assert_eq!((out, result), (stream, Ok(())));
}

#[test]
fn server_that_rests_is_not_kept_waiting() {
    let stats = Arc::default();
    let mut observer = armed(&stats);
    let mut out = Vec::new();
    for (fin, opcode, piece, seen) in [
        (false, Opcode::Text, "line one\n", "line one\n"),
        (false, Opcode::Continuation, "sec", "line one\n"),
        (false, Opcode::Continuation, "ond\n", "line one\nsecond\n"),
        (false, Opcode::Continuation, "secret-", "line one\nsecond\n"),
        (
            true,
            Opcode::Continuation,
            "one",
            "line one\nsecond\nopenshell:resolve:env:TOKEN_0",
        ),
    ] {
        observer
            .input()
            .extend_from_slice(&server_frame(fin, opcode, piece.as_bytes()));
        drain(&mut observer, &mut out, usize::MAX).unwrap();
        observer.on_rest().unwrap();
        drain(&mut observer, &mut out, usize::MAX).unwrap();
        let end = server_frame(true, Opcode::Continuation, b"");
        let so_far = if fin {
            out.clone()
        } else {
            [out.clone(), end].concat()
        };
        assert_eq!(payloads(&so_far), [seen]);
        assert!(!observer.awaits_rest());
    }
}

#[test]
fn fragment_does_not_wait_for_the_rest_of_the_next_one() {
    let mut observer = armed(&Arc::default());
    let line = server_frame(false, Opcode::Text, b"a line\n");
    let next = server_frame(true, Opcode::Continuation, b"another line");
    for begun in 1..next.len() {
        let (now, later) = next.split_at(begun);
        let mut out = Vec::new();
        observer.input().extend_from_slice(&line);
        observer.input().extend_from_slice(now);
        drain(&mut observer, &mut out, usize::MAX).unwrap();
        assert!(out.is_empty() && observer.awaits_rest(), "{begun}");
        observer.on_rest().unwrap();
        drain(&mut observer, &mut out, usize::MAX).unwrap();
        assert_eq!(out, line, "{begun}");
        observer.input().extend_from_slice(later);
        drain(&mut observer, &mut out, usize::MAX).unwrap();
        assert_eq!(payloads(&out), ["a line\nanother line"], "{begun}");
    }
}

#[test]
fn what_is_written_behind_the_servers_close_is_found_in_its_late_data() {
    let reflection = reflection();
    let lookout = Lookout::new(reflection.clone());
    let mut observer = Observer::new(BytesMut::new(), false, lookout, Arc::default());
    let mut out = Vec::new();
    let close = server_frame(true, Opcode::Close, b"\x03\xe8");
    observer.input().extend_from_slice(&close);
    observer.input().extend_from_slice(b"late ");
    drain(&mut observer, &mut out, usize::MAX).unwrap();
    reflection.note(&"NEW".parse().unwrap(), b"new-secret", b"openshell:new");
    observer.input().extend_from_slice(b"new-secret!");
    drain(&mut observer, &mut out, usize::MAX).unwrap();
    observer.end();
    drain(&mut observer, &mut out, usize::MAX).unwrap();
    assert_eq!(&out[close.len()..], b"late openshell:!");
}

#[test]
fn control_frames_keep_their_length_and_pass_between_fragments() {
    let reason = |text: &str| [b"\x0f\xa4", text.as_bytes()].concat();
    let stream = [
        server_frame(false, Opcode::Text, b"fragment "),
        server_frame(true, Opcode::Pong, format!("<{SECRET}>").as_bytes()),
        server_frame(true, Opcode::Continuation, b"end"),
        server_frame(true, Opcode::Close, &reason("bad token secret-one-lo")),
    ]
    .concat();
    let stats = Arc::default();
    let mut observer = armed(&stats);
    let (out, result) = play(&mut observer, &stream, &timing(1, false));
    assert_eq!(result, Ok(()));
    assert_eq!(out.len(), stream.len());
    let received = receive_from(Sender::Server, &out);
    assert_eq!(received.controls[0].payload, b"<openshell:>");
    let close = &received.controls[1];
    assert_eq!(close.payload, reason("bad token openshell:-lo"));
    assert_eq!(observer.closed(), Some(Some(4004)));
    assert_eq!(stats.redactions(), 2);
}

#[test]
fn secret_that_a_control_frame_cuts_off_is_overwritten() {
    let long = "the-secret-is-longer-than-what-a-close-frame-holds".repeat(3);
    let reflection = Reflection::default();
    reflection.note(&"T".parse().unwrap(), long.as_bytes(), b"placeholder");
    let lookout = Lookout::new(Arc::new(reflection));
    let mut observer = Observer::new(BytesMut::new(), false, lookout, Arc::default());
    let reason = [b"\x03\xe8no: ", long.as_bytes()].concat();
    let close = server_frame(true, Opcode::Close, &reason[..125]);
    let (out, _) = play(&mut observer, &close, &whole());
    assert_eq!(out.len(), close.len());
    let told = str::from_utf8(&out[4..]).unwrap();
    assert!(
        told.starts_with("no: ***") && !told.contains("the-secret"),
        "{told}"
    );
}

#[test]
fn what_comes_behind_a_close_is_searched_too() {
    let stream = [
        server_frame(true, Opcode::Close, b"\x03\xe8"),
        format!("late {SECRET}, data").into_bytes(),
    ]
    .concat();
    for size in 1..stream.len() {
        let (out, _) = play(&mut armed(&Arc::default()), &stream, &timing(size, false));
        assert_eq!(&out[4..], b"late openshell:, data", "{size}");
    }
}

#[test]
fn secret_that_is_written_while_a_message_comes_is_found_from_there_on() {
    let reflection = Arc::new(Reflection::default());
    let stats = Arc::default();
    let lookout = Lookout::new(reflection.clone());
    let mut observer = Observer::new(BytesMut::new(), false, lookout, Arc::clone(&stats));
    let first = server_frame(false, Opcode::Text, b"before secret-one, after secret-one.");
    let last = server_frame(true, Opcode::Continuation, b" at last secret-one");
    let (now, later) = first.split_at(20);
    let mut out = Vec::new();
    observer.input().extend_from_slice(now);
    drain(&mut observer, &mut out, usize::MAX).unwrap();
    assert_eq!(out, now);
    reflection.note(&"T".parse().unwrap(), SECRET.as_bytes(), b"placeholder");
    observer.input().extend_from_slice(later);
    observer.input().extend_from_slice(&last);
    drain(&mut observer, &mut out, 3).unwrap();
    assert_eq!(
        payloads(&out),
        ["before secret-one, after placeholde. at last placeholder"]
    );
    assert_eq!(stats.redactions(), 2);
    assert_eq!(stats.messages(Direction::ServerToClient), 1);
}

#[test]
fn secret_across_the_end_of_the_frame_that_was_coming_is_found() {
    let innocent = " secret-xy, secret-one-lo! ";
    for (cut, text) in (1..25).map(|cut| (cut, format!(" {}{innocent}", SECRETS[1]))) {
        for binary in [false, true] {
            let reflection = Arc::new(Reflection::default());
            let lookout = Lookout::new(reflection.clone());
            let mut observer = Observer::new(BytesMut::new(), false, lookout, Arc::default());
            let opcode = if binary { Opcode::Binary } else { Opcode::Text };
            let (head, tail) = text.split_at(cut);
            let stream = [
                server_frame(false, opcode, head.as_bytes()),
                server_frame(true, Opcode::Ping, b"between"),
                server_frame(true, Opcode::Continuation, tail.as_bytes()),
            ]
            .concat();
            let mut out = Vec::new();
            observer.input().extend_from_slice(&stream[..2]);
            drain(&mut observer, &mut out, usize::MAX).unwrap();
            let name = "T".parse().unwrap();
            reflection.note(&name, SECRETS[1].as_bytes(), b"openshell:resolve:env:T");
            observer.input().extend_from_slice(&stream[2..]);
            drain(&mut observer, &mut out, 3).unwrap();
            let seen = receive_from(Sender::Server, &out);
            assert!(!seen.cut_off);
            assert_eq!(seen.controls.len(), 1);
            let told = String::from_utf8(seen.messages[0].payload.clone()).unwrap();
            assert!(told.ends_with(innocent), "{cut} {told}");
            for part in SECRETS[1].as_bytes().windows(8) {
                let part = str::from_utf8(part).unwrap();
                let before = told.strip_suffix(innocent).unwrap();
                assert!(!before.contains(part), "{cut} {told}");
            }
        }
    }
}

#[test]
fn compressed_message_that_cannot_be_read_ends_an_armed_connection_only() {
    let mut compressor = Compressor::new(15);
    compressor.message(b"what the next one refers to");
    let leaning = compressor.message(b"what the next one refers to");
    let last = Compressor::new(15).flush(b"last", zlib_rs::DeflateFlush::Finish);
    for (payload, fault) in [
        (leaning, Fault::Corrupt),
        (vec![0x06], Fault::Corrupt),
        (vec![0xf2], Fault::CutOff),
        ([last.as_slice(), b"more"].concat(), Fault::Trailing),
    ] {
        let mut stream = server_frame(true, Opcode::Text, &payload);
        stream[0] |= RSV1;
        let (out, result) = play(&mut armed(&Arc::default()), &stream, &whole());
        assert_eq!((out, result), (Vec::new(), Err(Stop::Opaque(fault))));
        let mut observer = Observer::new(BytesMut::new(), true, unarmed(), Arc::default());
        let (out, result) = play(&mut observer, &stream, &whole());
        assert_eq!((out, result), (stream, Ok(())));
    }
}

#[test]
fn compressed_message_with_an_end_or_nothing_in_it_passes_byte_for_byte() {
    let last = Compressor::new(15).flush(b"last", zlib_rs::DeflateFlush::Finish);
    let ended = [last.as_slice(), &[0]].concat();
    for payload in [&[][..], &[0x00], &[0x02, 0x00], &last, &ended] {
        let mut stream = server_frame(true, Opcode::Text, payload);
        stream[0] |= RSV1;
        for mut observer in [
            armed(&Arc::default()),
            Observer::new(BytesMut::new(), true, unarmed(), Arc::default()),
        ] {
            let (out, result) = play(&mut observer, &stream, &timing(1, false));
            assert_eq!((out, result), (stream.clone(), Ok(())));
        }
    }
}

#[test]
fn stopped_stream_gives_up_what_it_holds() {
    let mut observer = armed(&Arc::default());
    let fragment = server_frame(false, Opcode::Text, b"fragment");
    observer.input().extend_from_slice(&fragment);
    observer.process().unwrap();
    observer.stop();
    observer.input().extend_from_slice(&fragment);
    observer.process().unwrap();
    assert!(observer.at_boundary());
    assert_eq!(observer.output(), [b"".as_slice(), b""]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn client_reads_what_the_oracle_says(
        script in vec(said(), 0..6),
        reads in vec(1_usize..3000, 1..4),
        write in 1_usize..3000,
        rests in vec(any::<bool>(), 1..4),
    ) {
        check(&script, &Timing { reads, write, rests });
    }
}

fn said() -> impl Strategy<Value = Said> {
    let words = prop_oneof![
        Just(SECRETS[0]),
        Just(SECRETS[1]),
        Just(SECRETS[3]),
        Just("secret"),
        Just("-one"),
        Just("ab"),
        Just("a\\\"quo\\/te+é\\\\"),
        Just("c2VjcmV0LW9uZQ"),
        Just("filler "),
        Just("{"),
        Just("\u{e9}"),
    ];
    let text = (
        vec(words, 0..12),
        1_usize..1500,
        proptest::bool::weighted(0.1),
    );
    let text = text.prop_map(|(words, repeat, long)| {
        words
            .concat()
            .repeat(if long { repeat } else { 1 })
            .into_bytes()
    });
    let ping = vec(Just(b'p'), 0..40).prop_map(Said::Ping);
    let cuts = vec(0_usize..=100, 0..5);
    let message = (text, any::<bool>(), cuts, proptest::option::of(9_u8..=15));
    let message = message.prop_map(|(text, binary, cuts, window)| Said::Message {
        // One byte alone does not tell what it is.
        cuts: if binary {
            cuts.into_iter()
                .filter(|cut| *cut > 0 && text.len() > 200)
                .collect()
        } else {
            cuts
        },
        text,
        binary,
        window,
    });
    prop_oneof![1 => ping, 4 => message]
}

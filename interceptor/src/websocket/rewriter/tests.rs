use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    script::{
        ALONE, ESCAPED, Form, PLACEHOLDER, Received, SECRET, Sent, Takeover, Timing, check,
        client_frame, drain, fragments, receive, rewriter, rules,
    },
    *,
};
use crate::{
    rewrite::{Unresolvable, document::Refusal},
    websocket::frame::{self, Violation},
};

mod binary;
mod compressed;
mod following;

fn identify(token: &str) -> String {
    format!(r#"{{"op":2,"d":{{"token":"{token}","intents":513}}}}"#)
}

fn text(payload: &str) -> Vec<u8> {
    client_frame(true, Opcode::Text, payload.as_bytes())
}

/// Pushes in pieces of `size` and takes all output at once.
fn run(rewriter: &mut Rewriter, stream: &[u8], size: usize) -> (Vec<u8>, Result<(), Stop>) {
    let mut out = Vec::new();
    for chunk in stream.chunks(size) {
        rewriter.input().extend_from_slice(chunk);
        let result = drain(rewriter, &mut out, usize::MAX);
        if result.is_err() {
            return (out, result);
        }
    }
    (out, Ok(()))
}

#[test]
fn stream_without_a_placeholder_goes_on_byte_for_byte() {
    let mut stream = Vec::new();
    stream.extend(text(r#"{"op":1,"d":null}"#));
    stream.extend(client_frame(true, Opcode::Text, b""));
    stream.extend(fragments(identify("plain").as_bytes(), &[0, 3, 3, 20]).concat());
    stream.extend(client_frame(true, Opcode::Pong, b"unasked"));
    stream.extend(client_frame(
        false,
        Opcode::Binary,
        format!("\u{8}{}", identify(PLACEHOLDER)).as_bytes(),
    ));
    stream.extend(client_frame(true, Opcode::Continuation, &[0xff; 200]));
    stream.extend(client_frame(true, Opcode::Ping, b""));
    stream.extend(text(&format!("openshell:resolve:env {PLACEHOLDER}")));
    stream.extend(client_frame(true, Opcode::Text, b"not \xff utf-8"));
    stream.extend(text(&"x".repeat(5000)));
    stream.extend(client_frame(true, Opcode::Close, b"\x0f\xa0bye"));
    stream.extend(b"late, and no frame at all");
    for size in (1..90).chain([4096, stream.len()]) {
        let stats = Arc::new(Connection::default());
        let mut rewriter = Rewriter::new(BytesMut::new(), rules(), ALONE, stats.clone());
        let (out, result) = run(&mut rewriter, &stream, size);
        result.unwrap();
        assert_eq!(out, stream, "{size}");
        assert_eq!(rewriter.closed(), Some(Some(4000)));
        assert_eq!(stats.messages(Direction::ClientToServer), 7);
        assert_eq!(stats.placeholders_passed(), 1);
        assert_eq!(stats.opaque_messages(), 1);
    }
}

#[test]
fn token_is_rewritten_wherever_the_stream_is_split() {
    let before = text("before");
    let after = client_frame(true, Opcode::Ping, b"after");
    let stream = [before.as_slice(), &text(&identify(PLACEHOLDER)), &after].concat();
    for cut in 0..stream.len() {
        let mut rewriter = rewriter();
        let (mut out, result) = run(&mut rewriter, &stream[..cut], usize::MAX);
        result.unwrap();
        out.extend(run(&mut rewriter, &stream[cut..], usize::MAX).0);
        let Received {
            messages, controls, ..
        } = receive(&out);
        assert_eq!(messages[1].payload, identify(ESCAPED).as_bytes(), "{cut}");
        assert_eq!((messages.len(), controls.len()), (2, 1));
        assert!(out.starts_with(&before) && out.ends_with(&after));
    }
}

#[test]
fn token_is_rewritten_wherever_the_message_is_fragmented() {
    let payload = identify(PLACEHOLDER);
    for one in 0..=payload.len() {
        for two in (one..=payload.len()).step_by(7) {
            let stream = fragments(payload.as_bytes(), &[one, two]).concat();
            for size in [1, 13, usize::MAX] {
                let (out, result) = run(&mut rewriter(), &stream, size);
                result.unwrap();
                let Received {
                    messages, lengths, ..
                } = receive(&out);
                assert_eq!(messages[0].payload, identify(ESCAPED).as_bytes());
                assert_eq!(lengths.len(), 1, "one new frame");
            }
        }
    }
}

#[test]
fn each_rewritten_frame_has_a_mask_of_its_own() {
    let stream = text(&identify(PLACEHOLDER)).repeat(8);
    let (out, _) = run(&mut rewriter(), &stream, usize::MAX);
    let size = out.len() / 8;
    let masks: std::collections::HashSet<_> = out.chunks(size).map(|frame| &frame[2..6]).collect();
    assert!(masks.len() > 6);
    assert!(
        !out.windows(SECRET.len())
            .any(|window| window == SECRET.as_bytes())
    );
}

#[test]
fn rewriting_keeps_its_order_under_short_writes() {
    let stream = [
        text("one"),
        text(&identify(PLACEHOLDER)),
        text("three"),
        text(&identify(PLACEHOLDER)),
        text(&identify(PLACEHOLDER)),
    ]
    .concat();
    for size in 1..40 {
        let mut rewriter = rewriter();
        rewriter.input().extend_from_slice(&stream);
        let mut out = Vec::new();
        drain(&mut rewriter, &mut out, size).unwrap();
        let Received { messages, .. } = receive(&out);
        let payloads: Vec<_> = messages
            .iter()
            .map(|m| str::from_utf8(&m.payload).unwrap())
            .collect();
        let token = identify(ESCAPED);
        assert_eq!(payloads, ["one", &token, "three", &token, &token]);
    }
}

#[test]
fn control_frames_overtake_a_held_message() {
    let frames = fragments(identify(PLACEHOLDER).as_bytes(), &[10, 30]);
    let ping = client_frame(true, Opcode::Ping, b"at once");
    let mut rewriter = rewriter();
    for frame in &frames[..2] {
        let (out, _) = run(&mut rewriter, frame, usize::MAX);
        assert_eq!(out, b"");
        let (out, _) = run(&mut rewriter, &ping, 1);
        assert_eq!(out, ping);
    }
    let (out, _) = run(&mut rewriter, &frames[2], usize::MAX);
    assert_eq!(
        receive(&out).messages[0].payload,
        identify(ESCAPED).as_bytes()
    );
}

#[test]
fn close_inside_a_held_message_goes_on_and_ends_the_rewriting() {
    let mut rewriter = rewriter();
    let (out, _) = run(&mut rewriter, &fragments(b"abc", &[2])[0], usize::MAX);
    assert_eq!(out, b"");
    let close = client_frame(true, Opcode::Close, b"\x03\xe8");
    let late = text(&identify(PLACEHOLDER));
    let (out, result) = run(
        &mut rewriter,
        &[close.as_slice(), &late].concat(),
        usize::MAX,
    );
    assert_eq!((out, result), ([close, late].concat(), Ok(())));
    assert_eq!(rewriter.closed(), Some(Some(1000)));
    assert!(!rewriter.at_boundary());
}

#[test]
fn long_message_is_streamed_in_fragments_of_some_size() {
    let filler = "x".repeat(300_000);
    let long = |token: &str| format!(r#"{{"op":2,"pad":"{filler}","d":{{"token":"{token}"}}}}"#);
    let payload = long(PLACEHOLDER);
    let ping = client_frame(true, Opcode::Ping, b"inside");
    for cuts in [
        vec![],
        vec![100, 70_000],
        (1..300).map(|n| n * 1000).collect(),
    ] {
        let mut frames = fragments(payload.as_bytes(), &cuts);
        let controls = frames.len() - 1;
        let last = frames.pop().unwrap();
        let frames = frames.iter().flat_map(|frame| [frame.as_slice(), &ping]);
        let stream = frames.chain([last.as_slice()]).collect::<Vec<_>>().concat();
        for size in [777, 4096, 16 * 1024, 64 * 1024] {
            let (out, result) = run(&mut rewriter(), &stream, size);
            result.unwrap();
            let Received {
                messages,
                controls: pings,
                lengths,
                ..
            } = receive(&out);
            assert_eq!(messages.len(), 1);
            assert!(messages[0].payload == long(ESCAPED).as_bytes());
            assert_eq!(pings.len(), controls);
            let (_, but_last) = lengths.split_last().unwrap();
            assert!(
                but_last.iter().all(|length| *length >= FRAGMENT_MIN as u64),
                "{lengths:?}"
            );
        }
    }
}

#[test]
fn message_of_exactly_the_hold_is_not_streamed() {
    for (frame_size, streamed) in [(HOLD, false), (HOLD + 1, true)] {
        let stream = text(&"y".repeat(frame_size - 8));
        assert_eq!(stream.len(), frame_size);
        let (out, _) = run(&mut rewriter(), &stream, 4096);
        assert_eq!(out != stream, streamed);
        assert_eq!(receive(&out).messages, receive(&stream).messages);
    }
}

#[test]
fn guard_may_come_after_the_field_as_far_as_the_hold_reaches() {
    let late_guard = |pad: usize| {
        let pad = "x".repeat(pad);
        format!(r#"{{"d":{{"token":"{PLACEHOLDER}"}},"op":2,"pad":"{pad}"}}"#)
    };
    let too_late = |pad: usize| {
        let pad = "x".repeat(pad);
        format!(r#"{{"d":{{"token":"{PLACEHOLDER}"}},"pad":"{pad}","op":2}}"#)
    };
    for payload in [late_guard(10), late_guard(200_000), too_late(60_000)] {
        let (out, result) = run(&mut rewriter(), &text(&payload), 5000);
        result.unwrap();
        let token = payload.replace(PLACEHOLDER, ESCAPED);
        assert!(receive(&out).messages[0].payload == token.as_bytes());
    }
    let (out, result) = run(&mut rewriter(), &text(&too_late(70_000)), 5000);
    assert_eq!(result, Err(Stop::Refused(Refusal::GuardUnseen)));
    assert_eq!(out, b"", "nothing of that message went out");
}

#[test]
fn one_endless_frame_passes_at_flat_memory() {
    const SIZE: usize = 256 * 1024 * 1024;
    let head = r#"{"op":2,"pad":""#;
    let tail = format!(r#"","d":{{"token":"{PLACEHOLDER}"}}}}"#);
    let mask = [9, 8, 7, 6];
    let chunk = vec![b'z'; 64 * 1024];
    let chunks = SIZE / chunk.len();
    let length = head.len() + chunks * chunk.len() + tail.len();

    let mut rewriter = rewriter();
    let mut offset = 0;
    let mut sent = Vec::new();
    frame::put_header(&mut sent, true, Opcode::Text, Some(mask), length);
    let (mut payload_seen, mut fragments_seen, mut end) = (0, 0, Vec::new());
    let mut out = Vec::new();
    let pieces = std::iter::once(head.as_bytes())
        .chain(std::iter::repeat_n(chunk.as_slice(), chunks))
        .chain([tail.as_bytes()]);
    for piece in pieces {
        mask::copy(mask, offset, piece, &mut sent);
        offset = (offset + piece.len()) % 4;
        rewriter.input().extend_from_slice(&sent);
        sent.clear();
        drain(&mut rewriter, &mut out, usize::MAX).unwrap();
        assert!(rewriter.buffered() < 600 * 1024, "{}", rewriter.buffered());
        let mut rest = out.as_slice();
        while let Some(header) = Header::parse(rest, Sender::Client, true).unwrap() {
            let payload = &rest[header.size..header.total()];
            payload_seen += payload.len();
            fragments_seen += 1;
            end.clear();
            mask::copy(header.mask, 0, payload, &mut end);
            rest = &rest[header.total()..];
        }
        out.clear();
    }
    assert_eq!(payload_seen, length - PLACEHOLDER.len() + ESCAPED.len());
    assert!(end.ends_with(format!(r#""d":{{"token":"{ESCAPED}"}}}}"#).as_bytes()));
    assert!(fragments_seen < 16_384);
    rewriter.relax();
    assert!(rewriter.buffered() == 0);
}

#[test]
fn million_small_messages_leave_nothing_behind() {
    let mut rewriter = rewriter();
    let stream = [text(&identify("x")), text(&identify(PLACEHOLDER))].concat();
    let mut out = Vec::new();
    for _ in 0..20_000 {
        rewriter.input().extend_from_slice(&stream);
        drain(&mut rewriter, &mut out, usize::MAX).unwrap();
        out.clear();
        assert!(rewriter.buffered() < 32 * 1024);
    }
}

#[test]
fn unresolvable_token_stops_the_stream_and_nothing_of_its_message_goes() {
    for (key, why) in [
        ("NOBODY", Unresolvable::Unavailable),
        ("OTHER", Unresolvable::BoundElsewhere),
    ] {
        let payload = identify(&format!("openshell:resolve:env:{key}"));
        let first = text("first");
        for cuts in [vec![], vec![5, 40]] {
            let stream = [first.clone(), fragments(payload.as_bytes(), &cuts).concat()].concat();
            for size in [1, 20, usize::MAX] {
                let mut rewriter = rewriter();
                let (out, result) = run(&mut rewriter, &stream, size);
                assert_eq!(result, Err(Stop::Refused(Refusal::Unresolvable(why))));
                assert_eq!(out, first);
                assert!(rewriter.at_boundary());
            }
        }
    }
}

#[test]
fn violation_stops_the_stream_behind_what_was_good() {
    let good = text("good");
    let open = &fragments(b"abcdef", &[3])[0];
    for (stream, violation) in [
        (
            client_frame(true, Opcode::Continuation, b"x"),
            Violation::StrayContinuation,
        ),
        (
            [open.as_slice(), &text("x")].concat(),
            Violation::NestedMessage,
        ),
        (vec![0xa1, 0x80, 0, 0, 0, 0], Violation::ReservedBit),
        (vec![0x91, 0x80, 0, 0, 0, 0], Violation::ReservedBit),
        (vec![0xc9, 0x80, 0, 0, 0, 0], Violation::ReservedBit),
        (
            [open.as_slice(), &[0xc0, 0x80, 0, 0, 0, 0]].concat(),
            Violation::ReservedBit,
        ),
        (vec![0x81, 0x01, b'x'], Violation::Unmasked),
        (vec![0x89, 0xfe, 0, 126], Violation::LongControl),
    ] {
        for size in [1, usize::MAX] {
            let mut rewriter = rewriter();
            let (out, result) = run(&mut rewriter, &[good.as_slice(), &stream].concat(), size);
            assert_eq!(result, Err(Stop::Violation(violation)));
            assert_eq!(out, good);
            assert!(rewriter.at_boundary());
        }
    }
}

#[test]
fn sender_that_rests_between_fragments_is_streamed() {
    let payload = format!(r#"{{"op":2,"pad":"aaaa","d":{{"token":"{PLACEHOLDER}"}},"end":[1]}}"#);
    let frames = fragments(payload.as_bytes(), &[16, 45, payload.len() - 3]);
    let mut rewriter = rewriter();
    let mut out = Vec::new();
    let mut sizes = Vec::new();
    for frame in &frames {
        assert!(!rewriter.awaits_rest());
        rewriter.input().extend_from_slice(frame);
        drain(&mut rewriter, &mut out, usize::MAX).unwrap();
        rewriter.on_rest().unwrap();
        drain(&mut rewriter, &mut out, usize::MAX).unwrap();
        sizes.push(out.len());
    }
    let Received {
        messages, lengths, ..
    } = receive(&out);
    assert_eq!(
        messages[0].payload,
        payload.replace(PLACEHOLDER, ESCAPED).as_bytes()
    );
    assert!(
        lengths.len() > 1,
        "something went on before the end: {sizes:?}"
    );
}

#[test]
fn rest_does_not_stream_what_its_guard_may_decide_yet() {
    let payload = format!(r#"{{"d":{{"token":"{PLACEHOLDER}"}},"op":2}}"#);
    let frames = fragments(payload.as_bytes(), &[payload.len() - 8]);
    let mut rewriter = rewriter();
    let mut out = Vec::new();
    rewriter.input().extend_from_slice(&frames[0]);
    drain(&mut rewriter, &mut out, usize::MAX).unwrap();
    assert!(rewriter.awaits_rest());
    rewriter.on_rest().unwrap();
    assert!(!rewriter.awaits_rest(), "asked once is enough");
    rewriter.input().extend_from_slice(&frames[1]);
    drain(&mut rewriter, &mut out, usize::MAX).unwrap();
    let token = payload.replace(PLACEHOLDER, ESCAPED);
    assert_eq!(receive(&out).messages[0].payload, token.as_bytes());
}

#[test]
fn without_rules_everything_passes_in_pieces() {
    let stats = Arc::new(Connection::default());
    let mut rewriter = Rewriter::new(BytesMut::new(), None, ALONE, stats.clone());
    let stream = [
        text(&identify(PLACEHOLDER)),
        fragments(b"abcdef", &[3]).concat(),
    ]
    .concat();
    let mut out = Vec::new();
    for (index, byte) in stream.iter().enumerate() {
        rewriter.input().extend_from_slice(&[*byte]);
        drain(&mut rewriter, &mut out, usize::MAX).unwrap();
        assert!(index < 6 + out.len(), "only a header may wait");
    }
    assert_eq!(out, stream);
    assert_eq!(stats.messages(Direction::ClientToServer), 2);
}

/// Text of which deflate makes three quarters: xorshift64 (Marsaglia 2003).
fn noise(length: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state >> 32) as u8 % 64)
    };
    let text: String = (0..length).map(|_| next()).collect();
    text.replace('\\', "_")
}

#[test]
fn a_client_that_may_only_listen_still_answers_pings() {
    let mut rewriter = Rewriter::new(BytesMut::new(), rules(), ALONE, Arc::default());
    rewriter.forbid_messages(true);
    let pong = client_frame(true, Opcode::Pong, b"here");
    rewriter.input().extend_from_slice(&pong);
    rewriter.input().extend_from_slice(&text("hello"));
    let mut out = Vec::new();
    let result = drain(&mut rewriter, &mut out, usize::MAX);
    assert_eq!(result, Err(Stop::Forbidden));
    assert_eq!(out, pong);
}

fn sent() -> impl Strategy<Value = Sent> {
    let filler = prop_oneof![
        8 => "[a-z\"\\\\{}:,]{0,30}",
        1 => (0_usize..3, 0_usize..40_000).prop_map(|(kind, size)| ["x", PLACEHOLDER, "openshell:"][kind].repeat(size / 8)),
        1 => Just("y".repeat(70_000)),
        1 => (60_000_usize..160_000).prop_map(noise),
    ];
    let tokens = select(vec![PLACEHOLDER, "openshell:resolve:env", "plain", ""]);
    let message = (
        0_u8..8,
        tokens,
        filler,
        vec(0_usize..100, 0..6),
        prop_oneof![
            8 => Just(Form::Text),
            2 => Just(Form::Binary),
            1 => Just(Form::Opaque),
        ],
        prop::bool::weighted(0.2),
        prop::option::of(8_u8..16),
    );
    prop_oneof![
        6 => message.prop_map(|(op, token, filler, cuts, form, guard_last, window)| Sent::Message {
            op,
            token: token.to_owned(),
            filler,
            cuts,
            form,
            guard_last,
            window,
        }),
        1 => vec(any::<u8>(), 0..20).prop_map(Sent::Ping),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn receiver_sees_what_an_oracle_substitutes(
        script in vec(sent(), 0..8),
        reads in vec(select(vec![1_usize, 2, 5, 17, 100, 1000, 4096, 16_384, 65_536]), 1..6),
        write in select(vec![1_usize, 3, 1000, usize::MAX]),
        rests in vec(any::<bool>(), 1..9),
        takeover in prop_oneof![Just(Takeover::None), (8_u8..16).prop_map(Takeover::Kept)],
    ) {
        check(&script, &Timing { reads, write, rests }, takeover);
    }
}

//! Heads and trailers.

use super::{
    super::head::{Instead, head, trailers},
    *,
};

fn told(raw: &str, change: Change, instead: Instead) -> (String, u64) {
    let (head, count) = head(raw.as_bytes(), &patterns(), change, instead);
    (String::from_utf8(head).unwrap(), count)
}

#[test]
fn every_value_and_the_reason_are_redacted_and_the_rest_stays_as_it_was() {
    let text = |secret: &str| {
        format!(
            "HTTP/1.1 302 See {secret}\r\nLocation:https://x.example/?t={secret}&u=1\r\nset-COOKIE:  a={secret}; Path=/ \r\n\
             X-Empty:\r\nETag: \"{secret}\"\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let stand_in = str::from_utf8(&placeholder(0)).unwrap().to_owned();
    let seen = told(&text(SECRETS[0]), Change::default(), Instead::Nothing);
    assert_eq!(seen, (text(&stand_in), 4));
    let clean = text("nothing");
    assert_eq!(
        told(&clean, Change::default(), Instead::Nothing),
        (clean, 0)
    );
}

#[test]
fn what_frames_the_message_is_never_touched() {
    let raw = format!(
        "HTTP/1.1 200 OK\r\nConnection: {0}\r\nTrailer: {0}\r\nContent-Encoding: {0}\r\n\r\n",
        SECRETS[0]
    );
    assert_eq!(told(&raw, Change::default(), Instead::Nothing), (raw, 0));
}

#[test]
fn a_field_whose_name_is_a_secret_goes() {
    let raw = format!("HTTP/1.1 200 OK\r\nX-{}: 1\r\nA: b\r\n\r\n", SECRETS[0]);
    let seen = told(&raw, Change::default(), Instead::Nothing);
    assert_eq!(seen, ("HTTP/1.1 200 OK\r\nA: b\r\n\r\n".to_owned(), 1));
}

#[test]
fn the_head_says_what_became_of_the_body() {
    let raw = "HTTP/1.1 200 OK\r\nContent-length:  20\r\nContent-Encoding: gzip\r\nDigest: x\r\nA: b\r\n\r\n";
    let cases = [
        (false, Length::Kept, raw),
        (
            false,
            Length::Exact(7),
            "HTTP/1.1 200 OK\r\nContent-length: 7\r\nContent-Encoding: gzip\r\nA: b\r\n\r\n",
        ),
        (
            true,
            Length::Exact(7),
            "HTTP/1.1 200 OK\r\nContent-length: 7\r\nA: b\r\n\r\n",
        ),
        (
            true,
            Length::Unknown,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n",
        ),
    ];
    for (decoded, length, expected) in cases {
        let change = Change { decoded, length };
        assert_eq!(told(raw, change, Instead::Chunked).0, expected);
    }
    let change = Change {
        decoded: true,
        length: Length::Unknown,
    };
    let expected = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    assert_eq!(told(raw, change, Instead::Nothing).0, expected);
}

#[test]
fn trailers_are_redacted() {
    let raw = format!("X-Sum: 1\r\nX-Echo: {}\r\n", SECRETS[1]);
    let (seen, count) = trailers(raw.as_bytes(), &patterns());
    let expected = [b"X-Sum: 1\r\nX-Echo: ", &*placeholder(1), b"\r\n"].concat();
    assert_eq!((seen, count), (expected, 1));
}

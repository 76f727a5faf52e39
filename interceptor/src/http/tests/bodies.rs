//! Secrets stand in bodies where they are bound, and framing follows.

use std::time::Duration;

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::yield_now,
    time::{sleep, timeout},
};

use super::{
    peer::{HOST, OTHER, Rig, SECRET, TOKEN, rest},
    redaction::unchunked,
};
use crate::{
    http::{
        End, HttpError,
        redaction::tests::encoders::{decode, encode},
    },
    rewrite::{
        body::HOLD,
        release::builder::{Builder, release},
    },
    stats::connection::Direction::ClientToServer,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const JSON: &str = "application/json";

fn bound() -> Builder {
    release()
        .header("TOKEN", SECRET.as_bytes(), &["authorization"])
        .cookie("TOKEN", SECRET.as_bytes(), "session")
        .json_body("TOKEN", SECRET.as_bytes(), "token")
        .form("TOKEN", SECRET.as_bytes(), "token")
        .multipart("TOKEN", SECRET.as_bytes(), "token")
        .text("TOKEN", SECRET.as_bytes(), "text/plain")
        .elsewhere("OTHER")
}

fn rig() -> Rig {
    Rig::releasing(bound())
}

/// A request with a length.
fn sized(media: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /p HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {media}\r\ncontent-length:  {length}\r\nX-A: b\r\n\r\n{body}"
    )
}

fn chunked(media: &str, chunks: &[&str], trailers: &str) -> String {
    let chunks: String = chunks
        .iter()
        .map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()))
        .collect();
    format!(
        "POST /p HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nContent-Type: {media}\r\n\r\n{chunks}0\r\n{trailers}\r\n"
    )
}

fn json(token: &str, pad: usize) -> String {
    format!("{{\"token\":\"{token}\",\"pad\":\"{}\"}}", "p".repeat(pad))
}

#[tokio::test]
async fn a_body_of_each_kind_takes_the_secret_and_gets_the_length_that_it_has() {
    let multipart = |token: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n{token}\r\n--b--\r\n")
    };
    let mut rig = rig();
    for (media, asked, expected) in [
        (JSON, json(TOKEN, 3), json(SECRET, 3)),
        (
            "application/x-www-form-urlencoded",
            format!("a=b&token={TOKEN}"),
            format!("a=b&token={SECRET}"),
        ),
        (
            "multipart/form-data; boundary=b",
            multipart(TOKEN),
            multipart(SECRET),
        ),
        ("text/plain", format!("[{TOKEN}]"), format!("[{SECRET}]")),
        (JSON, json("plain", 3), json("plain", 3)),
        ("application/xml", TOKEN.to_owned(), TOKEN.to_owned()),
    ] {
        rig.ask(sized(media, &asked)).await;
        rig.server_gets(sized(media, &expected)).await;
        rig.answer(OK).await;
        rig.client_gets(OK).await;
    }
    assert_eq!(rig.stats.facts().rewrites.values().sum::<u64>(), 4);
    assert_eq!(rig.stats.messages(ClientToServer), 6);
}

#[tokio::test]
async fn a_secret_of_several_bytes_a_character_is_counted_in_bytes() {
    let secret = "gehe\u{ef}m\u{20ac}\"";
    let mut rig = Rig::releasing(release().json_body("TOKEN", secret.as_bytes(), "token"));
    rig.ask(sized(JSON, &json(TOKEN, 0))).await;
    let spelled = secret.replace('"', "\\\"");
    rig.server_gets(sized(JSON, &json(&spelled, 0))).await;
}

#[tokio::test]
async fn head_and_body_take_secrets_together() {
    let request = |token: &str| {
        let body = json(token, 0);
        let fields = format!("Authorization: Bot {token}\r\nCookie: a=b; session={token}");
        sized(JSON, &body).replace("X-A: b", &fields)
    };
    let mut rig = rig();
    rig.ask(request(TOKEN)).await;
    rig.server_gets(request(SECRET)).await;
    assert_eq!(rig.stats.facts().rewrites.values().sum::<u64>(), 3);
}

#[tokio::test]
async fn what_a_held_head_takes_is_known_before_it_goes() {
    let body = json("plain", 0);
    let request =
        |token: &str| sized(JSON, &body).replace("X-A: b", &format!("Authorization: Bot {token}"));
    let asked = request(TOKEN);
    let (begun, rest) = asked.split_at(asked.len() - 5);
    let mut rig = rig();
    rig.ask(begun).await;
    for _ in 0..10 {
        yield_now().await;
    }
    // A reload decides by it whether the request may still go.
    assert_eq!(rig.stats.facts().rewrites.values().sum::<u64>(), 1);
    assert_eq!(rig.stats.messages(ClientToServer), 0);
    rig.ask(rest).await;
    rig.server_gets(request(SECRET)).await;
    assert_eq!(rig.stats.facts().rewrites.values().sum::<u64>(), 1);
    assert_eq!(rig.stats.messages(ClientToServer), 1);
}

#[tokio::test]
async fn a_body_arrives_the_same_when_split_at_every_byte() {
    let asked = chunked(
        JSON,
        &["{\"token\":\"opensh", "ell:resolve:env:TOKEN\"", "}"],
        "X-T: 1\r\n",
    );
    let expected = chunked(
        JSON,
        &[&format!("{{\"token\":\"{SECRET}\"}}")],
        "X-T: 1\r\n",
    );
    let mut rig = rig();
    for split in 0..=asked.len() {
        let (first, second) = asked.split_at(split);
        rig.ask(first).await;
        yield_now().await;
        rig.ask(second).await;
        rig.server_gets(&expected).await;
        rig.answer(OK).await;
        rig.client_gets(OK).await;
    }
}

#[tokio::test]
async fn pipelined_requests_stay_apart() {
    let mut rig = rig();
    let plain = format!("GET /{TOKEN} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let asked = [
        sized(JSON, &json(TOKEN, 0)),
        plain.clone(),
        sized("text/plain", TOKEN),
        sized("application/xml", TOKEN),
    ];
    let expected = [
        sized(JSON, &json(SECRET, 0)),
        plain,
        sized("text/plain", SECRET),
        sized("application/xml", TOKEN),
    ];
    rig.ask(asked.concat()).await;
    for request in expected {
        rig.server_gets(request).await;
        rig.answer(OK).await;
        rig.client_gets(OK).await;
    }
}

/// What the server reads of a request, up to the end of its body.
async fn read_request(rig: &mut Rig) -> (String, String) {
    let mut got = Vec::new();
    loop {
        let read = rig.server.read_buf(&mut got).await.unwrap();
        assert!(read > 0, "the request ended early");
        let text = std::str::from_utf8(&got).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        if let Some((_, length)) = head.split_once("content-length:  ") {
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return (head.to_owned(), body.to_owned());
            }
        } else if body.ends_with("0\r\n\r\n") {
            let mut data = String::new();
            let mut rest = body;
            while let Some((size, after)) = rest.split_once("\r\n") {
                let size = usize::from_str_radix(size, 16).unwrap();
                data.push_str(&after[..size]);
                rest = &after[size + 2..];
            }
            return (head.to_owned(), data);
        }
    }
}

#[tokio::test]
async fn a_body_longer_than_the_hold_goes_in_chunks_while_it_comes() {
    let mut rig = rig();
    let asked = sized(JSON, &json(TOKEN, 4 * HOLD));
    let (first, second) = asked.split_at(2 * HOLD);
    rig.ask(first).await;
    let mut begun = [0; 64];
    rig.server.read_exact(&mut begun).await.unwrap();
    assert!(begun.starts_with(b"POST /p HTTP/1.1"));
    let asking = async {
        rig.client
            .write_all(second.as_bytes())
            .await
            .expect("the rest is taken")
    };
    let reading = async {
        let mut got = begun.to_vec();
        while !got.ends_with(b"0\r\n\r\n") {
            rig.server.read_buf(&mut got).await.unwrap();
        }
        String::from_utf8(got).unwrap()
    };
    let ((), got) = tokio::join!(asking, reading);
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("\r\nTransfer-Encoding: chunked\r\nX-A: b"),
        "{head}"
    );
    assert!(!head.to_lowercase().contains("content-length"), "{head}");
    assert!(body.contains(SECRET) && !body.contains(TOKEN));
    rig.answer(OK).await;
    rig.client_gets(OK).await;
}

#[tokio::test]
async fn a_body_within_the_hold_gets_its_length_however_late_its_end_comes() {
    for (size, is_chunked) in [(HOLD, false), (HOLD + 2, true)] {
        let mut rig = rig();
        let pad = size - json(TOKEN, 0).len();
        let asked = sized(JSON, &json(TOKEN, pad));
        let (first, last) = asked.split_at(asked.len() - 1);
        rig.ask(first).await;
        sleep(Duration::from_millis(20)).await;
        rig.ask(last).await;
        let (head, body) = read_request(&mut rig).await;
        assert_eq!(head.contains("chunked"), is_chunked, "{head}");
        assert_eq!(body, json(SECRET, pad));
    }
}

#[tokio::test]
async fn what_cannot_go_in_is_an_answer_and_nothing_goes_to_the_server() {
    let gzip = |request: String| request.replace("X-A: b", "Content-Encoding: gzip");
    let signed = |request: String| request.replace("X-A: b", "Content-Digest: sha-256=:x:");
    let ranged = |request: String| request.replace("X-A: b", "Content-Range: bytes 0-9/20");
    let http10 = |request: String| request.replace("HTTP/1.1", "HTTP/1.0");
    let nobodys = "openshell:resolve:env:NOBODYS";
    for (request, status, error) in [
        (
            sized(JSON, &json(OTHER, 9)),
            403,
            "credential_endpoint_mismatch",
        ),
        (
            sized(JSON, &json(nobodys, 9)),
            500,
            "credential_unavailable",
        ),
        (
            chunked(JSON, &[&json(OTHER, 9)], ""),
            403,
            "credential_endpoint_mismatch",
        ),
        (gzip(sized(JSON, "xyz")), 415, "credential_body_encoded"),
        (
            sized("text/plain; charset=utf-16le", "xyz"),
            415,
            "credential_body_charset",
        ),
        (
            signed(sized(JSON, &json(TOKEN, 9))),
            403,
            "credential_body_signed",
        ),
        (
            ranged(sized("text/plain", TOKEN)),
            403,
            "credential_body_ranged",
        ),
        (
            sized("text/plain", &TOKEN.repeat(17)),
            403,
            "credential_count",
        ),
        (
            http10(sized(JSON, &json("plain", 2 * HOLD))),
            413,
            "credential_body_too_long",
        ),
        (
            chunked(JSON, &["x", "y"], "").replace("\r\ny", "\rzy"),
            400,
            "malformed_request",
        ),
    ] {
        let mut rig = rig();
        rig.ask(&request).await;
        let refused = rig.refused().await;
        assert_eq!(refused, (status, error.to_owned()), "{request:.200}");
        assert_eq!(rig.stats.messages(ClientToServer), 0, "{request:.200}");
    }
}

#[tokio::test]
async fn a_signed_body_without_a_placeholder_goes_on_byte_for_byte_however_long() {
    let mut rig = rig();
    for pad in [10, 3 * HOLD] {
        let request = sized(JSON, &json("pl\\u0061in", pad)).replace("X-A: b", "Content-MD5: x");
        rig.ask(&request).await;
        rig.server_gets(&request).await;
        rig.answer(OK).await;
        rig.client_gets(OK).await;
    }
}

#[tokio::test]
async fn a_refusal_behind_the_hold_is_an_answer_but_cuts_the_request() {
    let mut rig = rig();
    let body = format!(
        "{{\"pad\":\"{}\",\"token\":\"{OTHER}\"}}",
        "p".repeat(2 * HOLD)
    );
    let asked = sized(JSON, &body);
    let (first, last) = asked.split_at(asked.len() - 100);
    rig.ask(first).await;
    let mut begun = [0; 16];
    rig.server.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"POST /p HTTP/1.1");
    rig.ask(last).await;
    let sent = rest(&mut rig.server).await;
    assert!(!sent.ends_with("0\r\n\r\n"));
    let answer = rest(&mut rig.client).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(matches!(rig.end().await, Ok(End::Refused(_))));
}

#[tokio::test]
async fn who_expects_a_100_gets_it_before_the_body_is_sent() {
    let mut rig = rig();
    let body = json(TOKEN, 0);
    let request = sized(JSON, &body).replace("X-A: b", "Expect: 100-continue");
    let (head, _) = request.split_at(request.len() - body.len());
    rig.ask(head).await;
    let length = format!("content-length:  {}", body.len());
    rig.server_gets(head.replace(&length, "Transfer-Encoding: chunked"))
        .await;
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    rig.answer(go_on).await;
    rig.client_gets(go_on).await;
    rig.ask(&body).await;
    let body = json(SECRET, 0);
    rig.server_gets(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
        .await;
    rig.answer(OK).await;
    rig.client_gets(OK).await;
}

#[tokio::test]
async fn http_1_0_gets_the_length_of_a_body_within_the_hold() {
    let request = |token| sized(JSON, &json(token, 9)).replace("HTTP/1.1", "HTTP/1.0");
    let mut rig = rig();
    rig.ask(request(TOKEN)).await;
    rig.server_gets(request(SECRET)).await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_reaches_the_client_while_it_goes_on_sending() {
    let mut rig = rig();
    let asked = sized(JSON, &json(TOKEN, 2 * HOLD));
    let (first, second) = asked.split_at(asked.len() - 10);
    let answer = "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n";
    let Rig { client, server, .. } = &mut rig;
    let asking = client.write_all(first.as_bytes());
    let serving = async {
        let mut begun = [0; 100];
        server.read_exact(&mut begun).await.unwrap();
        server.write_all(answer.as_bytes()).await.unwrap();
        let mut sent = begun.to_vec();
        while !sent.ends_with(b"ppp\r\n") {
            server.read_buf(&mut sent).await.unwrap();
        }
    };
    let (asked, ()) = tokio::join!(asking, serving);
    asked.unwrap();
    rig.client_gets(answer).await;
    rig.ask(second).await;
    let sent = rest(&mut rig.server).await;
    assert!(sent.ends_with("0\r\n\r\n"), "{sent}");
    assert_eq!(rest(&mut rig.client).await, "");
}

#[tokio::test]
async fn a_body_that_is_cut_off_reaches_nobody() {
    let mut rig = rig();
    let asked = sized(JSON, &json(TOKEN, 10));
    rig.ask(&asked[..asked.len() - 1]).await;
    let Rig { server, .. } = &mut rig;
    yield_now().await;
    let mut seen = [0; 1];
    let waited = timeout(Duration::from_millis(20), server.read(&mut seen));
    assert!(waited.await.is_err(), "the server heard of it");
    assert!(matches!(rig.end().await, Err(HttpError::ClientCutShort)));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_in_its_body_is_given_up() {
    let mut rig = rig();
    let asked = sized(JSON, &json(TOKEN, 10));
    rig.ask(&asked[..asked.len() - 1]).await;
    let sent = rest(&mut rig.server).await;
    assert!(!sent.contains("0\r\n\r\n"), "{sent}");
    assert!(matches!(rig.end().await, Err(HttpError::BodyStalled(_))));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_the_server_in_its_body_is_not_waited_for() {
    let mut rig = rig();
    let asked = sized("text/plain", &format!("{TOKEN} and more"));
    let (first, last) = asked.split_at(asked.len() - 4);
    rig.ask(first).await;
    let head = asked.split_once("\r\n\r\n").unwrap().0;
    let length = TOKEN.len() + " and more".len();
    let head = head.replace(
        &format!("content-length:  {length}"),
        "Transfer-Encoding: chunked",
    );
    let begun = format!("{SECRET} and ");
    rig.server_gets(format!("{head}\r\n\r\n{:x}\r\n{begun}\r\n", begun.len()))
        .await;
    let hint = "HTTP/1.1 103 Early Hints\r\n\r\n";
    rig.answer(hint).await;
    rig.client_gets(hint).await;
    rig.ask(last).await;
    rig.server_gets("4\r\nmore\r\n0\r\n\r\n").await;
    rig.answer(OK).await;
    rig.client_gets(OK).await;
}

#[tokio::test]
async fn a_secret_that_is_taken_away_goes_into_no_body_that_is_under_way() {
    let asked = sized("text/plain", &format!("0123 {TOKEN}"));
    let (first, last) = asked.split_at(asked.len() - TOKEN.len());
    for revoked in [true, false] {
        let bound = release().text("TOKEN", SECRET.as_bytes(), "text/plain");
        let (mut rig, reloads) = Rig::releasing_until(bound);
        rig.ask(first).await;
        sleep(Duration::from_millis(20)).await;
        if revoked {
            reloads.revoke_secret();
        } else {
            reloads.renew(release().elsewhere("TOKEN").build());
        }
        sleep(Duration::from_millis(20)).await;
        rig.ask(last).await;
        let refused = (500, "credential_unavailable".to_owned());
        assert_eq!(rig.refused().await, refused);
    }
}

#[tokio::test]
async fn a_body_under_way_takes_the_secret_after_a_reload_that_leaves_it() {
    let asked = |token: &str| sized("text/plain", &format!("0123 {token}"));
    let bound = || release().text("TOKEN", SECRET.as_bytes(), "text/plain");
    let (mut rig, reloads) = Rig::releasing_until(bound());
    let request = asked(TOKEN);
    let (first, last) = request.split_at(request.len() - TOKEN.len());
    rig.ask(first).await;
    sleep(Duration::from_millis(20)).await;
    reloads.renew(bound().cookie("TOKEN", SECRET.as_bytes(), "a").build());
    sleep(Duration::from_millis(20)).await;
    rig.ask(last).await;
    rig.server_gets(asked(SECRET)).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_in_a_body_of_http_1_0_is_waited_out() {
    let request = |token| sized(JSON, &json(token, 9)).replace("HTTP/1.1", "HTTP/1.0");
    let mut rig = rig();
    let asked = request(TOKEN);
    let (first, last) = asked.split_at(asked.len() - 4);
    rig.ask(first).await;
    sleep(Duration::from_secs(5)).await;
    rig.ask(last).await;
    rig.server_gets(request(SECRET)).await;
}

/// The rest of a long request is sent behind the beginning of its answer.
#[tokio::test]
async fn a_secret_that_is_written_behind_an_early_answer_does_not_come_back_in_it() {
    for coding in ["identity", "gzip"] {
        let mut rig = rig();
        let asked = sized("text/plain", &format!("{} {TOKEN}", "p".repeat(2 * HOLD)));
        let (first, last) = asked.split_at(asked.len() - TOKEN.len());
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {coding}\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        rig.ask(first).await;
        let mut begun = [0; 16];
        rig.server.read_exact(&mut begun).await.unwrap();
        rig.answer(&head).await;
        rig.client_gets(&head).await;
        rig.ask(last).await;
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n0\r\n\r\n") {
            assert_ne!(rig.server.read_buf(&mut got).await.unwrap(), 0);
        }
        assert!(String::from_utf8(got).unwrap().contains(SECRET));
        let said = |secret: &str| format!("data: {secret}\n\n");
        let answer = match coding {
            "gzip" => encode("gzip", said(SECRET).as_bytes()),
            _ => said(SECRET).into_bytes(),
        };
        rig.answer(format!("{:x}\r\n", answer.len())).await;
        rig.answer(answer).await;
        rig.answer("\r\n0\r\n\r\n").await;
        let mut got = Vec::new();
        rig.client.read_to_end(&mut got).await.unwrap();
        let body = unchunked(&[b"\r\n\r\n", got.as_slice()].concat());
        let body = match coding {
            "gzip" => decode("gzip", &body),
            _ => body,
        };
        assert_eq!(String::from_utf8(body).unwrap(), said(TOKEN), "{coding}");
        assert_eq!(rig.stats.redactions(), 1, "{coding}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// However a body is chunked, split and long: the server reads one request with the secret in its place.
    #[test]
    fn framing_never_shows_in_what_the_server_reads(
        pad in prop_oneof![0usize..50, HOLD - 80..HOLD + 80],
        chunk in 1usize..40_000,
        read in 1usize..50_000,
        is_sized in any::<bool>(),
    ) {
        let body = json(TOKEN, pad);
        let request = if is_sized {
            sized(JSON, &body)
        } else {
            let chunks: Vec<&str> = body.as_bytes().chunks(chunk.max(pad / 64)).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
            chunked(JSON, &chunks, "")
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (head, got) = runtime.block_on(async {
            let mut rig = rig();
            for piece in request.as_bytes().chunks(read.max(pad / 64)) {
                rig.ask(piece).await;
                yield_now().await;
            }
            read_request(&mut rig).await
        });
        if is_sized && body.len() <= HOLD {
            prop_assert!(!head.contains("chunked"));
        }
        prop_assert_eq!(got, json(SECRET, pad));
    }
}

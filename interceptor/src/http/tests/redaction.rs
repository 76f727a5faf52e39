//! Secrets that come back are placeholders again.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::peer::{HOST, Rig, SECRET, TOKEN, rest};
use crate::http::{End, HttpError};

fn request(method: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
}

/// A relay whose server has the secret.
async fn asked(method: &str) -> Rig {
    let mut rig = Rig::new();
    rig.ask(request(method)).await;
    rig.server_gets(request(method).replace(TOKEN, SECRET))
        .await;
    rig
}

fn sized(fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

const JSON: &str = "Content-Type: application/json\r\n";
const EVENTS: &str = "Content-Type: text/event-stream\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn nothing_is_looked_at_until_something_was_written() {
    let mut rig = Rig::new();
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let response =
        format!("HTTP/1.1 200 OK\r\n{CHUNKED}5;x=y\r\nhello\r\nc\r\n{SECRET}\r\n0\r\n\r\n");
    rig.pass(&request, response).await;
    assert_eq!(rig.stats.redactions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_and_a_body_that_come_together_are_redacted_with_the_right_length() {
    let fields =
        |secret: &str| format!("{JSON}X-Echo: {secret}\r\nSet-Cookie: a={secret}; Path=/\r\n");
    let body = |secret: &str| format!("{{\"token\":\"{secret}\"}}");
    let mut rig = asked("GET").await;
    rig.answer(sized(&fields(SECRET), &body(SECRET))).await;
    rig.client_gets(sized(&fields(TOKEN), &body(TOKEN))).await;
    assert_eq!(rig.stats.redactions(), 3);
    // The connection goes on.
    rig.ask(request("GET")).await;
    rig.server_gets(request("GET").replace(TOKEN, SECRET)).await;
    rig.answer(sized("", "clean")).await;
    rig.client_gets(sized("", "clean")).await;
    assert_eq!(rig.stats.redactions(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_late_keeps_its_length() {
    let response = |token: &str| sized(JSON, &format!("{{\"token\":\"{token}\"}}"));
    let answer = response(SECRET);
    let (head, body) = answer.split_at(answer.len() - 12);
    let mut rig = asked("GET").await;
    rig.answer(head).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.answer(body).await;
    // The first of it had come with the head, and does not wait so long.
    let overlaid = format!("{}{}", &SECRET[..2], &TOKEN[2..SECRET.len()]);
    rig.client_gets(response(&overlaid)).await;
}

#[tokio::test(start_paused = true)]
async fn chunks_and_trailers_are_redacted() {
    let mut rig = asked("GET").await;
    let (before, after) = SECRET.split_at(5);
    rig.answer(format!(
        "HTTP/1.1 200 OK\r\n{JSON}{CHUNKED}8;x=y\r\na: {before}\r\n{:x}\r\n{after}\r\n0\r\nX-Sum: {SECRET}\r\n\r\n",
        after.len()
    ))
    .await;
    let head = format!("HTTP/1.1 200 OK\r\n{JSON}{CHUNKED}");
    let size = format!("{:x}", 3 + TOKEN.len());
    rig.client_gets(format!(
        "{head}{size}\r\na: {TOKEN}\r\n0\r\nX-Sum: {TOKEN}\r\n\r\n"
    ))
    .await;
    assert_eq!(rig.stats.redactions(), 2);
}

#[tokio::test(start_paused = true)]
async fn interim_heads_are_redacted() {
    let mut rig = asked("GET").await;
    let interim = |secret: &str| format!("HTTP/1.1 103 Early\r\nLink: </{secret}>\r\n\r\n");
    rig.answer(interim(SECRET)).await;
    rig.client_gets(interim(TOKEN)).await;
    rig.answer(sized("", "")).await;
    rig.client_gets(sized("", "")).await;
}

#[tokio::test(start_paused = true)]
async fn a_response_to_head_keeps_its_length() {
    let head = |secret: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Encoding: gzip\r\nX-Echo: {secret}\r\n\r\n"
        )
    };
    let mut rig = asked("HEAD").await;
    rig.answer(head(SECRET)).await;
    rig.client_gets(head(TOKEN)).await;
    let mut rig = asked("GET").await;
    let unchanged = |secret: &str| head(secret).replace("200 OK", "304 Not Modified");
    rig.answer(unchanged(SECRET)).await;
    rig.client_gets(unchanged(TOKEN)).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_until_close_is_redacted_to_its_end() {
    let mut rig = asked("GET").await;
    let head = format!("HTTP/1.0 200 OK\r\n{JSON}\r\n");
    // Its end could be the beginning of a secret.
    let end = SECRET.split_at(6).0;
    rig.answer(format!("{head}{SECRET} {end}")).await;
    tokio::io::AsyncWriteExt::shutdown(&mut rig.server)
        .await
        .unwrap();
    assert_eq!(rest(&mut rig.client).await, format!("{head}{TOKEN} {end}"));
}

#[tokio::test(start_paused = true)]
async fn an_event_is_not_delayed() {
    let mut rig = asked("GET").await;
    let start = Instant::now();
    let head = format!("HTTP/1.1 200 OK\r\n{EVENTS}{CHUNKED}");
    rig.answer(&head).await;
    rig.client_gets(&head).await;
    for n in 0..50 {
        let event = format!("data: {n}\n\n");
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        rig.answer(&chunk).await;
        rig.client_gets(&chunk).await;
    }
    // One that could go on as a secret waits a little.
    assert_eq!(start.elapsed(), Duration::ZERO);
    let begun = format!("4\r\n{}\r\n", SECRET.split_at(4).0);
    rig.answer(&begun).await;
    rig.client_gets(&begun).await;
    assert!(start.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cuts_a_body_is_not_made_to_look_as_if_it_had_not() {
    let mut rig = asked("GET").await;
    rig.answer(format!(
        "HTTP/1.1 200 OK\r\n{JSON}{CHUNKED}c\r\n{SECRET}\r\n"
    ))
    .await;
    rig.client_gets(format!(
        "HTTP/1.1 200 OK\r\n{JSON}{CHUNKED}{:x}\r\n{TOKEN}\r\n",
        TOKEN.len()
    ))
    .await;
    tokio::io::AsyncWriteExt::shutdown(&mut rig.server)
        .await
        .unwrap();
    rig.client_ends_with("").await;
    assert!(matches!(rig.end().await, Err(HttpError::UpstreamCutShort)));
}

#[tokio::test(start_paused = true)]
async fn all_that_came_of_a_body_goes_before_its_cut() {
    let begun = format!("{{\"token\":\"{}", &SECRET[..6]);
    let size = begun.len();
    for (framed, expected) in [
        // The head waits for the rest of a short body.
        (
            format!("Content-Length: 1000\r\n\r\n{begun}"),
            format!("Content-Length: 1000\r\n\r\n{begun}"),
        ),
        // What could go on as a secret waits as well.
        (
            format!("{CHUNKED}{size:x}\r\n{begun}\r\n"),
            format!(
                "{CHUNKED}{:x}\r\n{}\r\n6\r\n{}\r\n",
                size - 6,
                &begun[..size - 6],
                &SECRET[..6]
            ),
        ),
    ] {
        let mut rig = asked("GET").await;
        let head = format!("HTTP/1.1 200 OK\r\n{JSON}");
        rig.answer(format!("{head}{framed}")).await;
        tokio::io::AsyncWriteExt::shutdown(&mut rig.server)
            .await
            .unwrap();
        rig.client_ends_with(&format!("{head}{expected}")).await;
        assert!(matches!(rig.end().await, Err(HttpError::UpstreamCutShort)));
    }
}

fn compressed(texts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut deflate = zlib_rs::Deflate::new(6, true, 15);
    let flush = zlib_rs::DeflateFlush::SyncFlush;
    let mut out: Vec<Vec<u8>> = Vec::new();
    for text in texts {
        let mut room = vec![0; 4096];
        let before = deflate.total_out();
        deflate.compress(text, &mut room, flush).unwrap();
        room.truncate((deflate.total_out() - before) as usize);
        out.push(room);
    }
    let mut room = vec![0; 64];
    let before = deflate.total_out();
    deflate
        .compress(b"", &mut room, zlib_rs::DeflateFlush::Finish)
        .unwrap();
    room.truncate((deflate.total_out() - before) as usize);
    out.push(room);
    out
}

#[tokio::test(start_paused = true)]
async fn a_short_coded_body_loses_its_coding_with_its_secret() {
    let text = format!("{{\"token\":\"{SECRET}\"}}");
    let body = compressed(&[text.as_bytes()]).concat();
    let mut rig = asked("GET").await;
    let head = format!(
        "HTTP/1.1 200 OK\r\n{JSON}Content-Encoding: deflate\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    rig.answer([head.as_bytes(), &body].concat()).await;
    rig.client_gets(sized(JSON, &text.replace(SECRET, TOKEN)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_coded_stream_goes_on_behind_a_secret() {
    let texts: [&[u8]; 3] = [b"data: clean\n\n", SECRET.as_bytes(), b"\n\n"];
    let mut rig = asked("GET").await;
    rig.answer(format!(
        "HTTP/1.1 200 OK\r\n{EVENTS}Content-Encoding: deflate\r\n{CHUNKED}"
    ))
    .await;
    for piece in compressed(&texts) {
        rig.answer(format!("{:x}\r\n", piece.len())).await;
        rig.answer(piece).await;
        rig.answer("\r\n").await;
    }
    rig.answer("0\r\n\r\n").await;
    rig.ask(format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    ))
    .await;
    rig.server_gets(format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    ))
    .await;
    rig.answer("HTTP/1.1 204 X\r\n\r\n").await;
    let mut got = Vec::new();
    let all = tokio::io::AsyncReadExt::read_to_end(&mut rig.client, &mut got);
    timeout(Duration::from_secs(5), all).await.unwrap().unwrap();
    assert!(got.ends_with(b"\r\n0\r\n\r\nHTTP/1.1 204 X\r\n\r\n"));
    let body = unchunked(&got);
    let mut text = vec![0; 4096];
    let config = zlib_rs::InflateConfig { window_bits: 15 };
    let (text, code) = zlib_rs::decompress_slice(&mut text, &body, config);
    assert_eq!(code, zlib_rs::ReturnCode::Ok);
    assert_eq!(
        String::from_utf8_lossy(text),
        format!("data: clean\n\n{TOKEN}\n\n")
    );
    assert_eq!(rig.stats.redactions(), 1);
}

/// The body of a response.
pub(super) fn unchunked(response: &[u8]) -> Vec<u8> {
    let at = response
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let mut rest = &response[at + 4..];
    let mut body = Vec::new();
    loop {
        let end = rest.iter().position(|byte| *byte == b'\r').unwrap();
        let size = usize::from_str_radix(str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_out_any_more_cuts_the_response() {
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    let mut flushed = |text: &str| {
        std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
        std::io::Write::flush(&mut writer).unwrap();
        let data = std::mem::take(writer.get_mut());
        [format!("{:x}\r\n", data.len()).as_bytes(), &data, b"\r\n"].concat()
    };
    let mut rig = asked("GET").await;
    let head = format!("HTTP/1.1 200 OK\r\n{EVENTS}Content-Encoding: br\r\n{CHUNKED}");
    let first = [head.as_bytes(), &flushed("data: clean\n\n")].concat();
    rig.answer(&first).await;
    rig.client_gets(&first).await;
    rig.answer(flushed(SECRET)).await;
    rig.client_ends_with("").await;
    match rig.end().await.unwrap() {
        End::Refused(refusal) => assert_eq!(refusal.code(), "secret_reflected"),
        other => panic!("{other:?}"),
    }
}

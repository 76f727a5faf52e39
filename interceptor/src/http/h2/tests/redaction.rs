//! Secrets that come back are placeholders again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{Reason, SendStream, client::ResponseFuture};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::time::{Instant, timeout};

use super::{
    super::{SEND_BUFFER, SERVER_WINDOW},
    bodies::write,
    peer::{Asked, Rig, all, get, noting, post},
    pressure::{fill, long_bodies_pass},
};
use crate::{
    http::{
        redaction::tests::encoders::{decode, encode},
        tests::peer::{SECRET, TOKEN, release},
    },
    policy::Judgement,
    rewrite::{body::HOLD, reflection::Reflection, release::builder},
};

fn request(method: Method) -> Request<()> {
    let mut request = get("/");
    *request.method_mut() = method;
    let value = format!("Bearer {TOKEN}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

/// A request whose server has got the secret.
async fn asked(rig: &mut Rig) -> (ResponseFuture, Asked) {
    let response = rig.ask(request(Method::GET)).await;
    let asked = rig.asked().await;
    let value = &asked.request.headers()["authorization"];
    assert_eq!(value, &format!("Bearer {SECRET}"));
    (response, asked)
}

fn head(fields: &[(&'static str, &str)]) -> Response<()> {
    let mut response = Response::new(());
    for (name, value) in fields {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

fn events() -> Response<()> {
    head(&[("content-type", "text/event-stream")])
}

fn trailers(value: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", value.parse().unwrap());
    trailers
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Begins the answer with `head`.
fn begin(asked: &mut Asked, head: Response<()>) -> SendStream<Bytes> {
    asked.respond.send_response(head, false).unwrap()
}

/// The whole answer.
async fn read(response: ResponseFuture) -> (http::response::Parts, String) {
    let (head, mut body) = response.await.unwrap().into_parts();
    let body = all(&mut body).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_looked_at_until_something_was_written() {
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/")).await;
    let mut asked = rig.asked().await;
    let mut body = begin(&mut asked, head(&[("x-echo", SECRET)]));
    body.send_data(text(SECRET), true).unwrap();
    let (head, body) = read(response).await;
    assert_eq!(head.headers["x-echo"], SECRET);
    assert_eq!(body, SECRET);
    assert_eq!(rig.stats.redactions(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_looked_at_where_the_policy_wants_it_so() {
    let (mut exchange, shutdown, denied) = noting(Box::new(|_| Judgement::Allow));
    exchange.release = Arc::new(release().noted_in(&Arc::new(Reflection::off())));
    let mut rig = Rig::of((exchange, shutdown, denied), |_| {}).await;
    let (response, mut asked) = asked(&mut rig).await;
    let mut body = begin(&mut asked, events());
    body.send_data(text(SECRET), true).unwrap();
    assert_eq!(read(response).await.1, SECRET);
}

#[tokio::test(start_paused = true)]
async fn heads_bodies_and_trailers_are_redacted_and_lengths_are_right() {
    let body = |secret: &str| format!("{{\"token\":\"{secret}\"}}");
    let mut rig = Rig::new().await;
    let (mut response, mut asked) = asked(&mut rig).await;
    let mut hint = head(&[("link", SECRET)]);
    *hint.status_mut() = StatusCode::EARLY_HINTS;
    asked.respond.send_informational(hint).unwrap();
    let length = body(SECRET).len().to_string();
    let answer = head(&[
        ("content-type", "application/json"),
        ("content-length", &length),
        ("x-echo", SECRET),
        ("content-md5", "x"),
    ]);
    let mut download = begin(&mut asked, answer);
    download.send_data(text(&body(SECRET)), false).unwrap();
    download.send_trailers(trailers(SECRET)).unwrap();

    let hint = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
    assert_eq!(hint.unwrap().unwrap().headers()["link"], TOKEN);
    let (head, mut got) = response.await.unwrap().into_parts();
    let length = body(TOKEN).len().to_string();
    assert_eq!(head.headers["content-length"], length);
    assert_eq!(head.headers["x-echo"], TOKEN);
    assert!(!head.headers.contains_key("content-md5"));
    assert_eq!(all(&mut got).await.unwrap(), body(TOKEN).as_bytes());
    assert_eq!(got.trailers().await.unwrap(), Some(trailers(TOKEN)));
    assert_eq!(rig.stats.redactions(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_head_without_a_body_is_redacted_and_keeps_its_length() {
    let mut rig = Rig::new().await;
    let response = rig.ask(request(Method::HEAD)).await;
    let mut asked = rig.asked().await;
    let answer = head(&[("content-length", "99"), ("x-echo", SECRET)]);
    asked.respond.send_response(answer, true).unwrap();
    let (head, body) = read(response).await;
    assert_eq!(head.headers["content-length"], "99");
    assert_eq!(head.headers["x-echo"], TOKEN);
    assert_eq!(body, "");
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_seen_when_split_at_every_byte() {
    let body = |secret: &str| format!("data: {secret}\n\n");
    let mut rig = Rig::new().await;
    for split in 0..=body(SECRET).len() {
        let (response, mut asked) = asked(&mut rig).await;
        let body_text = body(SECRET);
        let (first, second) = body_text.split_at(split);
        let mut download = begin(&mut asked, events());
        download.send_data(text(first), false).unwrap();
        tokio::task::yield_now().await;
        download.send_data(Bytes::new(), false).unwrap();
        download.send_data(text(second), split % 2 == 0).unwrap();
        if split % 2 == 1 {
            download.send_trailers(trailers("x")).unwrap();
        }
        assert_eq!(read(response).await.1, body(TOKEN), "split at {split}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_no_other() {
    let mut rig = Rig::new().await;
    let (response, mut asked) = asked(&mut rig).await;
    let begun = Instant::now();
    let mut download = begin(&mut asked, events());
    let mut body = response.await.unwrap().into_body();
    for number in 0..10 {
        let event = format!("data: {number} {SECRET}\n\n");
        download.send_data(text(&event), false).unwrap();
        let got = body.data().await.unwrap().unwrap();
        assert_eq!(got, event.replace(SECRET, TOKEN));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // What could be the beginning of a secret waits for what comes, but not for long.
    download.send_data(text("s3cr"), false).unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "s3cr");
    assert!(begun.elapsed() <= Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_compressed_body_passes_as_it_came_or_without_its_coding() {
    let mut rig = Rig::new().await;
    for secret in ["nothing", SECRET] {
        let (response, mut asked) = asked(&mut rig).await;
        let plain = format!("{{\"token\":\"{secret}\"}}");
        let body = Bytes::from(encode("gzip", plain.as_bytes()));
        let length = body.len().to_string();
        let answer = head(&[
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
            ("content-length", &length),
        ]);
        let mut download = begin(&mut asked, answer);
        download.send_data(body.clone(), true).unwrap();
        let (head, mut got) = response.await.unwrap().into_parts();
        let got = all(&mut got).await.unwrap();
        assert_eq!(head.headers["content-length"], got.len().to_string());
        if secret == SECRET {
            assert!(!head.headers.contains_key("content-encoding"));
            assert_eq!(got, plain.replace(SECRET, TOKEN).as_bytes());
        } else {
            assert_eq!(head.headers["content-encoding"], "gzip");
            assert_eq!(got, body);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_secret_cannot_be_taken_out_is_reset() {
    let mut rig = Rig::new().await;
    let (response, mut asked) = asked(&mut rig).await;
    // More than is held, however well it is compressed.
    let long = (0..40_000u32).map(|number| number.wrapping_mul(0x9e37_79b9).to_string());
    let long = long.collect::<String>() + SECRET;
    let body = Bytes::from(encode("br", long.as_bytes()));
    assert!(body.len() > 128 * 1024);
    let fields = [
        ("content-type", "application/json"),
        ("content-encoding", "br"),
    ];
    let mut download = begin(&mut asked, head(&fields));
    download.send_data(body, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let error = all(&mut body).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    rig.pass(get("/")).await;
    assert_eq!(*rig.denied.lock().unwrap(), ["secret_reflected"]);
}

/// One stream is subscribed to, and what is asked on another is answered there.
#[tokio::test(start_paused = true)]
async fn what_is_written_on_one_stream_is_seen_on_another_that_has_begun() {
    let said = |secret: &str| format!("data: {secret}\n\n");
    let first = "data: hello\n\n";
    for sized in [false, true] {
        let mut rig = Rig::new().await;
        let response = rig.ask(get("/events")).await;
        let mut subscribed = rig.asked().await;
        let mut answer = events();
        let length = first.len() + said(SECRET).len();
        if sized {
            let length = length.to_string().parse().unwrap();
            answer.headers_mut().insert("content-length", length);
        }
        let mut download = begin(&mut subscribed, answer);
        let mut body = response.await.unwrap().into_body();
        download.send_data(text(first), false).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), first);
        let (_response, _asked) = asked(&mut rig).await;
        download.send_data(text(&said(SECRET)), true).unwrap();
        let got = String::from_utf8(all(&mut body).await.unwrap()).unwrap();
        // A length that was told is kept.
        let shown = if sized { &TOKEN[..SECRET.len()] } else { TOKEN };
        assert_eq!(got, said(shown));
    }
}

#[tokio::test(start_paused = true)]
async fn a_coded_body_that_has_begun_when_something_is_written_stays_as_it_is_to_its_end() {
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/events")).await;
    let mut subscribed = rig.asked().await;
    let mut answer = events();
    let coding = "gzip".parse().unwrap();
    answer.headers_mut().insert("content-encoding", coding);
    let mut download = begin(&mut subscribed, answer);
    let mut body = response.await.unwrap().into_body();
    let (_response, _asked) = asked(&mut rig).await;
    // Whatever it is that stands in the middle of it.
    for last in [false, false, true] {
        download.send_data(text(SECRET), last).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), SECRET);
    }
    assert_eq!(rig.stats.opaque_messages(), 1);
    assert_eq!(rig.stats.redactions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_torn_answer_stays_torn_behind_all_that_came_of_it() {
    let mut rig = Rig::new().await;
    let texts = [&["hello "][..], &["hello ", &SECRET[..4]]];
    for (length, parts) in texts
        .map(|parts| [(None, parts), (Some("1000"), parts)])
        .concat()
    {
        let (response, mut asked) = asked(&mut rig).await;
        let mut answer = head(&[("content-type", "text/plain")]);
        if let Some(length) = length {
            let length = length.parse().unwrap();
            answer.headers_mut().insert("content-length", length);
        }
        let mut download = begin(&mut asked, answer);
        download.send_data(text(&parts.concat()), false).unwrap();
        tokio::task::yield_now().await;
        download.send_reset(Reason::ENHANCE_YOUR_CALM);
        let mut body = response.await.unwrap().into_body();
        for part in parts {
            assert_eq!(body.data().await.unwrap().unwrap(), *part);
        }
        let error = body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_another_length_than_told_is_no_answer() {
    let mut rig = Rig::new().await;
    let (response, mut asked) = asked(&mut rig).await;
    let answer = head(&[("content-type", "text/plain"), ("content-length", "9")]);
    let mut download = begin(&mut asked, answer);
    download.send_data(text("hello"), true).unwrap();
    let refused = super::peer::refusal(response.await.unwrap()).await;
    assert_eq!(refused, (502, "malformed_response".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_stops_a_server_whose_answer_is_looked_through() {
    let mut rig = Rig::new().await;
    let (response, mut asked) = asked(&mut rig).await;
    let mut download = begin(&mut asked, head(&[]));
    let mut body = response.await.unwrap().into_body();
    let sent = fill(&mut download).await;
    let most = SERVER_WINDOW as usize + 65_535 + SEND_BUFFER;
    assert!(sent <= most, "{sent} bytes of at most {most}");
    rig.pass(get("/")).await;
    download.send_data(Bytes::new(), true).unwrap();
    assert_eq!(all(&mut body).await.unwrap().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn long_bodies_pass_whole_where_secrets_are_looked_for() {
    let mut rig = Rig::new().await;
    rig.pass(request(Method::GET)).await;
    let passing = long_bodies_pass(&mut rig, post());
    timeout(Duration::from_secs(30), passing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_request_back_is_heard_while_the_head_is_held() {
    let mut rig = Rig::new().await;
    let (response, mut asked) = asked(&mut rig).await;
    let answer = head(&[("content-type", "text/plain"), ("content-length", "9")]);
    let mut download = begin(&mut asked, answer);
    drop(response);
    assert_eq!(super::peer::reset(&mut download).await, Reason::CANCEL);
}

/// The rest of a long request is sent behind the beginning of its answer.
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_written_behind_an_early_answer_does_not_come_back_in_it() {
    for coding in ["identity", "gzip"] {
        let release = builder::release().json_body("TOKEN", SECRET.as_bytes(), "token");
        let mut rig = Rig::releasing(release).await;
        let mut request = post();
        let media = "application/json".parse().unwrap();
        request.headers_mut().insert("content-type", media);
        let (response, mut upload) = rig.begin(request).await;
        let pad = format!("{{\"pad\":\"{}\",\"token\":\"", "p".repeat(HOLD + 1));
        write(&mut upload, &pad, false).await;
        let mut asked = rig.asked().await;
        let mut answer = events();
        let value = coding.parse().unwrap();
        answer.headers_mut().insert("content-encoding", value);
        let mut download = begin(&mut asked, answer);
        let mut body = response.await.unwrap().into_body();
        write(&mut upload, &format!("{TOKEN}\"}}"), true).await;
        let asked = all(asked.request.body_mut()).await.unwrap();
        assert!(String::from_utf8(asked).unwrap().contains(SECRET));
        let said = |secret: &str| format!("data: {secret}\n\n");
        let answer = match coding {
            "gzip" => encode("gzip", said(SECRET).as_bytes()),
            _ => said(SECRET).into_bytes(),
        };
        download.send_data(answer.into(), true).unwrap();
        let got = all(&mut body).await.unwrap();
        let got = match coding {
            "gzip" => decode("gzip", &got),
            _ => got,
        };
        assert_eq!(String::from_utf8(got).unwrap(), said(TOKEN), "{coding}");
        assert_eq!(rig.stats.redactions(), 1, "{coding}");
    }
}

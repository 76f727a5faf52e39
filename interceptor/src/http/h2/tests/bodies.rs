//! Secrets stand in bodies where they are bound, and lengths follow.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use tokio::time::timeout;

use super::{
    super::{CLIENT_WINDOW, CLIENT_WINDOWS, SEND_BUFFER},
    peer::{Asked, Rig, all, get, post, refusal, reset},
    pressure::{fill, long_bodies_pass},
};
use crate::{
    http::tests::peer::{OTHER, SECRET, TOKEN},
    policy::binding::Unbound,
    rewrite::{
        body::HOLD,
        release::builder::{Builder, release},
    },
    stats::connection::Direction::ClientToServer,
};

const JSON: &str = "application/json";

fn bound() -> Builder {
    release()
        .header("TOKEN", SECRET.as_bytes(), &["authorization"])
        .json_body("TOKEN", SECRET.as_bytes(), "token")
        .form("TOKEN", SECRET.as_bytes(), "token")
        .multipart("TOKEN", SECRET.as_bytes(), "token")
        .text("TOKEN", SECRET.as_bytes(), "text/plain")
        .elsewhere("OTHER")
}

async fn rig() -> Rig {
    Rig::releasing(bound()).await
}

fn with(fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = post();
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// A request with a length.
fn sized(media: &str, length: usize) -> Request<()> {
    with(&[
        ("content-type", media),
        ("content-length", &length.to_string()),
    ])
}

fn json(token: &str, pad: usize) -> String {
    format!("{{\"token\":\"{token}\",\"pad\":\"{}\"}}", "p".repeat(pad))
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn length(asked: &Asked) -> Option<usize> {
    let length = asked.request.headers().get("content-length")?;
    Some(length.to_str().unwrap().parse().unwrap())
}

/// The whole body of a request, as text.
async fn read(body: &mut RecvStream) -> String {
    String::from_utf8(all(body).await.unwrap()).unwrap()
}

/// Sends all of `data`, as there is room.
pub(super) async fn write(to: &mut SendStream<Bytes>, data: &str, last: bool) {
    let mut data = text(data);
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        let room = poll_fn(|cx| to.poll_capacity(cx)).await.unwrap().unwrap();
        let part = data.split_to(room.min(data.len()));
        to.send_data(part, last && data.is_empty()).unwrap();
    }
}

/// Lets everybody do what can be done.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test]
async fn a_body_of_each_kind_takes_the_secret_and_gets_the_length_that_it_has() {
    let multipart = |token: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n{token}\r\n--b--\r\n")
    };
    let mut rig = rig().await;
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
        for told in [true, false] {
            let request = if told {
                sized(media, asked.len())
            } else {
                with(&[("content-type", media)])
            };
            let (_response, mut upload) = rig.begin(request).await;
            upload.send_data(text(&asked), true).unwrap();
            let mut asked = rig.asked().await;
            assert_eq!(length(&asked), told.then_some(expected.len()), "{media}");
            assert_eq!(read(asked.request.body_mut()).await, expected);
        }
    }
    assert_eq!(rig.stats.facts().rewrites.values().sum::<u64>(), 8);
    assert_eq!(rig.stats.messages(ClientToServer), 12);
}

#[tokio::test]
async fn head_and_body_take_secrets_together() {
    let mut rig = rig().await;
    let bearer = format!("Bearer {TOKEN}");
    let request = with(&[("content-type", JSON), ("authorization", &bearer)]);
    let (_response, mut upload) = rig.begin(request).await;
    upload.send_data(text(&json(TOKEN, 0)), true).unwrap();
    let mut asked = rig.asked().await;
    let authorization = &asked.request.headers()["authorization"];
    assert_eq!(authorization, &format!("Bearer {SECRET}"));
    assert_eq!(read(asked.request.body_mut()).await, json(SECRET, 0));

    // Sixteen in all.
    let request = with(&[("content-type", "text/plain"), ("authorization", &bearer)]);
    let (response, mut upload) = rig.begin(request).await;
    upload.send_data(text(&TOKEN.repeat(16)), true).unwrap();
    let refused = refusal(response.await.unwrap()).await;
    assert_eq!(refused, (403, "credential_count".to_owned()));
}

#[tokio::test]
async fn a_body_arrives_the_same_when_split_at_every_byte() {
    let (asked, expected) = (json(TOKEN, 0), json(SECRET, 0));
    let mut rig = rig().await;
    for split in 0..=asked.len() {
        let (first, second) = asked.split_at(split);
        let request = sized(JSON, asked.len());
        let (_response, mut upload) = rig.begin(request).await;
        upload.send_data(text(first), false).unwrap();
        upload.send_data(Bytes::new(), false).unwrap();
        tokio::task::yield_now().await;
        upload.send_data(text(second), split % 2 == 0).unwrap();
        if split % 2 == 1 {
            upload.send_data(Bytes::new(), true).unwrap();
        }
        let mut asked = rig.asked().await;
        assert_eq!(length(&asked), Some(expected.len()));
        let got = read(asked.request.body_mut()).await;
        assert_eq!(got, expected, "split at {split}");
    }
}

#[tokio::test]
async fn a_body_longer_than_the_hold_goes_without_a_length_while_it_comes() {
    let mut rig = rig().await;
    let body = json(TOKEN, 4 * HOLD);
    let (first, second) = body.split_at(2 * HOLD);
    let (_response, mut upload) = rig.begin(sized(JSON, body.len())).await;
    write(&mut upload, first, false).await;
    let mut asked = rig.asked().await;
    assert_eq!(length(&asked), None);
    let begun = asked.request.body_mut().data().await.unwrap().unwrap();
    let flow = asked.request.body_mut().flow_control();
    flow.release_capacity(begun.len()).unwrap();
    assert!(begun.starts_with(format!("{{\"token\":\"{SECRET}").as_bytes()));
    let (rest, ()) = tokio::join!(
        read(asked.request.body_mut()),
        write(&mut upload, second, true)
    );
    assert_eq!(begun.len() + rest.len(), json(SECRET, 4 * HOLD).len());
    assert!(rest.ends_with("pp\"}"));
}

#[tokio::test]
async fn a_body_within_the_hold_gets_its_length_however_late_its_end_comes() {
    for (size, whole) in [(HOLD, true), (HOLD + 2, false)] {
        let mut rig = rig().await;
        let body = json(TOKEN, size - json(TOKEN, 0).len());
        let (first, last) = body.split_at(size - 1);
        let (_response, mut upload) = rig.begin(sized(JSON, size)).await;
        write(&mut upload, first, false).await;
        settle().await;
        write(&mut upload, last, true).await;
        let mut asked = rig.asked().await;
        assert_eq!(length(&asked).is_some(), whole);
        let got = read(asked.request.body_mut()).await;
        assert_eq!(got, json(SECRET, size - json(TOKEN, 0).len()));
    }
}

#[tokio::test]
async fn what_cannot_go_in_is_an_answer_and_nothing_goes_to_the_server() {
    let nobodys = "openshell:resolve:env:NOBODYS";
    let mut rig = rig().await;
    for (fields, body, status, error) in [
        (
            &[("content-type", JSON)][..],
            json(OTHER, 9),
            403,
            "credential_endpoint_mismatch",
        ),
        (
            &[("content-type", JSON)],
            json(nobodys, 9),
            500,
            "credential_unavailable",
        ),
        (
            &[("content-type", JSON), ("content-encoding", "gzip")],
            "xyz".into(),
            415,
            "credential_body_encoded",
        ),
        (
            &[("content-type", "text/plain; charset=utf-16le")],
            "xyz".into(),
            415,
            "credential_body_charset",
        ),
        (
            &[("content-type", JSON), ("content-digest", "sha-256=:x:")],
            json(TOKEN, 9),
            403,
            "credential_body_signed",
        ),
        (
            &[
                ("content-type", "text/plain"),
                ("content-range", "bytes 0-9/20"),
            ],
            TOKEN.into(),
            403,
            "credential_body_ranged",
        ),
        (
            &[("content-type", "text/plain")],
            TOKEN.repeat(17),
            403,
            "credential_count",
        ),
    ] {
        for last in [true, false] {
            let (response, mut upload) = rig.begin(with(fields)).await;
            // What the head alone decides needs no end.
            let decided = ["credential_body_encoded", "credential_body_charset"];
            let last = last || !decided.contains(&error);
            upload.send_data(text(&body), last).unwrap();
            let response = timeout(Duration::from_secs(1), response);
            let response = response.await.expect("an answer").unwrap();
            assert_eq!(refusal(response).await, (status, error.to_owned()));
            assert_eq!(rig.denied.lock().unwrap().pop(), Some(error));
            assert!(rig.asked.try_recv().is_err(), "the server was asked");
            if !last {
                assert_eq!(reset(&mut upload).await, Reason::NO_ERROR);
            }
        }
    }
    assert_eq!(rig.stats.messages(ClientToServer), 0);
    rig.pass(get("/")).await;
}

#[tokio::test]
async fn a_client_that_waits_for_the_server_in_its_body_is_not_waited_for() {
    let mut rig = rig().await;
    let request = sized("text/plain", TOKEN.len() + 2);
    let (_response, mut upload) = rig.begin(request).await;
    upload.send_data(text(TOKEN), false).unwrap();
    let mut asked = timeout(Duration::from_secs(5), rig.asked())
        .await
        .expect("the head goes");
    assert_eq!(length(&asked), None);
    upload.send_data(text("!!"), true).unwrap();
    let got = read(asked.request.body_mut()).await;
    assert_eq!(got, format!("{SECRET}!!"));
}

#[tokio::test]
async fn a_request_without_a_body_is_not_held_for_it() {
    let mut rig = rig().await;
    let mut request = with(&[("content-type", JSON), ("content-encoding", "gzip")]);
    *request.method_mut() = Method::GET;
    rig.pass(request).await;
}

#[tokio::test]
async fn a_signed_body_without_a_placeholder_goes_on_as_it_is_however_long() {
    let mut rig = rig().await;
    for pad in [10, 3 * HOLD] {
        let body = json("pl\\u0061in", pad);
        let mut request = sized(JSON, body.len());
        let signature = "x".parse().unwrap();
        request.headers_mut().insert("content-md5", signature);
        let (_response, mut upload) = rig.begin(request).await;
        let reading = async {
            let mut asked = rig.asked().await;
            let told = length(&asked);
            (told, read(asked.request.body_mut()).await)
        };
        let (got, ()) = tokio::join!(reading, write(&mut upload, &body, true));
        assert_eq!(got, (Some(body.len()), body));
    }
}

#[tokio::test]
async fn a_refusal_behind_the_hold_resets_the_servers_stream_and_is_told_if_it_still_can_be() {
    for answering in [false, true] {
        let mut rig = rig().await;
        let pad = "p".repeat(2 * HOLD);
        let body = format!("{{\"pad\":\"{pad}\",\"token\":\"{OTHER}\"}}");
        let (first, last) = body.split_at(body.len() - 100);
        let (mut response, mut upload) = rig.begin(sized(JSON, body.len())).await;
        write(&mut upload, first, false).await;
        let mut asked = rig.asked().await;
        let mut begun = None;
        if answering {
            let download = asked.respond.send_response(Response::new(()), false);
            // To be kept: its end would be a reset.
            let download = download.unwrap();
            begun = Some((download, (&mut response).await.unwrap().into_body()));
        }
        write(&mut upload, last, true).await;
        let error = all(asked.request.body_mut()).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        match begun {
            Some((_download, mut body)) => {
                let error = all(&mut body).await.unwrap_err();
                assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
            }
            None => {
                let (status, error) = refusal(response.await.unwrap()).await;
                assert_eq!((status, &*error), (403, "credential_endpoint_mismatch"));
            }
        }
        settle().await;
        assert_eq!(
            *rig.denied.lock().unwrap(),
            ["credential_endpoint_mismatch"]
        );
        rig.pass(get("/")).await;
    }
}

#[tokio::test]
async fn the_head_of_a_client_that_waits_for_a_100_goes_at_once() {
    let mut rig = rig().await;
    let body = json(TOKEN, 3);
    let mut request = sized(JSON, body.len());
    let expectation = "100-continue".parse().unwrap();
    request.headers_mut().insert("expect", expectation);
    let (mut response, mut upload) = rig.begin(request).await;
    let asked = timeout(Duration::from_secs(1), rig.asked());
    let mut asked = asked.await.expect("a head");
    assert_eq!(length(&asked), None);
    assert_eq!(asked.request.headers()["expect"], "100-continue");
    let mut interim = Response::new(());
    *interim.status_mut() = http::StatusCode::CONTINUE;
    asked.respond.send_informational(interim).unwrap();
    let heard = poll_fn(|cx| response.poll_informational(cx)).await;
    assert_eq!(heard.unwrap().unwrap().status(), 100);
    upload.send_data(text(&body), true).unwrap();
    assert_eq!(read(asked.request.body_mut()).await, json(SECRET, 3));
}

#[tokio::test]
async fn trailers_follow_a_body_of_any_length() {
    let mut rig = rig().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-note", TOKEN.parse().unwrap());
    for pad in [0, 3 * HOLD] {
        let request = with(&[("content-type", JSON)]);
        let (_response, mut upload) = rig.begin(request).await;
        let writing = async {
            write(&mut upload, &json(TOKEN, pad), false).await;
            upload.send_trailers(trailers.clone()).unwrap();
        };
        let reading = async {
            let mut asked = rig.asked().await;
            let body = asked.request.body_mut();
            let text = read(body).await;
            (text, body.trailers().await.unwrap())
        };
        let ((), got) = tokio::join!(writing, reading);
        assert_eq!(got, (json(SECRET, pad), Some(trailers.clone())));
    }
}

#[tokio::test]
async fn a_server_that_reads_slowly_stops_a_client_whose_body_is_rewritten() {
    let mut rig = rig().await;
    let request = with(&[("content-type", "text/plain")]);
    let (_response, mut upload) = rig.begin(request).await;
    let sent = fill(&mut upload).await;
    let mut asked = rig.asked().await;
    let most = HOLD + CLIENT_WINDOW as usize + 65_535 + SEND_BUFFER;
    assert!(sent <= most, "{sent} bytes of at most {most}");
    rig.pass(get("/")).await;
    upload.send_data(Bytes::new(), true).unwrap();
    assert_eq!(all(asked.request.body_mut()).await.unwrap().len(), sent);
}

#[tokio::test]
async fn bodies_that_are_held_leave_room_for_others() {
    const STREAMS: usize = 40;
    let mut rig = rig().await;
    let (first, last) = (" ".repeat(HOLD / 2), json(TOKEN, 0));
    let mut uploads = Vec::new();
    for _ in 0..STREAMS {
        let request = with(&[("content-type", JSON)]);
        let (response, mut upload) = rig.begin(request).await;
        let writing = timeout(Duration::from_secs(1), write(&mut upload, &first, false));
        writing.await.expect("room");
        uploads.push((response, upload));
    }
    assert!(STREAMS * first.len() > 2 * CLIENT_WINDOWS as usize);
    assert!(rig.asked.try_recv().is_err(), "the server was asked");
    for (_response, upload) in &mut uploads {
        write(upload, &last, true).await;
        let mut asked = rig.asked().await;
        let got = read(asked.request.body_mut()).await;
        assert_eq!(got, first.clone() + &json(SECRET, 0));
    }
}

#[tokio::test]
async fn a_request_that_is_taken_back_while_it_is_held_never_was() {
    let mut rig = rig().await;
    let (_response, mut upload) = rig.begin(with(&[("content-type", JSON)])).await;
    upload.send_data(text("{\"token"), false).unwrap();
    settle().await;
    upload.send_reset(Reason::CANCEL);
    rig.pass(get("/")).await;
    assert!(rig.asked.try_recv().is_err(), "the server was asked");
}

#[tokio::test]
async fn unbound_placeholder_in_a_body_is_passed_recorded_or_refused_as_the_policy_says() {
    for unbound in [Unbound::Pass, Unbound::Record, Unbound::Refuse] {
        let mut rig = Rig::releasing(bound().unbound(unbound)).await;
        let body = format!("{{\"other\":\"{TOKEN}\"}}");
        let (response, mut upload) = rig.begin(with(&[("content-type", JSON)])).await;
        upload.send_data(text(&body), true).unwrap();
        if unbound == Unbound::Refuse {
            let refused = refusal(response.await.unwrap()).await;
            assert_eq!(refused, (403, "credential_unbound".to_owned()));
            continue;
        }
        let mut asked = rig.asked().await;
        assert_eq!(read(asked.request.body_mut()).await, body);
        assert_eq!(rig.stats.placeholders_passed(), 1);
    }
}

/// Each side waits for the other's message: nothing may be held.
#[tokio::test]
async fn grpc_is_not_held_whatever_its_messages_are() {
    for media in ["application/grpc", "application/grpc+json"] {
        let mut rig = Rig::releasing(bound().unbound(Unbound::Record)).await;
        let (_response, mut upload) = rig.begin(with(&[("content-type", media)])).await;
        upload.send_data(text("\0\0\0\0\x02{}"), false).unwrap();
        let asked = timeout(Duration::from_secs(1), rig.asked());
        let mut asked = asked.await.expect("a head");
        let heard = asked.request.body_mut().data().await.unwrap().unwrap();
        assert_eq!(heard, "\0\0\0\0\x02{}");
    }
}

#[tokio::test]
async fn long_bodies_pass_whole_where_secrets_may_go_in() {
    let mut rig = rig().await;
    long_bodies_pass(&mut rig, with(&[("content-type", "text/plain")])).await;
}

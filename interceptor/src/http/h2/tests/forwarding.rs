//! What goes on as it is.

use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::peer::{Asked, Rig, all, get, post};
use crate::{
    http::tests::peer::HOST,
    stats::connection::Direction::{ClientToServer, ServerToClient},
};

fn trailers(value: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", value.parse().unwrap());
    trailers
}

#[tokio::test]
async fn heads_bodies_and_trailers_pass_both_ways() {
    let mut rig = Rig::new().await;
    let mut request = post();
    request.headers_mut().insert("x-a", "1".parse().unwrap());
    request.headers_mut().append("x-a", "2".parse().unwrap());
    request
        .headers_mut()
        .insert("te", "trailers".parse().unwrap());
    let (response, mut upload) = rig.begin(request).await;
    upload.send_data("hello".into(), false).unwrap();
    upload.send_trailers(trailers("up")).unwrap();

    let Asked {
        request,
        mut respond,
    } = rig.asked().await;
    let (head, mut body) = request.into_parts();
    assert_eq!(head.method, "POST");
    assert_eq!(head.uri.to_string(), format!("https://{HOST}/upload"));
    let values: Vec<_> = head.headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(all(&mut body).await.unwrap(), b"hello");
    assert_eq!(body.trailers().await.unwrap(), Some(trailers("up")));

    let answer = Response::builder()
        .status(201)
        .header("set-cookie", "a=b")
        .header("set-cookie", "c=d")
        .body(());
    let mut download = respond.send_response(answer.unwrap(), false).unwrap();
    download.send_data("world".into(), false).unwrap();
    download.send_trailers(trailers("0")).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    assert_eq!(head.status, 201);
    assert_eq!(head.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(all(&mut body).await.unwrap(), b"world");
    assert_eq!(body.trailers().await.unwrap(), Some(trailers("0")));
    assert_eq!(rig.stats.messages(ClientToServer), 1);
    assert_eq!(rig.stats.messages(ServerToClient), 1);
    assert!(rig.stats.bytes(ClientToServer) > 50 && rig.stats.bytes(ServerToClient) > 50);
    assert_eq!(rig.stats.facts().protocol, Some("h2"));
}

#[tokio::test]
async fn an_answer_of_trailers_alone_stays_one() {
    let mut rig = Rig::new().await;
    let (response, mut upload) = rig.begin(post()).await;
    upload.send_data("x".into(), true).unwrap();
    let mut asked = rig.asked().await;
    let mut answer = Response::new(());
    *answer.headers_mut() = trailers("13");
    asked.respond.send_response(answer, true).unwrap();
    let (head, body) = response.await.unwrap().into_parts();
    assert_eq!(head.headers["grpc-status"], "13");
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn both_sides_of_a_stream_talk_in_turns() {
    let mut rig = Rig::new().await;
    let (response, mut upload) = rig.begin(post()).await;
    upload.send_data("0".into(), false).unwrap();
    let Asked {
        request,
        mut respond,
    } = rig.asked().await;
    let mut heard = request.into_body();
    let mut download = respond.send_response(Response::new(()), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    for turn in 0..20 {
        // Each is waited for before the next is said: nothing that can go may wait.
        let said = heard.data().await.unwrap().unwrap();
        assert_eq!(said, turn.to_string());
        download
            .send_data(format!("re {turn}").into(), false)
            .unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), format!("re {turn}"));
        let next = (turn + 1).to_string();
        upload.send_data(next.into(), turn == 19).unwrap();
    }
    assert_eq!(all(&mut heard).await.unwrap(), b"20");
    download.send_trailers(trailers("0")).unwrap();
    assert_eq!(all(&mut body).await.unwrap(), b"");
    assert_eq!(body.trailers().await.unwrap(), Some(trailers("0")));
}

#[tokio::test]
async fn streams_are_answered_in_any_order() {
    let mut rig = Rig::new().await;
    let mut responses = Vec::new();
    for number in 0..50 {
        responses.push(rig.ask(get(&format!("/{number}"))).await);
    }
    let mut asked = Vec::new();
    for _ in 0..50 {
        asked.push(rig.asked().await);
    }
    for mut asked in asked.into_iter().rev() {
        let answer = Response::builder().header("x-path", asked.request.uri().path());
        asked
            .respond
            .send_response(answer.body(()).unwrap(), true)
            .unwrap();
    }
    for (number, response) in responses.into_iter().enumerate() {
        assert_eq!(
            response.await.unwrap().headers()["x-path"],
            format!("/{number}")
        );
    }
}

#[tokio::test]
async fn more_streams_than_the_server_takes_wait_for_their_turn() {
    let mut rig = Rig::with_server(|settings| {
        settings.max_concurrent_streams(2);
    })
    .await;
    rig.pass(get("/")).await;
    let mut responses = Vec::new();
    for _ in 0..10 {
        responses.push(rig.ask(get("/")).await);
    }
    for _ in 0..10 {
        let mut asked = rig.asked().await;
        asked
            .respond
            .send_response(Response::new(()), true)
            .unwrap();
    }
    for response in responses {
        assert_eq!(response.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn interim_answers_pass_before_the_final_one() {
    let mut rig = Rig::new().await;
    let mut request = post();
    request
        .headers_mut()
        .insert("expect", "100-continue".parse().unwrap());
    let (mut response, mut upload) = rig.begin(request).await;
    let mut asked = rig.asked().await;
    assert_eq!(asked.request.headers()["expect"], "100-continue");
    for status in [100, 103] {
        let interim = Response::builder().status(status).header("link", "</a>");
        asked
            .respond
            .send_informational(interim.body(()).unwrap())
            .unwrap();
        let seen = poll_fn(|cx| response.poll_informational(cx)).await;
        let seen = seen.unwrap().unwrap();
        assert_eq!(seen.status(), status);
        assert_eq!(seen.headers()["link"], "</a>");
    }
    upload.send_data("x".into(), true).unwrap();
    assert_eq!(all(asked.request.body_mut()).await.unwrap(), b"x");
    asked
        .respond
        .send_response(Response::new(()), true)
        .unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_answer_to_head_keeps_its_length_and_has_no_body() {
    let mut rig = Rig::new().await;
    let mut request = get("/");
    *request.method_mut() = Method::HEAD;
    let response = rig.ask(request).await;
    let mut asked = rig.asked().await;
    let answer = Response::builder()
        .header("content-length", "5000")
        .body(());
    asked.respond.send_response(answer.unwrap(), true).unwrap();
    let (head, body) = response.await.unwrap().into_parts();
    assert_eq!(head.headers["content-length"], "5000");
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn a_host_field_alone_names_the_addressee() {
    let mut rig = Rig::new().await;
    let request = Request::builder()
        .uri("/x")
        .version(http::Version::HTTP_11)
        .header("host", HOST)
        .body(())
        .unwrap();
    // The client says `http`, for want of an authority beside the scheme; a server is told what the connection is.
    let request = rig.pass(request).await;
    assert_eq!(request.uri().to_string(), format!("https://{HOST}/x"));
    assert_eq!(request.headers()["host"], HOST);
}

#[tokio::test]
async fn options_of_the_server_itself_pass() {
    let mut rig = Rig::new().await;
    let mut parts = get("/").uri().clone().into_parts();
    parts.path_and_query = Some("*".parse().unwrap());
    let mut request = get("/");
    *request.uri_mut() = http::Uri::from_parts(parts).unwrap();
    *request.method_mut() = Method::OPTIONS;
    let request = rig.pass(request).await;
    assert_eq!(request.uri().path(), "*");
}

#[tokio::test]
async fn a_server_may_answer_without_having_read_everything() {
    let mut rig = Rig::new().await;
    let (response, mut upload) = rig.begin(post()).await;
    upload.send_data("x".into(), false).unwrap();
    let Asked {
        request,
        mut respond,
    } = rig.asked().await;
    let answer = Response::builder().status(413).body(()).unwrap();
    let mut download = respond.send_response(answer, false).unwrap();
    download.send_data("too large".into(), true).unwrap();
    // The h2 crate says NO_ERROR then.
    drop((request, respond, download));
    let (head, mut body) = response.await.unwrap().into_parts();
    assert_eq!(head.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(all(&mut body).await.unwrap(), b"too large");
    assert_eq!(super::peer::reset(&mut upload).await, h2::Reason::NO_ERROR);
}

#[tokio::test]
async fn a_body_goes_on_after_an_early_answer_that_wants_it() {
    let mut rig = Rig::new().await;
    let (response, mut upload) = rig.begin(post()).await;
    let mut asked = rig.asked().await;
    asked
        .respond
        .send_response(Response::new(()), true)
        .unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    upload.send_data(Bytes::from_static(b"late"), true).unwrap();
    assert_eq!(all(asked.request.body_mut()).await.unwrap(), b"late");
}

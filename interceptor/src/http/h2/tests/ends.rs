//! How streams and connections end before they are done.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use h2::Reason;
use http::{Request, Response};

use super::peer::{Do, Rig, all, get, post, refusal, reset};
use crate::http::{End, HttpError};

async fn reason(response: h2::client::ResponseFuture) -> Option<Reason> {
    response.await.unwrap_err().reason()
}

#[tokio::test]
async fn a_request_that_is_taken_back_is_taken_back_from_the_server() {
    for (said, heard) in [
        (Reason::CANCEL, Reason::CANCEL),
        (Reason::INTERNAL_ERROR, Reason::INTERNAL_ERROR),
        (Reason::NO_ERROR, Reason::CANCEL),
        (Reason::PROTOCOL_ERROR, Reason::CANCEL),
    ] {
        let mut rig = Rig::new().await;
        let (_response, mut upload) = rig.begin(post()).await;
        let mut asked = rig.asked().await;
        upload.send_reset(said);
        let error = all(asked.request.body_mut()).await.unwrap_err();
        assert_eq!(error.reason(), Some(heard));
        rig.pass(get("/")).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_wanted_any_more_is_taken_back_from_the_server() {
    let mut rig = Rig::new().await;
    let (response, mut upload) = rig.begin(post()).await;
    upload.send_data("x".into(), true).unwrap();
    let mut asked = rig.asked().await;
    assert_eq!(all(asked.request.body_mut()).await.unwrap(), b"x");
    let mut download = asked
        .respond
        .send_response(Response::new(()), false)
        .unwrap();
    drop((response.await.unwrap(), upload));
    assert_eq!(reset(&mut download).await, Reason::CANCEL);
}

#[tokio::test]
async fn a_server_that_refuses_a_stream_is_heard_by_the_client() {
    for said in [
        Reason::REFUSED_STREAM,
        Reason::INTERNAL_ERROR,
        Reason::HTTP_1_1_REQUIRED,
        Reason::ENHANCE_YOUR_CALM,
    ] {
        let mut rig = Rig::new().await;
        let response = rig.ask(get("/")).await;
        rig.asked().await.respond.send_reset(said);
        assert_eq!(reason(response).await, Some(said));
        rig.pass(get("/")).await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/")).await;
    let mut asked = rig.asked().await;
    let mut download = asked
        .respond
        .send_response(Response::new(()), false)
        .unwrap();
    download.send_data("some".into(), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "some");
    download.send_reset(Reason::INTERNAL_ERROR);
    let error = body.data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn what_came_before_a_reset_comes_before_it_at_the_client_too() {
    // Node's server ends whole answers so.
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/")).await;
    let mut asked = rig.asked().await;
    let answer = Response::builder().header("x-answer", "1").body(());
    let mut download = asked.respond.send_response(answer.unwrap(), false).unwrap();
    let mut sent = 0;
    // More than fits anywhere on the way, so that some of it waits for the client when the reset comes.
    while let Ok(room) = tokio::time::timeout(
        Duration::from_millis(200),
        poll_fn(|cx| {
            download.reserve_capacity(1000);
            download.poll_capacity(cx)
        }),
    )
    .await
    {
        let room = room.unwrap().unwrap().min(1000);
        download.send_data(vec![7; room].into(), false).unwrap();
        sent += room;
    }
    // What waits in the server itself would be taken back by it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    download.send_reset(Reason::NO_ERROR);
    let (head, mut body) = response.await.unwrap().into_parts();
    assert_eq!(head.headers["x-answer"], "1");
    let mut got = 0;
    let error = loop {
        match body.data().await.unwrap() {
            Ok(data) => {
                got += data.len();
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Some(Reason::NO_ERROR));
    assert_eq!(got, sent);
}

#[tokio::test]
async fn a_server_that_vanishes_ends_streams_and_the_connection() {
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/")).await;
    let asked = rig.asked().await;
    rig.server.send(Do::Vanish).ok().unwrap();
    assert_eq!(reason(response).await, Some(Reason::INTERNAL_ERROR));
    drop(asked);
    let end = rig.relay.await.unwrap();
    assert!(
        matches!(
            end,
            Ok(End::UpstreamClosed) | Err(HttpError::Http2Upstream(_))
        ),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_server_that_leaves_lets_the_client_finish_and_then_ask_elsewhere() {
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/")).await;
    let mut asked = rig.asked().await;
    rig.server.send(Do::Leave).ok().unwrap();
    // The client hears of it while its stream is under way.
    let late = loop {
        tokio::task::yield_now().await;
        let mut client = rig.client.clone();
        match client.send_request(get("/late"), true) {
            Ok((response, _)) => {
                if let Err(error) = response.await {
                    break error;
                }
            }
            Err(error) => break error,
        }
    };
    assert!(
        late.is_go_away() || late.reason() == Some(Reason::REFUSED_STREAM),
        "{late:?}"
    );
    asked
        .respond
        .send_response(Response::new(()), true)
        .unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    assert!(matches!(rig.relay.await.unwrap(), Ok(End::UpstreamClosed)));
}

#[tokio::test]
async fn a_daemon_that_stops_lets_streams_finish() {
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/")).await;
    let mut asked = rig.asked().await;
    rig.shutdown.send_replace(true);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let mut download = asked
        .respond
        .send_response(Response::new(()), false)
        .unwrap();
    download
        .send_data(Bytes::from_static(b"done"), true)
        .unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(all(&mut body).await.unwrap(), b"done");
    drop(body);
    rig.ended.await.unwrap().unwrap();
    assert!(matches!(rig.relay.await.unwrap(), Ok(End::ShutDown)));
}

#[tokio::test]
async fn a_client_that_goes_takes_its_streams_along() {
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/")).await;
    let mut asked = rig.asked().await;
    let mut download = asked
        .respond
        .send_response(Response::new(()), false)
        .unwrap();
    drop(response);
    drop(rig.client);
    rig.ended.abort();
    assert_eq!(reset(&mut download).await, Reason::CANCEL);
    let end = rig.relay.await.unwrap();
    assert!(
        matches!(end, Ok(End::ClientClosed) | Err(HttpError::Http2Client(_))),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_client_that_ends_in_order_is_an_end_in_order() {
    let mut rig = Rig::new().await;
    rig.pass(get("/")).await;
    drop(rig.client);
    rig.ended.await.unwrap().unwrap();
    assert!(matches!(rig.relay.await.unwrap(), Ok(End::ClientClosed)));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_and_a_silent_stream_does_not() {
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/")).await;
    let mut asked = rig.asked().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    asked
        .respond
        .send_response(Response::new(()), true)
        .unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let begun = tokio::time::Instant::now();
    rig.ended.await.unwrap().unwrap();
    assert!(matches!(rig.relay.await.unwrap(), Ok(End::Idle)));
    assert_eq!(begun.elapsed().as_secs(), 300);
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_says_breaks_its_stream_on_both_sides() {
    let mut rig = Rig::new().await;
    let request = Request::builder()
        .method("POST")
        .uri(get("/").uri())
        .header("content-length", "3")
        .body(())
        .unwrap();
    let (response, mut upload) = rig.begin(request).await;
    let mut asked = rig.asked().await;
    upload.send_data("four".into(), true).unwrap();
    let error = all(asked.request.body_mut()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    assert_eq!(reason(response).await, Some(Reason::PROTOCOL_ERROR));
}

#[tokio::test]
async fn a_malformed_answer_is_answered_in_its_place() {
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/")).await;
    let mut asked = rig.asked().await;
    let answer = Response::builder().header("content-length", "5").body(());
    asked.respond.send_response(answer.unwrap(), true).unwrap();
    let refused = refusal(response.await.unwrap()).await;
    assert_eq!(refused, (502, "malformed_response".to_owned()));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*rig.denied.lock().unwrap(), ["malformed_response"]);
}

#[tokio::test]
async fn interim_answers_are_bounded() {
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/")).await;
    let mut asked = rig.asked().await;
    for _ in 0..65 {
        let interim = Response::builder().status(103).body(()).unwrap();
        if asked.respond.send_informational(interim).is_err() {
            break;
        }
    }
    let refused = refusal(response.await.unwrap()).await;
    assert_eq!(refused, (502, "malformed_response".to_owned()));
    drop(asked);
}

#[tokio::test]
async fn a_server_that_breaks_its_connection_off_is_told_to_the_client_as_an_end() {
    let mut rig = Rig::new().await;
    rig.pass(get("/")).await;
    rig.server
        .send(Do::Break(Reason::ENHANCE_YOUR_CALM))
        .ok()
        .unwrap();
    let ended = rig.ended.await.unwrap();
    assert!(ended.is_ok(), "{ended:?}");
}

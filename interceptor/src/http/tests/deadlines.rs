//! Nothing waits for ever. Time is tokio's and stands still, so these take none.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, timeout},
};

use super::peer::{HOST, Rig};
use crate::{
    http::{End, HttpError, Refusal},
    policy::Judgement,
};

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_is_refused() {
    let mut rig = Rig::new();
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: ");
    let begun = Instant::now();
    rig.ask(request).await;
    let mut answer = [0; 12];
    let second = Duration::from_secs(1);
    while timeout(second, rig.client.read_exact(&mut answer))
        .await
        .is_err()
    {
        rig.ask("x").await;
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(begun.elapsed().as_secs(), 30);
    // Nor is what comes behind the answer heard for ever.
    while rig.client.write_all(b"x").await.is_ok() {
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(begun.elapsed().as_secs(), 30 + 30);
    let end = rig.end().await;
    assert!(
        matches!(end, Ok(End::Refused(Refusal::HeadLate(_)))),
        "{end:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_head_is_answered_with_408() {
    let mut rig = Rig::new();
    let begun = Instant::now();
    rig.ask("GET / HTTP/1.1\r\n").await;
    assert_eq!(rig.refused().await, (408, "request_timeout".to_owned()));
    assert_eq!(begun.elapsed().as_secs(), 30);
    // A client that has heard it and stays is left.
    while rig.shutdown.receiver_count() > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(begun.elapsed().as_secs(), 30 + 5);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let mut rig = Rig::new();
    let begun = Instant::now();
    rig.client_ends_with("").await;
    assert_eq!(begun.elapsed().as_secs(), 300);
    assert!(matches!(rig.end().await, Ok(End::Idle)));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_is_waited_for() {
    let mut rig = Rig::new();
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    rig.ask(&request).await;
    rig.server_gets(&request).await;
    sleep(Duration::from_secs(24 * 3600)).await;
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    rig.answer(response).await;
    rig.client_gets(response).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_ends_the_connection() {
    let mut rig = Rig::new();
    rig.ask(format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nab"
    ))
    .await;
    let begun = Instant::now();
    rig.client_ends_with("").await;
    assert_eq!(begun.elapsed().as_secs(), 300);
    assert!(matches!(rig.end().await, Err(HttpError::BodyStalled(_))));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_behind_its_answer_ends_the_connection_sooner() {
    let mut rig = Rig::new();
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\n");
    rig.ask(format!("{head}ab")).await;
    rig.server_gets(format!("{head}ab")).await;
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    rig.answer(response).await;
    rig.client_gets(response).await;
    let begun = Instant::now();
    rig.client_ends_with("").await;
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert!(matches!(rig.end().await, Ok(End::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_client_is_not_kept_for_ever() {
    let mut rig = Rig::new();
    rig.ask(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
        .await;
    rig.client.shutdown().await.unwrap();
    let begun = Instant::now();
    rig.client_ends_with("").await;
    assert_eq!(begun.elapsed().as_secs(), 300);
    assert!(matches!(rig.end().await, Err(HttpError::HalfClosed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_reads_nothing_ends_the_connection() {
    let mut rig = Rig::with(100, Box::new(|_| Judgement::Allow), b"");
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 50000\r\n\r\n");
    rig.ask(head).await;
    let begun = Instant::now();
    while rig.client.write_all(&[b'x'; 100]).await.is_ok() {}
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert!(matches!(rig.end().await, Err(HttpError::Upstream(_))));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_ends_the_connection() {
    let mut rig = Rig::with(100, Box::new(|_| Judgement::Allow), b"");
    rig.ask(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
        .await;
    let mut response = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    response.resize(10_000, b'x');
    let begun = Instant::now();
    let mut closed = false;
    for part in response.chunks(100) {
        closed |= rig.server.write_all(part).await.is_err();
    }
    assert!(closed);
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert!(matches!(rig.end().await, Err(HttpError::Client(_))));
}

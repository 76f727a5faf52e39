//! The first request on plain TCP, and connections that are denied before any server is asked.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::peer::rest;
use crate::http::{FirstError, Refusal, deny, first_head};

#[tokio::test]
async fn the_first_request_names_the_host_and_nothing_is_lost() {
    let request = "GET / HTTP/1.1\r\nHost: Example.COM\r\n\r\nmore";
    for split in 0..=request.len() - 4 {
        let (mut client, mut end) = duplex(1024);
        let (first, second) = request.split_at(split);
        let writer = async {
            client.write_all(first.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            client.write_all(second.as_bytes()).await.unwrap();
            client
        };
        let (first, client) = tokio::join!(first_head(&mut end, 80), writer);
        let first = first.unwrap();
        assert_eq!(first.authority.to_string(), "example.com:80");
        drop(client);
        let mut all = first.buffered.to_vec();
        end.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, request.as_bytes(), "split at {split}");
    }
}

#[tokio::test]
async fn a_port_other_than_the_dialled_one_is_refused() {
    for (host, port, good) in [
        ("example.com", 80, true),
        ("example.com:8080", 8080, true),
        ("example.com", 8080, false),
        ("example.com:8080", 80, false),
    ] {
        let (mut client, mut end) = duplex(1024);
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let first = first_head(&mut end, port).await;
        match first {
            Ok(first) => assert!(good && first.authority.port == port, "{host} {port}"),
            Err(FirstError::Refused { .. }) => assert!(!good, "{host} {port}"),
            Err(error) => panic!("{host} {port}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_not_answered() {
    let (mut client, mut end) = duplex(1024);
    client.write_all(b"GET /").await.unwrap();
    drop(client);
    assert!(matches!(
        first_head(&mut end, 80).await,
        Err(FirstError::Closed)
    ));
}

#[tokio::test]
async fn a_denial_answers_the_request_with_its_reason() {
    for (method, buffered) in [("GET", false), ("GET", true), ("HEAD", false)] {
        let (mut client, end) = duplex(4096);
        let request = format!("{method} / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        let mut early = BytesMut::new();
        if buffered {
            early.extend_from_slice(request.as_bytes());
        } else {
            client.write_all(request.as_bytes()).await.unwrap();
        }
        let denied = tokio::spawn(async move {
            let refusal = Refusal::Denied("no rule for example.com:80".into());
            deny(end, early, &refusal).await
        });
        let response = rest(&mut client).await;
        drop(client);
        denied.await.unwrap().unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
        if method == "HEAD" {
            assert_eq!(body, "");
        } else {
            assert_eq!(
                body,
                r#"{"error":"policy_denied","reason":"no rule for example.com:80"}"#
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_first_request_is_answered_at_once() {
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: example.com:81\r\n\r\n", "421"),
        ("GET / HTTP/1.1\n", "400"),
        ("SSH-2.0-OpenSSH_9.9\r\n", "400"),
        ("EHLO example.com\r\n", "400"),
        ("GET / HTTP/1.1\r\nHo", "408"),
    ] {
        let (mut client, mut end) = duplex(4096);
        client.write_all(request.as_bytes()).await.unwrap();
        let asked = tokio::time::Instant::now();
        let Err(FirstError::Refused { refusal, buffered }) = first_head(&mut end, 80).await else {
            panic!("{request:?} is refused");
        };
        if status != "408" {
            assert_eq!(asked.elapsed(), std::time::Duration::ZERO, "{request:?}");
        }
        let refused = tokio::time::Instant::now();
        let denied = tokio::spawn(async move { deny(end, buffered, &refusal).await });
        let response = rest(&mut client).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
        assert_eq!(refused.elapsed(), std::time::Duration::ZERO, "{request:?}");
        drop(client);
        denied.await.unwrap().unwrap();
    }
}

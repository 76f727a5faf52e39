use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn, server, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::{to_http1, to_http2};

/// Says what it got.
async fn describe(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut fields: Vec<String> = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
        .collect();
    fields.sort();
    let text = format!(
        "{:?} {} {} {} {}",
        head.version,
        head.method,
        head.uri,
        fields.join(" "),
        String::from_utf8_lossy(&body)
    );
    Ok(Response::new(Full::from(text)))
}

fn http2_server() -> DuplexStream {
    let (near, far) = duplex(1024);
    tokio::spawn(
        server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(far), service_fn(describe)),
    );
    near
}

fn http1_server() -> DuplexStream {
    let (near, far) = duplex(1024);
    tokio::spawn(
        server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(far), service_fn(describe)),
    );
    near
}

#[tokio::test]
async fn http1_requests_are_answered_by_a_server_that_speaks_http2_only() {
    let mut client = to_http2(http2_server()).await.unwrap();
    for body in ["one", "two"] {
        let request = format!(
            "POST /x?y=z HTTP/1.1\r\nHost: a.example:8443\r\nConnection: keep-alive, x-gone\r\nX-Gone: 1\r\n\
             Cookie: a=b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{body}\r\n0\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut got = String::new();
        let expected = format!("HTTP/2.0 POST https://a.example:8443/x?y=z cookie=a=b {body}");
        while !got.ends_with(&expected) {
            let mut some = [0; 4096];
            let read = client.read(&mut some).await.unwrap();
            assert!(read > 0, "{got}");
            got.push_str(std::str::from_utf8(&some[..read]).unwrap());
        }
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
    }
}

#[tokio::test]
async fn http2_streams_are_answered_by_a_server_that_speaks_http1_only() {
    let dials = Arc::new(AtomicUsize::new(0));
    let dialled = Arc::clone(&dials);
    let client = to_http1(
        http1_server(),
        Box::new(move || {
            dialled.fetch_add(1, Relaxed);
            Box::pin(async { Ok(http1_server()) })
        }),
    );
    let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
        .await
        .unwrap();
    tokio::spawn(connection);
    let ask = |number: usize| {
        let mut sender = sender.clone();
        async move {
            let request = Request::post(format!("https://a.example/{number}"))
                .header("cookie", "a=b")
                .header("cookie", "c=d")
                .body(Full::new(Bytes::from(format!("body {number}"))))
                .unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let expected = format!(
                "HTTP/1.1 POST /{number} content-length=6 cookie=a=b; c=d host=a.example body {number}"
            );
            assert_eq!(String::from_utf8_lossy(&body), expected);
        }
    };
    for number in 0..3 {
        ask(number).await;
    }
    assert_eq!(
        dials.load(Relaxed),
        0,
        "one after the other needs one connection"
    );
    let mut together = tokio::task::JoinSet::new();
    for number in 0..9 {
        together.spawn(ask(number));
    }
    together.join_all().await;
    assert!((1..6).contains(&dials.load(Relaxed)), "{dials:?}");
}

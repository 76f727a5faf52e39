//! Bodies go at the pace of whoever reads them.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use h2::SendStream;
use http::{Request, Response};
use tokio::time::timeout;

use super::{
    super::{CLIENT_WINDOW, SEND_BUFFER, SERVER_WINDOW},
    peer::{Rig, all, get, post},
};

/// What a stream takes until it takes no more.
pub(super) async fn fill(stream: &mut SendStream<Bytes>) -> usize {
    let mut sent = 0;
    loop {
        stream.reserve_capacity(16 * 1024);
        let room = timeout(
            Duration::from_millis(200),
            poll_fn(|cx| stream.poll_capacity(cx)),
        )
        .await;
        let Ok(room) = room else {
            return sent;
        };
        let room = room.unwrap().unwrap().min(16 * 1024);
        stream.send_data(vec![7; room].into(), false).unwrap();
        sent += room;
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_stops_the_server() {
    let mut rig = Rig::new().await;
    let response = rig.ask(get("/")).await;
    let mut asked = rig.asked().await;
    let mut download = asked
        .respond
        .send_response(Response::new(()), false)
        .unwrap();
    let mut body = response.await.unwrap().into_body();
    let sent = fill(&mut download).await;
    // Our window, and the client's own.
    let most = SERVER_WINDOW as usize + 65_535 + SEND_BUFFER;
    assert!(
        (SERVER_WINDOW as usize..=most).contains(&sent),
        "{sent} bytes of at most {most}"
    );
    // Another stream is not stopped.
    rig.pass(get("/")).await;
    download.send_data(Bytes::new(), true).unwrap();
    assert_eq!(all(&mut body).await.unwrap().len(), sent);
}

#[tokio::test]
async fn a_server_that_reads_slowly_stops_the_client() {
    let mut rig = Rig::new().await;
    let (_response, mut upload) = rig.begin(post()).await;
    let mut asked = rig.asked().await;
    let sent = fill(&mut upload).await;
    let most = CLIENT_WINDOW as usize + 65_535 + SEND_BUFFER;
    assert!(
        (CLIENT_WINDOW as usize..=most).contains(&sent),
        "{sent} bytes of at most {most}"
    );
    upload.send_data(Bytes::new(), true).unwrap();
    assert_eq!(all(asked.request.body_mut()).await.unwrap().len(), sent);
}

#[tokio::test]
async fn long_bodies_pass_whole_both_ways_at_once() {
    long_bodies_pass(&mut Rig::new().await, post()).await;
}

pub(super) async fn long_bodies_pass(rig: &mut Rig, request: Request<()>) {
    const LENGTH: usize = 3 * 1024 * 1024;
    let send = |mut stream: SendStream<Bytes>| async move {
        let mut left = LENGTH;
        while left > 0 {
            stream.reserve_capacity(left);
            let room = poll_fn(|cx| stream.poll_capacity(cx))
                .await
                .unwrap()
                .unwrap();
            let part = room.min(left);
            left -= part;
            stream.send_data(vec![1; part].into(), left == 0).unwrap();
        }
    };
    let (response, upload) = rig.begin(request).await;
    // A head may wait for the body's beginning.
    let up = tokio::spawn(send(upload));
    let mut asked = rig.asked().await;
    let download = asked
        .respond
        .send_response(Response::new(()), false)
        .unwrap();
    let mut body = response.await.unwrap().into_body();
    let down = tokio::spawn(send(download));
    let (got, sent) = tokio::join!(all(asked.request.body_mut()), all(&mut body));
    assert_eq!((got.unwrap().len(), sent.unwrap().len()), (LENGTH, LENGTH));
    up.await.unwrap();
    down.await.unwrap();
}

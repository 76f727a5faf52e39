//! A relay with a client and a server of the `h2` crate at its ends.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
    server::SendResponse,
};
use http::{Request, Response};
use tokio::{
    io::{DuplexStream, duplex},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    http::{
        End, Exchange, HttpError,
        h2::relay,
        tests::peer::{HOST, Judge, exchange, release},
    },
    policy::{Judgement, binding::Unbound},
    rewrite::{
        release::builder::Builder,
        standing::reloads::{Reloads, reloads},
    },
    stats::connection::Connection,
};

/// A request as the server gets it, and what it takes to answer it.
pub(super) struct Asked {
    pub(super) request: Request<RecvStream>,
    pub(super) respond: SendResponse<Bytes>,
}

/// What the server's connection is to do.
pub(super) enum Do {
    /// GOAWAY, and the streams come to their end.
    Leave,
    /// GOAWAY, and an end.
    Break(Reason),
    /// An end without a word.
    Vanish,
}

/// A relay under way.
pub(super) struct Rig {
    pub(super) client: SendRequest<Bytes>,
    /// How the client's connection ended.
    pub(super) ended: JoinHandle<Result<(), h2::Error>>,
    pub(super) asked: mpsc::UnboundedReceiver<Asked>,
    pub(super) server: mpsc::UnboundedSender<Do>,
    pub(super) stats: Arc<Connection>,
    /// Error codes of refused requests.
    pub(super) denied: Arc<Mutex<Vec<&'static str>>>,
    pub(super) shutdown: watch::Sender<bool>,
    pub(super) relay: JoinHandle<Result<End, HttpError>>,
}

/// An exchange that notes what is refused.
pub(super) fn noting(
    judge: Judge,
) -> (Exchange, watch::Sender<bool>, Arc<Mutex<Vec<&'static str>>>) {
    let (mut exchange, shutdown) = exchange(judge);
    let denied: Arc<Mutex<Vec<_>>> = Arc::default();
    let noted = Arc::clone(&denied);
    exchange.denials = Box::new(move |code, _| noted.lock().unwrap().push(code));
    (exchange, shutdown, denied)
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::judging(Box::new(|_| Judgement::Allow)).await
    }

    pub(super) async fn judging(judge: Judge) -> Self {
        Self::of(noting(judge), |_| {}).await
    }

    pub(super) async fn on_unbound(unbound: Unbound) -> Self {
        let (mut exchange, shutdown, denied) = noting(Box::new(|_| Judgement::Allow));
        exchange.release = Arc::new(release().with_unbound(unbound));
        Self::of((exchange, shutdown, denied), |_| {}).await
    }

    /// With other places to put secrets in.
    pub(super) async fn releasing(release: Builder) -> Self {
        let (mut exchange, shutdown, denied) = noting(Box::new(|_| Judgement::Allow));
        exchange.release = Arc::new(release.build());
        Self::of((exchange, shutdown, denied), |_| {}).await
    }

    /// With a configuration that can be loaded again.
    pub(super) async fn reloading() -> (Self, Reloads) {
        let (mut exchange, shutdown, denied) = noting(Box::new(|_| Judgement::Allow));
        let (reloads, standing) = reloads();
        exchange.standing = standing;
        let rig = Self::of((exchange, shutdown, denied), |_| {}).await;
        (rig, reloads)
    }

    /// With other settings of the server's.
    pub(super) async fn with_server(settings: impl FnOnce(&mut h2::server::Builder)) -> Self {
        Self::of(noting(Box::new(|_| Judgement::Allow)), settings).await
    }

    pub(super) async fn of(
        (exchange, shutdown, denied): (
            Exchange,
            watch::Sender<bool>,
            Arc<Mutex<Vec<&'static str>>>,
        ),
        settings: impl FnOnce(&mut h2::server::Builder),
    ) -> Self {
        let (client, client_end) = duplex(64 * 1024);
        let (server_end, server) = duplex(64 * 1024);
        let stats = Arc::clone(&exchange.stats);
        let relay = tokio::spawn(relay(client_end, server_end, exchange));
        let mut builder = h2::server::Builder::new();
        settings(&mut builder);
        let (server, asked) = serve(server, builder);
        let (client, connection) = h2::client::handshake(client).await.unwrap();
        Self {
            client,
            ended: tokio::spawn(connection),
            asked,
            server,
            stats,
            denied,
            shutdown,
            relay,
        }
    }

    /// Sends a request whose body follows.
    pub(super) async fn begin(
        &mut self,
        request: Request<()>,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        poll_fn(|cx| self.client.poll_ready(cx)).await.unwrap();
        self.client.send_request(request, false).unwrap()
    }

    /// Sends a request without a body.
    pub(super) async fn ask(&mut self, request: Request<()>) -> ResponseFuture {
        poll_fn(|cx| self.client.poll_ready(cx)).await.unwrap();
        self.client.send_request(request, true).unwrap().0
    }

    /// What the server gets next.
    pub(super) async fn asked(&mut self) -> Asked {
        self.asked.recv().await.expect("a request")
    }

    /// Asks and answers once, without bodies.
    pub(super) async fn pass(&mut self, request: Request<()>) -> Request<RecvStream> {
        let response = self.ask(request).await;
        let Asked {
            request,
            mut respond,
        } = self.asked().await;
        respond.send_response(Response::new(()), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        request
    }

    /// The refusal of a request: its status and error code. The server sees nothing of it.
    pub(super) async fn refused(&mut self, request: Request<()>) -> (u16, String) {
        let response = timeout(Duration::from_secs(5), self.ask(request).await);
        let response = response.await.expect("an answer").unwrap();
        let refusal = refusal(response).await;
        assert!(self.asked.try_recv().is_err(), "the server was asked");
        refusal
    }
}

/// Status and error code of an answer that was made in the server's place.
pub(super) async fn refusal(response: Response<RecvStream>) -> (u16, String) {
    let (head, mut body) = response.into_parts();
    let text = all(&mut body).await.unwrap();
    assert_eq!(head.headers["content-length"], text.len().to_string());
    let body: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert!(!body["reason"].as_str().unwrap().is_empty());
    (
        head.status.as_u16(),
        body["error"].as_str().unwrap().to_owned(),
    )
}

/// A GET of `path`.
pub(super) fn get(path: &str) -> Request<()> {
    to(&format!("https://{HOST}{path}"))
}

pub(super) fn to(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

pub(super) fn post() -> Request<()> {
    let uri = format!("https://{HOST}/upload");
    Request::post(uri).body(()).unwrap()
}

/// The rest of a body.
pub(super) async fn all(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len()).unwrap();
        read.extend_from_slice(&data);
    }
    Ok(read)
}

/// Waits until the peer takes the stream back.
pub(super) async fn reset(stream: &mut SendStream<Bytes>) -> Reason {
    poll_fn(|cx| stream.poll_reset(cx)).await.unwrap()
}

/// Serves on one end of a stream: requests come out, and things to do go in.
pub(super) fn serve(
    stream: DuplexStream,
    builder: h2::server::Builder,
) -> (mpsc::UnboundedSender<Do>, mpsc::UnboundedReceiver<Asked>) {
    let (tell, asked) = mpsc::unbounded_channel();
    let (sender, mut todo) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let Ok(mut server) = builder.handshake(stream).await else {
            return;
        };
        loop {
            tokio::select! {
                accepted = server.accept() => match accepted {
                    Some(Ok((request, respond))) => {
                        if tell.send(Asked { request, respond }).is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
                todo = todo.recv() => match todo {
                    Some(Do::Leave) => server.graceful_shutdown(),
                    Some(Do::Break(reason)) => server.abrupt_shutdown(reason),
                    Some(Do::Vanish) => return,
                    // The rig is gone, its streams may go on.
                    None => while let Some(Ok(_)) = server.accept().await {},
                },
            }
        }
    });
    (sender, asked)
}

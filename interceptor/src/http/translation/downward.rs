//! HTTP/2 in, HTTP/1.1 out: for a client that speaks nothing but HTTP/2 with a server that cannot.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, Version, header, uri::PathAndQuery};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::{self, SendRequest},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, duplex},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use super::{PIPE, fields};

/// Connections to the server at a time, as browsers have them to one host. Further requests wait.
const CONNECTIONS: usize = 6;
/// Requests that may wait, each with a window of its body.
const STREAMS: u32 = 32;

/// Opens another connection to the same server.
pub(crate) type Dial<S> =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<S>> + Send>> + Send + Sync>;

/// What the relay may speak HTTP/2 with in the place of `server`, which speaks HTTP/1.1. A request that comes while another
/// is under way gets a connection of its own by `dial`.
pub(crate) fn to_http1<S>(server: S, dial: Dial<S>) -> DuplexStream
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (near, far) = duplex(PIPE);
    let servers = Arc::new(Servers {
        dial,
        seats: Arc::new(Semaphore::new(CONNECTIONS)),
        connections: Mutex::new(Connections {
            fresh: Some(server),
            idle: Vec::new(),
            running: JoinSet::new(),
        }),
    });
    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(STREAMS)
        .serve_connection(
            TokioIo::new(far),
            service_fn(move |request| forward(Arc::clone(&servers), request)),
        );
    // Ends with the relay, which drops its end with its connection.
    tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::debug!(%error, "translating from HTTP/2 ended");
        }
    });
    near
}

/// The way to one server.
struct Servers<S> {
    dial: Dial<S>,
    seats: Arc<Semaphore>,
    connections: Mutex<Connections<S>>,
}

struct Connections<S> {
    /// That which was there first, until it is used.
    fresh: Option<S>,
    idle: Vec<SendRequest<Incoming>>,
    /// Cut when the client goes.
    running: JoinSet<()>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Servers<S> {
    /// A connection with nothing under way.
    async fn sender(&self) -> Result<SendRequest<Incoming>, Error> {
        loop {
            let idle = self.with(|connections| connections.idle.pop());
            let Some(mut sender) = idle else {
                break;
            };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = match self.with(|connections| connections.fresh.take()) {
            Some(stream) => stream,
            None => (self.dial)().await.map_err(Error::Dial)?,
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.with(|connections| {
            while connections.running.try_join_next().is_some() {}
            connections.running.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "an HTTP/1.1 connection to the server ended");
                }
            });
        });
        Ok(sender)
    }
}

impl<S> Servers<S> {
    fn with<T>(&self, act: impl FnOnce(&mut Connections<S>) -> T) -> T {
        let connections = self.connections.lock();
        act(&mut connections.unwrap_or_else(PoisonError::into_inner))
    }
}

async fn forward<S>(
    servers: Arc<Servers<S>>,
    request: Request<Incoming>,
) -> Result<Response<Answer<S>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().ok_or(Error::Host)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(Error::Authority)?;
    let target = head.uri.path_and_query().cloned();
    head.uri = Uri::from(target.unwrap_or(PathAndQuery::from_static("/")));
    head.version = Version::HTTP_11;
    head.headers.insert(header::HOST, host);
    fields::join_cookies(&mut head.headers);

    // Never closed.
    let seat = Arc::clone(&servers.seats).acquire_owned().await;
    let seat = seat.map_err(|_closed| Error::Host)?;
    let mut sender = servers.sender().await?;
    let response = sender.send_request(Request::from_parts(head, body)).await?;
    let (mut head, body) = response.into_parts();
    head.version = Version::HTTP_2;
    fields::drop_hop_by_hop(&mut head.headers);
    let answer = Answer {
        body,
        servers,
        sender: Some(sender),
        _seat: seat,
    };
    Ok(Response::from_parts(head, answer))
}

/// A response's body, which keeps its connection busy.
struct Answer<S> {
    body: Incoming,
    servers: Arc<Servers<S>>,
    sender: Option<SendRequest<Incoming>>,
    _seat: OwnedSemaphorePermit,
}

impl<S> Body for Answer<S> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S> Drop for Answer<S> {
    fn drop(&mut self) {
        // Whether it can be used again is found out by who takes it.
        let sender = self.sender.take();
        self.servers
            .with(|connections| connections.idle.extend(sender));
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("a request names no host")]
    Host,
    #[error("a request's authority cannot be written in HTTP/1.1")]
    Authority(#[source] header::InvalidHeaderValue),
    #[error("the server cannot be reached again")]
    Dial(#[source] io::Error),
    #[error("the server failed")]
    Server(#[from] hyper::Error),
}

//! Serves totals and the daemon's state over TCP, to be read and nothing else: `/metrics` (Prometheus' text format),
//! `/healthz`, `/readyz`.

mod text;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use super::{Backend, api};

/// Connections served at a time; others wait to be accepted.
const CONNECTIONS: usize = 16;
/// For a whole connection: one request and its answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest request head, in bytes.
const HEAD_LIMIT: usize = 8 * 1024;
/// Between attempts while the port is another's: a daemon that was taken over from gives it up a moment later.
const RETRY: Duration = Duration::from_secs(1);

/// The address for a server, taken before it serves.
#[derive(Debug)]
pub(crate) struct Place {
    address: SocketAddr,
    /// `None` while the port is another's.
    listener: Option<std::net::TcpListener>,
}

impl Place {
    /// # Errors
    /// There can be no such address here. A port that is another's is waited for.
    pub(crate) fn take(address: SocketAddr) -> io::Result<Self> {
        let listener = match std::net::TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tracing::error!(%address, "the port for metrics is another's: tried again every second");
                None
            }
            bound => Some(bound?),
        };
        Ok(Self { address, listener })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The running server. Ends when it is dropped, and its port is free then.
#[derive(Debug)]
pub(crate) struct Metrics {
    address: SocketAddr,
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Metrics {
    /// Serves from now on, or as soon as the port is free.
    ///
    /// # Errors
    /// No thread, or no runtime.
    pub(crate) fn start<B: Backend>(place: Place, backend: Arc<B>) -> io::Result<Self> {
        let Place { address, listener } = place;
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let listener = {
            let _context = runtime.enter();
            let listen = |listener: std::net::TcpListener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            };
            listener.map(listen).transpose()?
        };
        let (stop, mut stopped) = watch::channel(());
        let thread = thread::Builder::new()
            .name("metrics".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        biased;
                        // Its sender says nothing: it goes.
                        _ = stopped.changed() => {}
                        () = serve(address, listener, backend) => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Serves what another backend tells from now on.
    ///
    /// # Errors
    /// As those of [`Place::take`] and [`Self::start`].
    pub(crate) fn hand_on<B: Backend>(self, backend: Arc<B>) -> io::Result<Self> {
        let address = self.address;
        drop(self);
        Self::start(Place::take(address)?, backend)
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread for metrics panicked");
        }
    }
}

async fn serve<B: Backend>(address: SocketAddr, mut bound: Option<TcpListener>, backend: Arc<B>) {
    let listener = loop {
        if let Some(listener) = bound.take() {
            break listener;
        }
        sleep(RETRY).await;
        match TcpListener::bind(address).await {
            Ok(listener) => bound = Some(listener),
            Err(error) => tracing::debug!(%address, %error, "the port for metrics is not free yet"),
        }
    };
    tracing::info!(%address, "metrics are served");
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let backend = Arc::clone(&backend);
                tokio::spawn(async move {
                    connection(stream, backend).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                sleep(RETRY).await;
            }
        }
    }
}

async fn connection<B: Backend>(stream: TcpStream, backend: Arc<B>) {
    let service = service_fn(|request| {
        let backend = Arc::clone(&backend);
        async move { Ok::<_, Infallible>(answer(&*backend, &request).await) }
    });
    let exchange = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(DEADLINE)
        .keep_alive(false)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(DEADLINE, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics ended early"),
        Err(elapsed) => tracing::debug!(%elapsed, "a connection for metrics took too long"),
    }
}

pub(super) async fn answer<B: Backend, T>(
    backend: &B,
    request: &Request<T>,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    match request.uri().path() {
        "/metrics" => {
            let counts = backend.totals().await;
            let mut answer = plain(StatusCode::OK, text::of(&counts));
            answer
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(text::TYPE));
            answer
        }
        api::HEALTH => plain(StatusCode::OK, "ok\n".into()),
        api::READY => match backend.ready().await {
            Ok(()) => {
                let remarks = backend.remarks().await;
                let lines = remarks.iter().map(|remark| format!("{remark}\n"));
                plain(
                    StatusCode::OK,
                    "ok\n".to_owned() + &lines.collect::<String>(),
                )
            }
            Err(missing) => plain(StatusCode::SERVICE_UNAVAILABLE, missing + "\n"),
        },
        _ => plain(StatusCode::NOT_FOUND, "no such path\n".into()),
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

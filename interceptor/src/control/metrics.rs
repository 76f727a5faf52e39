//! Serves totals and the daemon's state over TCP, to be read and nothing else: `/metrics` (Prometheus' text format),
//! `/healthz`, `/readyz`.

mod text;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, thread, time::Duration};

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

/// The running server. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Metrics {
    _stop: watch::Sender<()>,
}

impl Metrics {
    /// Serves at `address` from now on, or as soon as the port is free.
    ///
    /// # Errors
    /// There can be no such address here, or no thread.
    pub(crate) fn start<B: Backend>(address: SocketAddr, backend: Arc<B>) -> io::Result<Self> {
        match std::net::TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tracing::error!(%address, "the port for metrics is another's: tried again every second");
            }
            bound => drop(bound?),
        }
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (stop, mut stopped) = watch::channel(());
        thread::Builder::new()
            .name("metrics".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        biased;
                        // Its sender says nothing: it goes.
                        _ = stopped.changed() => {}
                        () = serve(address, backend) => {}
                    }
                });
            })?;
        Ok(Self { _stop: stop })
    }
}

async fn serve<B: Backend>(address: SocketAddr, backend: Arc<B>) {
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => tracing::debug!(%address, %error, "the port for metrics is not free yet"),
        }
        sleep(RETRY).await;
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

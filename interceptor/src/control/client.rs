//! Asks the daemon over its control socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, runtime, time::timeout};

use super::{
    api::{
        self, AttachRequest, DetachRequest, ErrorView, Info, Order, ReloadView, SandboxView,
        StatsView,
    },
    server::CONNECTION_DEADLINE,
    socket_path,
};
use crate::stats::{
    Selection,
    view::{ConnectionView, EventView},
};

/// For a whole exchange. A little more than the server takes, so that its answer comes first.
const DEADLINE: Duration = CONNECTION_DEADLINE.saturating_add(Duration::from_secs(5));
/// Largest answer, in bytes: the 8,192 ended connections or events that an answer has at most are about 8 MiB.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// The daemon that serves one run directory. Every call is one connection and blocks the thread.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no daemon answers at {}: start it with `interceptor run`", .0.display()
    )]
    NoDaemon(PathBuf),
    #[error("the control socket {} is for root only: run this command as root", .0.display())]
    NotRoot(PathBuf),
    #[error("cannot connect to {}", .path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("the daemon at {} did not answer within {} s", .0.display(), DEADLINE.as_secs())]
    Deadline(PathBuf),
    /// The daemon closes the connections of peers that may not ask it for anything without a word.
    #[error(
        "the daemon at {} closed the connection without an answer: run this command as root, and outside of all sandboxes",
        .0.display()
    )]
    NoAnswer(PathBuf),
    #[error("the exchange with the daemon failed")]
    Exchange(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(
        "the daemon's answer cannot be read: are the command and the daemon of the same version?"
    )]
    Answer(#[source] serde_json::Error),
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
    #[error("{}", .error.error)]
    Refused { status: u16, error: ErrorView },
}

impl ClientError {
    /// What the daemon has to say beyond one line.
    pub(crate) fn detail(&self) -> &[String] {
        match self {
            Self::Refused { error, .. } => &error.detail,
            _ => &[],
        }
    }

    /// The request or the configuration is at fault, not the daemon.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::UNPROCESSABLE_ENTITY.as_u16())
    }
}

impl Client {
    pub(crate) fn new(run_dir: &Path) -> Self {
        Self {
            socket: socket_path(run_dir),
        }
    }

    /// A daemon that drains.
    pub(crate) fn of_draining(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub(crate) fn order(&self, order: &Order) -> Result<(), ClientError> {
        self.post(api::ORDERS, order)
    }

    pub(crate) fn info(&self) -> Result<Info, ClientError> {
        self.get(api::INFO)
    }

    pub(crate) fn attach(&self, request: &AttachRequest) -> Result<SandboxView, ClientError> {
        self.post(api::SANDBOXES, request)
    }

    pub(crate) fn detach(&self, request: &DetachRequest) -> Result<SandboxView, ClientError> {
        self.post(api::DETACH, request)
    }

    pub(crate) fn sandboxes(&self) -> Result<Vec<SandboxView>, ClientError> {
        self.get(api::SANDBOXES)
    }

    pub(crate) fn connections(&self, ended: bool) -> Result<Vec<ConnectionView>, ClientError> {
        if ended {
            self.get(&format!("{}?{}", api::CONNECTIONS, api::ENDED))
        } else {
            self.get(api::CONNECTIONS)
        }
    }

    pub(crate) fn events(&self, selection: &Selection) -> Result<Vec<EventView>, ClientError> {
        let Selection {
            sandbox,
            after,
            seen,
        } = selection;
        let sandbox = sandbox.as_deref().map(|name| {
            format!(
                "{}={}",
                api::SANDBOX,
                utf8_percent_encode(name, NON_ALPHANUMERIC)
            )
        });
        let after = after.map(|id| format!("{}={id}", api::AFTER));
        let seen = seen
            .iter()
            .map(|(daemon, id)| format!("{}={daemon}:{id}", api::SEEN));
        let query: Vec<_> = sandbox.into_iter().chain(after).chain(seen).collect();
        self.get(&format!("{}?{}", api::EVENTS, query.join("&")))
    }

    pub(crate) fn stats(&self) -> Result<StatsView, ClientError> {
        self.get(api::STATS)
    }

    pub(crate) fn reload(&self) -> Result<ReloadView, ClientError> {
        self.post(api::RELOAD, &())
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new())
    }

    fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Exchange(error.into()))?;
        self.ask(Method::POST, path, body.into())
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "interceptor")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Exchange(error.into()))?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(ClientError::Runtime)?;
        let (status, body) = runtime.block_on(async {
            timeout(DEADLINE, self.exchange(request))
                .await
                .unwrap_or_else(|_| Err(ClientError::Deadline(self.socket.clone())))
        })?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(ClientError::Answer);
        }
        let error = serde_json::from_slice(&body).map_err(ClientError::Answer)?;
        Err(ClientError::Refused {
            status: status.as_u16(),
            error,
        })
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(error))?;
        let answer = async {
            let answer: Response<Incoming> = sender
                .send_request(request)
                .await
                .map_err(|error| self.broken(error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_LIMIT)
                .collect()
                .await
                .map_err(ClientError::Exchange)?;
            Ok((status, body.to_bytes()))
        };
        // The connection is driven until the answer is there; how it ends then is of no interest.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    }

    fn unreachable(&self, error: io::Error) -> ClientError {
        let path = self.socket.clone();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoDaemon(path)
            }
            io::ErrorKind::PermissionDenied => ClientError::NotRoot(path),
            _ => ClientError::Connect {
                path,
                source: error,
            },
        }
    }

    fn broken(&self, error: hyper::Error) -> ClientError {
        let reset = std::error::Error::source(&error)
            .and_then(|source| source.downcast_ref::<io::Error>())
            .is_some_and(|source| source.kind() == io::ErrorKind::ConnectionReset);
        let closed =
            reset || error.is_incomplete_message() || error.is_canceled() || error.is_closed();
        if closed {
            ClientError::NoAnswer(self.socket.clone())
        } else {
            ClientError::Exchange(error.into())
        }
    }
}

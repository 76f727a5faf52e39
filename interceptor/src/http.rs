//! HTTP between one client and one server, both already connected: every request is checked against the authority that
//! the connection was authorised for, secrets go into the places they are bound to, and what a server repeats of them
//! comes back as placeholders.
//!
//! | file | job |
//! |---|---|
//! | `relay`, `turn` | HTTP/1: what is not changed goes on byte for byte |
//! | `h2` | HTTP/2: streams of their own, with what a stream says of itself carried on |
//! | `translation` | a client and a server that have no version in common |
//! | `request`, `resolution` | what is done with a request |
//! | `redaction` | what is done with a response |
//!
//! HTTP/1 requests are forwarded one at a time, each after its predecessor's response is complete. What a client pipelines
//! waits in a bounded buffer.

mod authority;
mod body;
mod deny;
mod framing;
pub(crate) mod h2;
mod head;
mod opaque;
mod plain;
mod redaction;
mod refusal;
mod relay;
mod request;
mod resolution;
mod reuse;
mod rewriting;
pub(crate) mod translation;
mod turn;
mod wire;

use std::{fmt, io, sync::Arc};

use bytes::BytesMut;
use tokio::sync::watch;

pub(crate) use self::{
    authority::Scheme,
    deny::deny,
    plain::{FirstError, first_head},
    refusal::Refusal,
    relay::relay,
    reuse::Supply,
};
use crate::{
    address::Authority,
    policy::{Judgement, RequestView},
    rewrite::{release::Release, standing::Standing},
    stats::connection::Connection,
    websocket::{WebSocketError, takeover},
};

/// What holds for all requests of one connection.
pub(crate) struct Exchange {
    pub(crate) scheme: Scheme,
    /// What the connection was authorised for: on TLS the SNI's name, on plain TCP the first request's host; with the
    /// port that the client connected to.
    pub(crate) authority: Authority,
    /// [`Release::nothing`] on plain TCP.
    pub(crate) release: Arc<Release>,
    pub(crate) stats: Arc<Connection>,
    /// Bytes that were read from the client before, not yet counted.
    pub(crate) early: BytesMut,
    /// Asked for each request.
    pub(crate) judge: Judge,
    /// Told of requests that are refused without an end to the connection, and of streams that are ended by themselves:
    /// one of a fixed set of codes, and the reason.
    pub(crate) denials: Denials,
    /// Asked for each offer to switch to another protocol than WebSocket, as the `Upgrade` header spells it.
    pub(crate) may_switch: MaySwitch,
    /// Hosts whose clients do not take what a handshake tells them.
    pub(crate) takeover: Arc<takeover::Memory>,
    /// Asked for `release`, and whether to go on at all, after every reload.
    pub(crate) standing: Standing,
    /// Once true, the connection ends after the request that is under way, a WebSocket with Close 1001. A dropped sender
    /// means never.
    pub(crate) shutdown: watch::Receiver<bool>,
}

pub(crate) type Denials = Box<dyn Fn(&'static str, &str) + Send + Sync>;

pub(crate) type MaySwitch = Box<dyn Fn(&str) -> bool + Send + Sync>;
pub(crate) type Judge = Arc<dyn Fn(&RequestView<'_>) -> Judgement + Send + Sync>;

/// Most interim (1xx) responses to one request.
const MAX_INTERIM: u32 = 64;

/// How a connection ended in order.
#[derive(Debug)]
pub(crate) enum End {
    ClientClosed,
    UpstreamClosed,
    /// Client or server asked for it with `Connection: close`, or by the protocol's rules.
    Closed,
    Idle,
    /// The daemon stops.
    ShutDown,
    /// The server sent bytes that no request asked for.
    OutOfTurn,
    /// Both sides of what it was switched to have ended.
    Switched,
    Refused(Refusal),
    WebSocket(crate::websocket::End),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientClosed => f.write_str("client closed"),
            Self::UpstreamClosed => f.write_str("server closed"),
            Self::Closed => f.write_str("closed after the last response"),
            Self::Idle => f.write_str("idle for too long"),
            Self::ShutDown => f.write_str("closed between requests, the daemon stops"),
            Self::OutOfTurn => f.write_str("server sent bytes that no request asked for"),
            Self::Switched => f.write_str("both sides closed"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::WebSocket(end) => end.fmt(f),
        }
    }
}

/// How a connection broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the connection to the client failed")]
    Client(#[source] io::Error),
    #[error("the connection to the server failed")]
    Upstream(#[source] io::Error),
    #[error("HTTP/2 with the client failed")]
    Http2Client(#[source] h2::Fault),
    #[error("HTTP/2 with the server failed")]
    Http2Upstream(#[source] h2::Fault),
    #[error("the client closed in the middle of a request")]
    ClientCutShort,
    #[error("the server closed in the middle of a response")]
    UpstreamCutShort,
    #[error("the client sent no byte of its request's body for {} s", .0.as_secs())]
    BodyStalled(std::time::Duration),
    #[error("the client has half-closed, and no byte moved for {} s", .0.as_secs())]
    HalfClosed(std::time::Duration),
    #[error("the websocket failed")]
    WebSocket(#[source] WebSocketError),
}

#[cfg(test)]
mod tests;

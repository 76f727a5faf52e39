//! What is left to do once both sides are connected: carry bytes.

use std::{io, pin::Pin, sync::Arc};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{client, server};

use super::{
    Call,
    keeper::Keeper,
    standing::{Footing, Passage},
};
use crate::{
    address::Authority,
    error::chain,
    flow::{denial::Denial, tunnel, upstream::Lease},
    http::{self, Exchange, HttpError, Scheme, Supply},
    stats::connection::Direction,
    tls::alpn::Protocol,
};

/// A connection on its way to its end.
type Carried<'c> = Pin<Box<dyn Future<Output = ()> + Send + 'c>>;

/// A connection whose two sides stand.
pub(super) enum Carriage {
    /// Unread. `early` is what was read from the client to decide.
    Tunnel {
        client: TcpStream,
        upstream: TcpStream,
        early: Vec<u8>,
        passage: Passage,
    },
    Http(Box<Relay>),
}

/// HTTP, and what it may turn into.
pub(super) struct Relay {
    pub(super) streams: Streams,
    pub(super) authority: Authority,
    /// Already read from the client.
    pub(super) early: BytesMut,
}

#[expect(
    clippy::large_enum_variant,
    reason = "boxed with the relay, and taken apart at once"
)]
pub(super) enum Streams {
    Plain {
        client: TcpStream,
        upstream: TcpStream,
    },
    Secured {
        client: server::TlsStream<TcpStream>,
        upstream: client::TlsStream<TcpStream>,
        /// What the client speaks.
        protocol: Protocol,
        /// What the upstream speaks.
        spoken: Protocol,
        lease: Lease,
    },
}

impl Carriage {
    pub(super) async fn carry(self, call: &Arc<Call>) {
        match self {
            Self::Tunnel {
                client,
                upstream,
                early,
                passage,
            } => tokio::select! {
                biased;
                revoked = call.revoked(&passage) => call.refuse(&Denial::Revoked(revoked)),
                carried = carry_unread(client, upstream, &early, call) => match carried {
                    Ok(()) => call.end("both sides closed"),
                    Err(error) => call.end(&chain(&error)),
                },
            },
            Self::Http(relay) => carry_http(*relay, call).await,
        }
    }
}

/// What an idle connection keeps is the last stage's memory, so all that is decided before is decided here.
fn carry_http(relay: Relay, call: &Arc<Call>) -> Carried<'_> {
    let Relay {
        streams,
        authority,
        early,
    } = relay;
    let (verified, evidence, reflection) = match &streams {
        Streams::Plain { .. } => (None, Arc::default(), Arc::default()),
        Streams::Secured { lease, .. } => {
            let verified = Some(lease.verified().clone());
            let reflection = Arc::clone(&lease.reflection);
            (verified, Arc::clone(&lease.evidence), reflection)
        }
    };
    let (release, judge, standing) = call.stand(Footing {
        host: authority.host.clone(),
        verified,
        evidence,
        reflection,
    });
    let switcher = Arc::clone(call);
    let host = authority.host.clone();
    let denier = Arc::clone(call);
    let exchange = |scheme| Exchange {
        scheme,
        authority,
        release,
        stats: Arc::clone(call.stats()),
        early,
        judge,
        denials: Box::new(move |code, reason| denier.deny_request(code, reason)),
        may_switch: Box::new(move |protocol| switcher.may_switch(&host, protocol)),
        takeover: Arc::clone(&call.sandbox.takeover),
        standing,
        shutdown: call.stop.clone(),
    };
    match streams {
        Streams::Plain { client, upstream } => {
            carry_http1(client, upstream, (), exchange(Scheme::Http), call)
        }
        Streams::Secured {
            client,
            upstream,
            protocol,
            spoken,
            lease,
        } => {
            let exchange = exchange(Scheme::Https);
            match (protocol, spoken) {
                (Protocol::Http1, Protocol::Http1) => {
                    let keeper = Keeper::new(call, lease);
                    carry_http1(client, upstream, keeper, exchange, call)
                }
                (Protocol::Http2, Protocol::Http2) => carry_http2(client, upstream, exchange, call),
                (Protocol::Http1, Protocol::Http2) | (Protocol::Http2, Protocol::Http1) => {
                    Box::pin(async move {
                        match (call.translated(upstream, lease, spoken).await, protocol) {
                            (Ok(upstream), Protocol::Http1) => {
                                carry_http1(client, upstream, (), exchange, call).await;
                            }
                            (Ok(upstream), Protocol::Http2) => {
                                carry_http2(client, upstream, exchange, call).await;
                            }
                            (Err(error), _) => call.end(&chain(&error)),
                        }
                    })
                }
            }
        }
    }
}

async fn carry_unread(
    mut client: TcpStream,
    mut upstream: TcpStream,
    early: &[u8],
    call: &Call,
) -> io::Result<()> {
    upstream.write_all(early).await?;
    call.stats()
        .count_bytes(Direction::ClientToServer, early.len() as u64);
    tunnel::relay(&mut client, &mut upstream, call.stats()).await
}

fn carry_http1<'c, C, U>(
    client: C,
    upstream: U,
    supply: impl Supply<U> + Send + 'c,
    exchange: Exchange,
    call: &'c Call,
) -> Carried<'c>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'c,
    U: AsyncRead + AsyncWrite + Unpin + Send + 'c,
{
    let relayed = http::relay(client, upstream, supply, exchange);
    Box::pin(async move { call.conclude(relayed.await) })
}

fn carry_http2<'c, C, U>(client: C, upstream: U, exchange: Exchange, call: &'c Call) -> Carried<'c>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    U: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // What a block takes along and then awaits, it has room for twice.
    let relayed = Box::pin(http::h2::relay(client, upstream, exchange));
    Box::pin(async move { call.conclude(relayed.await) })
}

impl Call {
    /// Records how an HTTP connection came to its end.
    fn conclude(&self, end: Result<http::End, HttpError>) {
        match end {
            Ok(http::End::Refused(refusal)) => self.deny(refusal.code(), &chain(&refusal)),
            Ok(end) => self.end(&end.to_string()),
            Err(HttpError::WebSocket(error)) => match error.denial() {
                Some((code, reason)) => self.deny(code, &reason),
                None => self.end(&chain(&HttpError::WebSocket(error))),
            },
            Err(error) => self.end(&chain(&error)),
        }
    }
}

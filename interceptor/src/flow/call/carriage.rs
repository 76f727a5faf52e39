//! What is left to do once both sides are connected: carry bytes.

use std::{io, sync::Arc};

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
            Self::Http(relay) => {
                let Relay {
                    streams,
                    authority,
                    early,
                } = *relay;
                let (verified, reflection) = match &streams {
                    Streams::Plain { .. } => (None, Arc::default()),
                    Streams::Secured { lease, .. } => {
                        let verified = Some(lease.verified().clone());
                        (verified, Arc::clone(&lease.reflection))
                    }
                };
                let (release, judge, standing) = call.stand(Footing {
                    host: authority.host.clone(),
                    verified,
                    reflection,
                });
                let switcher = Arc::clone(call);
                let host = authority.host.clone();
                let may_switch =
                    Box::new(move |protocol: &str| switcher.may_switch(&host, protocol));
                let exchange = |scheme| Exchange {
                    scheme,
                    authority,
                    release,
                    stats: Arc::clone(call.stats()),
                    early,
                    judge,
                    denials: {
                        let call = Arc::clone(call);
                        Box::new(move |code, reason| call.deny_request(code, reason))
                    },
                    may_switch,
                    takeover: Arc::clone(&call.sandbox.takeover),
                    standing,
                    shutdown: call.stop.clone(),
                };
                match streams {
                    Streams::Plain { client, upstream } => {
                        let exchange = exchange(Scheme::Http);
                        Box::pin(carry_http(client, upstream, (), exchange, call)).await;
                    }
                    Streams::Secured {
                        client,
                        upstream,
                        protocol,
                        spoken,
                        lease,
                    } if protocol != spoken => {
                        let exchange = exchange(Scheme::Https);
                        match Box::pin(call.translated(upstream, lease, spoken)).await {
                            Ok(upstream) if protocol == Protocol::Http1 => {
                                Box::pin(carry_http(client, upstream, (), exchange, call)).await;
                            }
                            Ok(upstream) => {
                                let relay = http::h2::relay(client, upstream, exchange);
                                call.conclude(Box::pin(relay).await);
                            }
                            Err(error) => call.end(&chain(&error)),
                        }
                    }
                    Streams::Secured {
                        client,
                        upstream,
                        protocol: Protocol::Http1,
                        spoken: _,
                        lease,
                    } => {
                        let exchange = exchange(Scheme::Https);
                        let keeper = Keeper::new(call, lease);
                        Box::pin(carry_http(client, upstream, keeper, exchange, call)).await;
                    }
                    Streams::Secured {
                        client,
                        upstream,
                        protocol: Protocol::Http2,
                        spoken: _,
                        lease: _,
                    } => {
                        let relay = http::h2::relay(client, upstream, exchange(Scheme::Https));
                        call.conclude(Box::pin(relay).await);
                    }
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

async fn carry_http<C, U>(
    client: C,
    upstream: U,
    supply: impl Supply<U>,
    exchange: Exchange,
    call: &Call,
) where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    call.conclude(http::relay(client, upstream, supply, exchange).await);
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

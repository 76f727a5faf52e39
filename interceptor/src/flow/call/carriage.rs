//! What is left to do once both sides are connected: carry bytes.

use std::{io, sync::Arc};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{client, server};

use super::Call;
use crate::{
    address::Authority,
    error::chain,
    flow::tunnel,
    http::{self, Exchange, HttpError, MethodDecision, Scheme},
    policy::{Endpoint, Enforcement},
    rewrite::release::Release,
    stats::connection::Direction,
    websocket::WebSocketError,
};

/// A connection whose two sides stand.
pub(super) enum Carriage {
    /// Unread. `early` is what was read from the client to decide.
    Tunnel {
        client: TcpStream,
        upstream: TcpStream,
        early: Vec<u8>,
    },
    Http(Box<Relay>),
}

/// HTTP, and what it may turn into.
pub(super) struct Relay {
    pub(super) streams: Streams,
    pub(super) authority: Authority,
    pub(super) release: Arc<Release>,
    pub(super) endpoint: Arc<Endpoint>,
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
    },
}

impl Carriage {
    pub(super) async fn carry(self, call: &Call) {
        match self {
            Self::Tunnel {
                client,
                upstream,
                early,
            } => match carry_unread(client, upstream, &early, call).await {
                Ok(()) => call.end("both sides closed"),
                Err(error) => call.end(&chain(&error)),
            },
            Self::Http(relay) => {
                let Relay {
                    streams,
                    authority,
                    release,
                    endpoint,
                    early,
                } = *relay;
                let exchange = |scheme| Exchange {
                    scheme,
                    authority,
                    release,
                    stats: Arc::clone(call.stats()),
                    early,
                    method: Box::new(move |method| judge(&endpoint, method)),
                    shutdown: call.stop.clone(),
                };
                match streams {
                    Streams::Plain { client, upstream } => {
                        Box::pin(carry_http(client, upstream, exchange(Scheme::Http), call)).await;
                    }
                    Streams::Secured { client, upstream } => {
                        Box::pin(carry_http(client, upstream, exchange(Scheme::Https), call)).await;
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

async fn carry_http<C, U>(client: C, upstream: U, exchange: Exchange, call: &Call)
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    match http::relay(client, upstream, exchange).await {
        Ok(http::End::Refused(refusal)) => call.deny(refusal.code(), &chain(&refusal)),
        Ok(end) => call.end(&end.to_string()),
        // Counted by what the client reads in the close.
        Err(HttpError::WebSocket(WebSocketError::Refused(refusal))) => {
            call.deny(refusal.code(), &chain(&refusal));
        }
        Err(HttpError::WebSocket(error @ WebSocketError::Opaque(fault))) => {
            call.deny(fault.code(), &chain(&error));
        }
        Err(HttpError::WebSocket(error @ WebSocketError::Forbidden)) => {
            call.deny("policy_denied", &chain(&error));
        }
        Err(error) => call.end(&chain(&error)),
    }
}

fn judge(endpoint: &Endpoint, method: &str) -> MethodDecision {
    if endpoint.allows_method(method) {
        return MethodDecision::Allow;
    }
    match endpoint.enforcement {
        Enforcement::Enforce => MethodDecision::Deny(format!(
            "rule {} has access {}, which does not allow this method",
            endpoint.rule, endpoint.access
        )),
        Enforcement::Audit => MethodDecision::Audit(endpoint.rule.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Access, Handling, Target};

    #[test]
    fn a_refused_method_is_told_its_rule_and_access() {
        let endpoint = Endpoint {
            rule: "docs/docs.example.com:443".into(),
            target: Target::Named("docs.example.com".parse().unwrap()),
            port: 443,
            handling: Handling::Intercept,
            access: Access::ReadOnly,
            enforcement: Enforcement::Enforce,
            allowed_ips: Vec::new(),
        };
        assert_eq!(judge(&endpoint, "GET"), MethodDecision::Allow);
        let told =
            "rule docs/docs.example.com:443 has access read-only, which does not allow this method";
        assert_eq!(
            judge(&endpoint, "POST"),
            MethodDecision::Deny(told.to_owned())
        );
    }
}

//! TLS: tunnelled, or opened on both sides.

use std::sync::Arc;

use bytes::BytesMut;
use rustls::AlertDescription;
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::client;

use super::{
    Call,
    carriage::{Carriage, Relay, Streams},
    standing::Passage,
};
use crate::{
    address::{Authority, Host},
    error::chain,
    flow::{
        denial::Denial,
        pool::Key,
        upstream::{Lease, Way},
    },
    policy::{Endpoint, Verdict},
    tls::{
        alpn::Protocol,
        hello::{self, Hello},
        upstream::UpstreamError,
    },
};

impl Call {
    pub(super) async fn secured(&self, client: TcpStream) -> Option<Carriage> {
        self.stats().note(|facts| facts.protocol = Some("tls"));
        // Until both sides stand: what is read of a ClientHello is held, and handshakes take time.
        let _desk = match self.sandbox.desk().await {
            Ok(desk) => desk,
            Err(denial) => {
                self.refuse(&denial);
                return None;
            }
        };
        let hello = match hello::read(client).await {
            Ok(hello) => hello,
            Err(error) => {
                // The client has been told.
                self.refuse(&Denial::Hello(error));
                return None;
            }
        };
        let Some(host) = hello.sni().cloned() else {
            return self.refuse_hello(hello, Denial::NoServerName).await;
        };
        self.stats().note(|facts| facts.sni = Some(host.clone()));
        match self.decide(&host) {
            Verdict::Deny(reason) => self.refuse_hello(hello, Denial::Policy(reason)).await,
            Verdict::Tunnel(endpoint) | Verdict::Tcp(endpoint) => {
                self.tunnel(hello, host, &endpoint).await
            }
            Verdict::Intercept(endpoint) => self.intercept(hello, host, endpoint).await,
        }
    }

    async fn tunnel(&self, hello: Hello, host: Host, endpoint: &Endpoint) -> Option<Carriage> {
        self.decided("tunnel", endpoint);
        if hello.has_encrypted_client_hello() {
            return self.refuse_hello(hello, Denial::EncryptedHello(host)).await;
        }
        match self.dial(&host, endpoint).await {
            Ok(upstream) => {
                let (client, early) = hello.into_tunnel();
                Some(Carriage::Tunnel {
                    client,
                    upstream,
                    early,
                    passage: Passage::Tunnel(host),
                })
            }
            Err(error) => self.refuse_hello(hello, Denial::Dial(error)).await,
        }
    }

    async fn intercept(
        &self,
        hello: Hello,
        host: Host,
        endpoint: Arc<Endpoint>,
    ) -> Option<Carriage> {
        self.decided("intercept", &endpoint);
        // Whoever offers nothing speaks HTTP/1.1.
        let offered = hello.protocols();
        let offer = offered.as_deref().unwrap_or(&[Protocol::Http1]);
        let Some(&preferred) = offer.first() else {
            return self.refuse_hello(hello, Denial::Protocol(host)).await;
        };
        // The upstream first: what is wrong there can then be told by an alert, before the client trusts us with
        // anything.
        let (upstream, lease) = match self.verified_upstream(&host, &endpoint, offer).await {
            Ok(upstream) => upstream,
            Err(denial) => return self.refuse_hello(hello, denial).await,
        };
        let chosen = upstream.get_ref().1.alpn_protocol().and_then(Protocol::of);
        let spoken = chosen.unwrap_or(Protocol::Http1);
        let (protocol, chosen) = if offer.contains(&spoken) {
            (spoken, chosen)
        } else {
            (preferred, offered.is_some().then_some(preferred))
        };
        let config = match self.engine.leaves().server_config(&host, chosen) {
            Ok(config) => config,
            Err(source) => {
                return self
                    .refuse_hello(hello, Denial::Mint { host, source })
                    .await;
            }
        };
        let begun = Instant::now();
        let client = match Box::pin(hello.accept(config)).await {
            Ok(client) => client,
            Err(error) => {
                self.end(&chain(&error));
                return None;
            }
        };
        self.stats()
            .note(|facts| facts.client_handshake = Some(begun.elapsed()));
        let port = self.origin.original.port();
        Some(Carriage::Http(Box::new(Relay {
            streams: Streams::Secured {
                client,
                upstream,
                protocol,
                spoken,
                lease,
            },
            authority: Authority { host, port },
            early: BytesMut::new(),
        })))
    }

    /// Speaks what the client offers; where it offers one protocol only and the server refuses that one, the other.
    async fn verified_upstream(
        &self,
        host: &Host,
        endpoint: &Endpoint,
        offer: &[Protocol],
    ) -> Result<(client::TlsStream<TcpStream>, Lease), Denial> {
        match (self.upstream_of(host, endpoint, offer).await, offer) {
            (
                Err(Denial::Upstream {
                    source: UpstreamError::Alert(AlertDescription::NoApplicationProtocol),
                    ..
                }),
                [only],
            ) => self.upstream_of(host, endpoint, &[only.other()]).await,
            (connected, _) => connected,
        }
    }

    async fn upstream_of(
        &self,
        host: &Host,
        endpoint: &Endpoint,
        offer: &[Protocol],
    ) -> Result<(client::TlsStream<TcpStream>, Lease), Denial> {
        let configuration = self.configuration.load_full();
        let key = Key {
            host: host.clone(),
            port: self.origin.original.port(),
            offer: offer.into(),
            redact: endpoint.redact,
            user: self.origin.process.uid,
            caller: self.known_caller(),
        };
        let way = Way {
            engine: &self.engine,
            sandbox: &self.sandbox,
            configuration: &configuration,
            endpoint,
            stats: self.stats(),
        };
        way.connect(key).await
    }

    async fn refuse_hello(&self, hello: Hello, denial: Denial) -> Option<Carriage> {
        self.refuse(&denial);
        hello.deny(denial.alert()).await;
        None
    }
}

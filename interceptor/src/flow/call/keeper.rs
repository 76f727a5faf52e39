//! Where a call's connection to its server goes when the client has ended.

use std::{sync::Arc, time::Duration};

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Call;
use crate::{
    error::chain,
    flow::upstream::{Lease, Way},
    http::Supply,
    policy::Verdict,
    tls::alpn::Protocol,
};

/// Holds what a relay needs to give its connection to the server back.
pub(super) struct Keeper {
    call: Arc<Call>,
    /// `None` once it was given back.
    lease: Option<Lease>,
}

impl Keeper {
    pub(super) fn new(call: &Arc<Call>, lease: Lease) -> Self {
        Self {
            call: Arc::clone(call),
            lease: Some(lease),
        }
    }
}

impl Supply<TlsStream<TcpStream>> for Keeper {
    fn idled(&self) -> Option<Duration> {
        self.lease.as_ref()?.idled
    }

    async fn renew(&mut self) -> Option<TlsStream<TcpStream>> {
        let lease = self.lease.as_mut()?;
        let Verdict::Intercept(endpoint) = self.call.decide(&lease.key.host) else {
            return None;
        };
        let configuration = self.call.configuration.load_full();
        let way = Way {
            engine: &self.call.engine,
            sandbox: &self.call.sandbox,
            configuration: &configuration,
            endpoint: &endpoint,
            stats: self.call.stats(),
        };
        match way.renew(lease).await {
            // The client was promised what the server chose before.
            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(Protocol::Http2.name()) => {
                None
            }
            Ok(stream) => Some(stream),
            Err(denial) => {
                tracing::debug!(
                    error = chain(&denial),
                    "no connection in the place of one that had ended"
                );
                None
            }
        }
    }

    fn give_back(&mut self, upstream: TlsStream<TcpStream>) {
        if let Some(lease) = self.lease.take() {
            lease.give_back(upstream, &self.call.engine, &self.call.sandbox);
        }
    }
}

//! A client and a server that have no version of HTTP in common.

use std::{io, sync::Arc};

use tokio::{io::DuplexStream, net::TcpStream};
use tokio_rustls::client::TlsStream;

use super::Call;
use crate::{
    error::chain,
    flow::{
        evidence::Evidence,
        pool::Key,
        upstream::{Lease, Way},
    },
    http::translation,
    policy::Verdict,
    tls::alpn::Protocol,
};

impl Call {
    /// What to relay to in the place of `upstream`, which speaks `spoken`, for a client that does not.
    ///
    /// # Errors
    /// The upstream is gone already.
    pub(super) async fn translated(
        self: &Arc<Self>,
        upstream: TlsStream<TcpStream>,
        lease: Lease,
        spoken: Protocol,
    ) -> io::Result<DuplexStream> {
        match spoken {
            Protocol::Http2 => translation::to_http2(upstream).await,
            Protocol::Http1 => {
                let call = Arc::clone(self);
                let lease = Arc::new((lease.key, lease.evidence));
                let dial = move || {
                    let (call, lease) = (Arc::clone(&call), Arc::clone(&lease));
                    Box::pin(async move { call.another(&lease.0, &lease.1).await }) as _
                };
                Ok(translation::to_http1(upstream, Box::new(dial)))
            }
        }
    }

    async fn another(&self, key: &Key, evidence: &Evidence) -> io::Result<TlsStream<TcpStream>> {
        let endpoint = match self.decide(&key.host) {
            Verdict::Intercept(endpoint) => endpoint,
            Verdict::Deny(_) | Verdict::Tunnel(_) | Verdict::Tcp(_) => {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
        };
        let configuration = self.configuration.load_full();
        let way = Way {
            engine: &self.engine,
            sandbox: &self.sandbox,
            configuration: &configuration,
            endpoint: &endpoint,
            stats: self.stats(),
        };
        let another = way.fresh(key).await;
        let (stream, proof) = another.map_err(|denial| io::Error::other(chain(&denial)))?;
        evidence.add(proof).map_err(io::Error::other)?;
        Ok(stream)
    }
}

//! The server of the benchmark: HTTP/1.1, HTTP/2 and WebSocket over TLS 1.3, under every name, keeping nothing.

mod answer;
mod echo;
mod events;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Result;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ServerConfig, crypto::aws_lc_rs, version::TLS13};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use tokio_rustls::TlsAcceptor;

use self::answer::answer;
pub(super) use self::{
    answer::ASKED,
    events::{BEFORE, BEHIND},
};
use super::order::Version;
use crate::pki::{Authority, Resolver};

/// A running server; it stops when dropped.
pub(super) struct Server {
    address: SocketAddr,
    authority: Arc<Authority>,
    // Holds its thread.
    _runtime: Runtime,
}

impl Server {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port, no thread or no randomness to be had.
    pub(super) fn start(token: &str) -> Result<Self> {
        let authority = Arc::new(Authority::new("test authority of the benchmark")?);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver::new(Arc::clone(&authority))));
        config.alpn_protocols = [Version::Http2, Version::Http1]
            .map(|version| version.alpn().to_vec())
            .into();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let token: Arc<str> = token.into();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, token) = (acceptor.clone(), Arc::clone(&token));
                tokio::spawn(async move {
                    // The client says what did not arrive.
                    drop(serve(stream, &acceptor, token).await);
                });
            }
        });
        Ok(Self {
            address,
            authority,
            _runtime: runtime,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

async fn serve(stream: TcpStream, acceptor: &TlsAcceptor, token: Arc<str>) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(Version::Http2.alpn());
    let io = TokioIo::new(stream);
    let service = service_fn(move |request| answer(request, Arc::clone(&token)));
    if h2 {
        let builder = http2::Builder::new(TokioExecutor::new());
        builder.serve_connection(io, service).await?;
    } else {
        let connection = http1::Builder::new().serve_connection(io, service);
        connection.with_upgrades().await?;
    }
    Ok(())
}

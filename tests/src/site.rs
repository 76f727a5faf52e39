//! A web server for clients of every kind, over HTTP/1.1 and HTTP/2, that remembers each request as it was written.
//!
//! It has every name; what it answers is a matter of the name and the path, and never of a credential: what a client
//! presented is for the record's reader to judge.

mod grpc;
mod h1;
mod h2;
mod reply;
mod routes;
mod seen;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

use self::reply::Reply;
pub use self::seen::Seen;
use crate::{
    pki::{Authority, Resolver},
    scenario::directory,
};

/// What is offered to clients in TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    Http1,
    Http2,
    Both,
}

/// What all connections share.
struct Shared {
    record: Mutex<Vec<Seen>>,
    directory: TempDir,
}

/// A running site; it stops when dropped.
pub struct Site {
    shared: Arc<Shared>,
    authority: Arc<Authority>,
    tls: TlsAcceptor,
    address: SocketAddr,
    runtime: Runtime,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Site {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port, no threads or no randomness to be had.
    pub fn start(versions: Versions) -> Result<Self> {
        let authority = Arc::new(Authority::new("test authority of the site")?);
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Resolver::new(Arc::clone(&authority))));
        let offered: &[&[u8]] = match versions {
            Versions::Http1 => &[b"http/1.1"],
            Versions::Http2 => &[b"h2"],
            Versions::Both => &[b"h2", b"http/1.1"],
        };
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let site = Self {
            shared: Arc::new(Shared {
                record: Mutex::default(),
                directory: directory()?,
            }),
            authority,
            tls: TlsAcceptor::from(Arc::new(config)),
            address: listener.local_addr()?,
            runtime: Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .context("starting the site's runtime")?,
        };
        site.listen(listener)?;
        Ok(site)
    }

    /// Serves one more listener, which may belong to another network namespace.
    ///
    /// # Errors
    /// The listener is broken.
    pub fn listen(&self, listener: TcpListener) -> Result<()> {
        listener.set_nonblocking(true)?;
        let (tls, shared) = (self.tls.clone(), Arc::clone(&self.shared));
        let _entered = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, shared) = (tls.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    stream.set_nodelay(true)?;
                    let stream = tls.accept(stream).await.context("TLS handshake")?;
                    // How a connection ends is its client's affair: what it asked is what counts.
                    match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => h2::serve(stream, shared).await,
                        _ => h1::serve(stream, shared).await,
                    }
                });
            }
        });
        Ok(())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The requests since they were last taken.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.record().clone()
    }

    /// The requests since the last time, in the order in which they were complete.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.record())
    }
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request that is complete, and keeps it.
    fn answer(&self, seen: Seen) -> Reply {
        let reply = routes::answer(&seen, self.directory.path());
        self.record().push(seen);
        reply
    }
}

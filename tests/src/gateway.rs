//! A local gateway that behaves like Discord's, over TLS and over plain HTTP, and like Slack's, OpenAI's and Telegram's
//! interfaces under their names.
//!
//! It keeps a record of what it saw, and never prints a token.

mod deflate;
mod discord;
pub mod frame;
mod http;
pub mod openai;
pub mod record;
mod service;
mod session;
mod sink;
pub mod slack;
mod socket;
pub mod telegram;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::{Builder, Runtime},
};
use tokio_rustls::TlsAcceptor;

use self::{
    deflate::PerMessage,
    record::{Bytes, Record, Seen},
    service::Service,
    sink::Sink,
    socket::Socket,
};
use crate::pki::{Authority, Resolver};

#[derive(Clone)]
pub struct Options {
    /// What IDENTIFY has to carry.
    pub token: String,
    pub heartbeat_interval: Duration,
    /// Bytes of a message above which the session is closed with 4002; Discord's limit is 4096.
    pub largest_payload: Option<usize>,
    /// permessage-deflate is accepted where it is offered.
    pub compression: bool,
    /// The bot is in a guild, where somebody says hello.
    pub populated: bool,
    /// Where READY tells clients to resume.
    pub resume_url: String,
    /// Keeps nothing of what it gets, and sends whatever is asked for.
    pub sink: bool,
}

impl Options {
    /// Discord's own limits.
    pub fn new(token: &str) -> Self {
        Self {
            token: token.to_owned(),
            heartbeat_interval: Duration::from_millis(41_250),
            largest_payload: Some(4096),
            compression: false,
            populated: false,
            resume_url: "wss://gateway.discord.gg".to_owned(),
            sink: false,
        }
    }

    /// What libraries expect to find.
    pub fn for_libraries(token: &str) -> Self {
        Self {
            compression: true,
            populated: true,
            ..Self::new(token)
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            token: _,
            heartbeat_interval,
            largest_payload,
            compression,
            populated,
            resume_url,
            sink,
        } = self;
        f.debug_struct("Options")
            .field("heartbeat_interval", heartbeat_interval)
            .field("largest_payload", largest_payload)
            .field("compression", compression)
            .field("populated", populated)
            .field("resume_url", resume_url)
            .field("sink", sink)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Shared {
    options: Options,
    record: Record,
    connections: AtomicU64,
    /// Of Telegram's updates.
    polls: AtomicU64,
}

/// A running gateway; it stops when dropped.
pub struct Gateway {
    shared: Arc<Shared>,
    authority: Arc<Authority>,
    tls: TlsAcceptor,
    address: SocketAddr,
    runtime: Runtime,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port, no threads or no randomness to be had.
    pub fn start(options: Options) -> Result<Self> {
        Self::start_on(options, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
    }

    /// Serves TLS on a listener, which may belong to another network namespace.
    ///
    /// # Errors
    /// No threads or no randomness to be had.
    pub fn start_on(options: Options, listener: TcpListener) -> Result<Self> {
        let authority = Arc::new(Authority::new("test authority of the gateway")?);
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Resolver::new(Arc::clone(&authority))));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let gateway = Self {
            shared: Arc::new(Shared {
                options,
                record: Record::default(),
                connections: AtomicU64::new(0),
                polls: AtomicU64::new(0),
            }),
            authority,
            tls: TlsAcceptor::from(Arc::new(config)),
            address: listener.local_addr()?,
            runtime: Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .context("starting the gateway's runtime")?,
        };
        gateway.listen(listener)?;
        Ok(gateway)
    }

    /// Serves TLS on one more listener.
    ///
    /// # Errors
    /// The listener is broken.
    pub fn listen(&self, listener: TcpListener) -> Result<()> {
        let tls = self.tls.clone();
        self.accept(listener, move |shared, stream, connection| {
            let tls = tls.clone();
            async move {
                let stream = tls.accept(stream).await.context("TLS handshake")?;
                let sni = stream.get_ref().1.server_name().unwrap_or_default();
                shared.record.add(Seen::Connected {
                    connection,
                    sni: sni.to_owned(),
                });
                serve(&shared, stream, connection).await
            }
        })
    }

    /// Serves plain HTTP on a free port of 127.0.0.1, and tells which.
    ///
    /// # Errors
    /// No port to be had.
    pub fn listen_plain(&self) -> Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        self.accept(listener, |shared, stream, connection| async move {
            serve(&shared, stream, connection).await
        })?;
        Ok(address)
    }

    fn accept<F, C>(&self, listener: TcpListener, carry: C) -> Result<()>
    where
        C: Fn(Arc<Shared>, TcpStream, u64) -> F + Send + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        listener.set_nonblocking(true)?;
        let shared = Arc::clone(&self.shared);
        let _entered = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
                let record = Arc::clone(&shared);
                let serving = carry(Arc::clone(&shared), stream, connection);
                tokio::spawn(async move {
                    if let Err(error) = serving.await {
                        let error = format!("{error:#}");
                        record.record.add(Seen::Failed { connection, error });
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

    pub fn record(&self) -> &Record {
        &self.shared.record
    }

    /// The token that logs in.
    pub fn token(&self) -> &str {
        &self.shared.options.token
    }
}

/// Serves requests until one upgrades, then the session.
async fn serve(
    shared: &Shared,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: u64,
) -> Result<()> {
    while let Some(request) = http::read(&mut stream).await? {
        let service = Service::of(&request.host);
        let token = service.judge(&request, shared);
        shared.record.add(Seen::Request {
            connection,
            line: service.line(&request),
            head: Bytes(request.head.clone()),
            body: Bytes(request.body.clone()),
            token,
        });
        let refusal = service.refusal(&request, token);
        if let (Some(key), true) = (&request.websocket_key, shared.options.sink) {
            let offers = request.extensions.as_deref().unwrap_or_default();
            let deflate = offers.starts_with("permessage-deflate");
            http::switch(&mut stream, key, deflate.then_some("permessage-deflate")).await?;
            return Sink::new(stream, shared, connection, deflate).serve().await;
        }
        if let (Some(key), None) = (&request.websocket_key, &refusal) {
            let offers = request
                .extensions
                .as_deref()
                .filter(|_| shared.options.compression);
            let deflate = offers.and_then(PerMessage::accept);
            let extensions = deflate.as_ref().map(PerMessage::answer);
            http::switch(&mut stream, key, extensions).await?;
            shared.record.add(Seen::Switched {
                connection,
                extensions: extensions.map(str::to_owned),
            });
            let socket = Socket::new(stream, shared, connection, deflate);
            return service.converse(&request, socket).await;
        }
        let answer = match refusal.filter(|_| request.websocket_key.is_some()) {
            Some(refusal) => refusal,
            None => service.answer(&request, token, shared).await,
        };
        http::answer(&mut stream, &answer).await?;
        if !request.keep_alive {
            break;
        }
    }
    Ok(())
}

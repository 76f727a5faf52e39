//! Connections to the server, direct or not.

use std::{
    collections::HashMap,
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    client::conn::{http1, http2},
    header,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::bench::{
    content::Content,
    order::{Order, Version, Work},
    server::ASKED,
};

/// Names, and whom to trust.
pub(super) struct Network {
    roots: RootCertStore,
    known: HashMap<String, SocketAddr>,
}

/// One on which requests can be sent.
pub(super) struct Connection {
    host: String,
    sender: Sender,
}

enum Sender {
    Http1(http1::SendRequest<Content>),
    Http2(http2::SendRequest<Content>),
}

impl Network {
    pub(super) fn new(trust: &[PathBuf], known: HashMap<String, SocketAddr>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for path in trust {
            for certificate in CertificateDer::pem_file_iter(path)? {
                roots.add(certificate?)?;
            }
        }
        Ok(Self { roots, known })
    }

    /// A TLS session made anew.
    pub(super) async fn dial(
        &mut self,
        host: &str,
        version: Version,
    ) -> Result<TlsStream<TcpStream>> {
        let address = self.resolve(host)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![version.alpn().to_vec()];
        let tcp = TcpStream::connect(address).await.context("connecting")?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(config));
        let name = host.to_owned().try_into()?;
        let stream = connector.connect(name, tcp).await.context("handshake")?;
        let agreed = stream.get_ref().1.alpn_protocol();
        ensure!(
            agreed == Some(version.alpn()) || agreed.is_none() && version == Version::Http1,
            "{version} was not agreed"
        );
        Ok(stream)
    }

    pub(super) async fn connect(&mut self, host: &str, version: Version) -> Result<Connection> {
        let io = TokioIo::new(self.dial(host, version).await?);
        // How a connection ends is told by what is sent on it.
        let sender = match version {
            Version::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(async move { drop(connection.await) });
                Sender::Http1(sender)
            }
            Version::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(async move { drop(connection.await) });
                Sender::Http2(sender)
            }
        };
        Ok(Connection {
            host: host.into(),
            sender,
        })
    }

    /// Once for each name, so that no figure has a question to a resolver in it.
    fn resolve(&mut self, host: &str) -> Result<SocketAddr> {
        if let Some(address) = self.known.get(host) {
            return Ok(*address);
        }
        let found = (host, 443)
            .to_socket_addrs()
            .with_context(|| format!("resolving {host}"))?;
        let address = found.into_iter().next().context("no address")?;
        self.known.insert(host.into(), address);
        Ok(address)
    }
}

impl Connection {
    /// Sends what an order says, and returns the answer's head; any status but success is an error.
    pub(super) async fn ask(
        &mut self,
        order: &Order,
        work: Work,
        content: Content,
    ) -> Result<Response<Incoming>> {
        let method = match work {
            Work::Upload { .. } => Method::POST,
            _ => Method::GET,
        };
        let host = &self.host;
        let uri = match self.sender {
            Sender::Http1(_) => "/api/v10/users/@me".to_owned(),
            Sender::Http2(_) => format!("https://{host}/api/v10/users/@me"),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("user-agent", "bench")
            .header("accept", "*/*")
            .header(ASKED, serde_json::to_string(&work)?);
        if let Sender::Http1(_) = self.sender {
            request = request.header(header::HOST, host);
        }
        if matches!(work, Work::Upload { .. }) {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if order.bearer {
            let value = format!("Bearer {}", order.credential);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(content)?;
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let status = response.status();
        ensure!(status.is_success(), "answered with {status}");
        Ok(response)
    }
}

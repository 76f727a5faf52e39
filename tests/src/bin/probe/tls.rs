//! TLS by rustls, trusting what `SSL_CERT_FILE` holds.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::aws_lc_rs};

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn config() -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

pub(crate) fn resolve(name: &str, port: u16) -> Result<SocketAddr> {
    (name, port)
        .to_socket_addrs()
        .with_context(|| format!("resolving {name}"))?
        .next()
        .with_context(|| format!("{name} has no address"))
}

pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let tcp = TcpStream::connect_timeout(&address, Duration::from_secs(15))
        .with_context(|| format!("connecting to {address}"))?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(15)))?;
    Ok(tcp)
}

/// A connection whose handshake is done.
pub(crate) fn handshake(tcp: TcpStream, sni: &str, config: Arc<ClientConfig>) -> Result<Stream> {
    let connection = ClientConnection::new(config, sni.to_owned().try_into()?)?;
    let mut stream = StreamOwned::new(connection, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

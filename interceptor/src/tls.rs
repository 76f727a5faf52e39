//! TLS on both sides: reads what a client asks for, vouches for names with our own CA, and verifies upstreams.

use std::{
    io,
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub(crate) mod alpn;
pub(crate) mod anchor;
pub(crate) mod ca;
mod farewell;
pub(crate) mod hello;
pub(crate) mod identity;
pub(crate) mod leaf;
mod pem;
mod roots;
#[cfg(test)]
mod testing;
pub(crate) mod upstream;

/// For a ClientHello to be complete, and again for each of the two handshakes.
const DEADLINE: Duration = Duration::from_secs(10);

/// The one provider. Passed to every builder, so that nothing depends on a process-wide default.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

/// The rustls error inside an error of tokio-rustls, if TLS and not the socket failed.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The peer went away, as opposed to: the socket is broken in some way that wants a look.
fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

//! What a client asks for, before anything is promised to it.

use std::{fmt, io, sync::Arc};

use rustls::{
    AlertDescription, ServerConfig,
    server::{Accepted, Acceptor},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{StartHandshake, server::TlsStream};

use crate::{
    address::{Host, HostError},
    tls::{DEADLINE, alpn::Protocol, farewell, is_hang_up, tls_error},
};

mod extensions;

/// The bytes of a ClientHello with its record headers, at most. Real ones have 200 to 2000.
const LIMIT: usize = 64 * 1024;

/// One read from the socket, at most. rustls takes as much in one go.
const READ: u64 = 4096;

/// A client that has said what it wants and waits for an answer.
///
/// It may be held for as long as the upstream needs to be dialled and verified. Dropped without an answer, the
/// connection is closed.
pub(crate) struct Hello<S = TcpStream> {
    stream: S,
    /// Every byte read from `stream`.
    seen: Vec<u8>,
    /// Of `seen`, what `accepted` has taken in.
    fed: usize,
    accepted: Accepted,
    sni: Option<Host>,
    encrypted_client_hello: bool,
}

/// Reads a ClientHello, over as many segments and records as it takes: at most 64 KiB in at most 10 s.
///
/// # Errors
/// The client has been sent an alert, where TLS has one for the fault, and the connection is closed.
pub(crate) async fn read<S>(mut stream: S) -> Result<Hello<S>, HelloError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut seen = Vec::new();
    let fault = match timeout(DEADLINE, collect(&mut stream, &mut seen)).await {
        Ok(Ok((accepted, fed))) => match names(&accepted, &seen) {
            Ok((sni, encrypted_client_hello)) => {
                return Ok(Hello {
                    stream,
                    seen,
                    fed,
                    accepted,
                    sni,
                    encrypted_client_hello,
                });
            }
            Err(error) => Fault::new(error),
        },
        Ok(Err(fault)) => fault,
        Err(_elapsed) => Fault::new(HelloError::Timeout),
    };
    farewell::say(stream, &fault.alert).await;
    Err(fault.error)
}

impl<S> Hello<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// The name in the `server_name` extension; `None` only if the client sent no such extension.
    pub(crate) fn sni(&self) -> Option<&Host> {
        self.sni.as_ref()
    }

    /// The client sent `encrypted_client_hello`, real or GREASE (RFC 9849 §6.2 makes them look alike). Intercepted, it is
    /// answered as if absent. In a tunnel the name that counts may be the encrypted one, and `sni()` only a cover.
    pub(crate) fn has_encrypted_client_hello(&self) -> bool {
        self.encrypted_client_hello
    }

    /// The protocols that the client offers and the relay knows, in the client's order; `None`: it offers none at all.
    pub(crate) fn protocols(&self) -> Option<Vec<Protocol>> {
        let hello = self.accepted.client_hello();
        hello.alpn().map(Protocol::known)
    }

    /// For a tunnel: the socket, and what has been read from it, which the upstream has to get first.
    pub(crate) fn into_tunnel(self) -> (S, Vec<u8>) {
        (self.stream, self.seen)
    }

    /// Answers the client in our own name, within 10 s.
    ///
    /// # Errors
    /// The client does not trust our CA, has nothing in common with `config`, went away, or stalled.
    pub(crate) async fn accept(
        self,
        config: Arc<ServerConfig>,
    ) -> Result<TlsStream<S>, AcceptError> {
        let Self {
            stream,
            seen,
            fed,
            accepted,
            sni: _,
            encrypted_client_hello: _,
        } = self;
        let mut unfed = seen.get(fed..).unwrap_or_default();
        let mut refill = Ok(0);
        let handshake =
            StartHandshake::from_parts(accepted, stream).into_stream_with(config, |connection| {
                if !unfed.is_empty() {
                    refill = connection.read_tls(&mut unfed);
                }
            });
        refill.map_err(AcceptError::from)?;
        if !unfed.is_empty() {
            return Err(AcceptError::Surplus);
        }
        timeout(DEADLINE, handshake)
            .await
            .map_err(|_elapsed| AcceptError::Timeout)?
            .map_err(AcceptError::from)
    }

    /// Refuses the client with a fatal alert that it can read, and closes. Takes 2 s at most.
    pub(crate) async fn deny(self, alert: AlertDescription) {
        farewell::say(self.stream, &farewell::record(alert)).await;
    }
}

impl<S> fmt::Debug for Hello<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stream: _,
            seen,
            fed: _,
            accepted: _,
            sni,
            encrypted_client_hello,
        } = self;
        f.debug_struct("Hello")
            .field("sni", sni)
            .field("encrypted_client_hello", encrypted_client_hello)
            .field("bytes", &seen.len())
            .finish_non_exhaustive()
    }
}

/// Why there is no ClientHello to decide upon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("the client sent no complete ClientHello within {} s", DEADLINE.as_secs())]
    Timeout,
    #[error("the client closed the connection before its ClientHello was complete")]
    Closed,
    #[error("the client's ClientHello is larger than {LIMIT} bytes")]
    TooLarge,
    #[error("the client does not speak TLS on a port where it is expected (first byte {0:#04x})")]
    NotTls(u8),
    #[error("the client's ClientHello cannot be used")]
    Malformed(#[source] rustls::Error),
    #[error("the client's ClientHello does not read the same twice")]
    Inconsistent,
    #[error("the client asks for a server name that is no host name")]
    ServerName(#[source] HostError),
    #[error("reading the ClientHello failed")]
    Io(#[source] io::Error),
}

impl HelloError {
    fn alert(&self) -> Option<AlertDescription> {
        match self {
            Self::TooLarge | Self::NotTls(_) | Self::Malformed(_) | Self::Inconsistent => {
                Some(AlertDescription::DecodeError)
            }
            Self::ServerName(_) => Some(AlertDescription::UnrecognisedName),
            Self::Timeout | Self::Closed | Self::Io(_) => None,
        }
    }
}

/// Why the handshake with the client came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error(
        "the client does not trust the interceptor's CA (alert {0:?}): point its trust store at ca-bundle.pem"
    )]
    Untrusted(AlertDescription),
    #[error("the client stalled in the handshake for {} s", DEADLINE.as_secs())]
    Timeout,
    #[error(
        "the client closed the connection during the handshake: does it trust the interceptor's CA?"
    )]
    Closed,
    #[error("the client sent more than a ClientHello before it got an answer")]
    Surplus,
    #[error("the client and the interceptor found no common ground")]
    Tls(#[source] rustls::Error),
    #[error("the handshake with the client failed")]
    Io(#[source] io::Error),
}

impl From<io::Error> for AcceptError {
    fn from(error: io::Error) -> Self {
        match tls_error(&error) {
            Some(rustls::Error::AlertReceived(
                alert @ (AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown),
            )) => Self::Untrusted(*alert),
            Some(error) => Self::Tls(error.clone()),
            None if is_hang_up(&error) => Self::Closed,
            None => Self::Io(error),
        }
    }
}

/// An error, and what the client is told.
struct Fault {
    error: HelloError,
    alert: Vec<u8>,
}

impl Fault {
    fn new(error: HelloError) -> Self {
        let alert = error.alert().map(farewell::record);
        Self {
            alert: alert.map_or_else(Vec::new, Vec::from),
            error,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::new(if is_hang_up(&error) {
            HelloError::Closed
        } else {
            HelloError::Io(error)
        })
    }
}

/// Reads into `seen` until rustls has a ClientHello; gives it with the number of bytes that it has taken from `seen`.
async fn collect<S>(stream: &mut S, seen: &mut Vec<u8>) -> Result<(Accepted, usize), Fault>
where
    S: AsyncRead + Unpin,
{
    const HANDSHAKE_RECORD: u8 = 22;

    let mut acceptor = Acceptor::default();
    let mut fed = 0;
    loop {
        if seen.len() >= LIMIT {
            return Err(Fault::new(HelloError::TooLarge));
        }
        if stream.take(READ).read_buf(seen).await? == 0 {
            return Err(Fault::new(HelloError::Closed));
        }
        if let Some(&first) = seen.first()
            && first != HANDSHAKE_RECORD
        {
            return Err(Fault::new(HelloError::NotTls(first)));
        }
        while let Some(mut unfed) = seen.get(fed..).filter(|unfed| !unfed.is_empty()) {
            // rustls holds one record, or 64 KiB of a message in several: an error means that it is full.
            fed += acceptor
                .read_tls(&mut unfed)
                .map_err(|_full| Fault::new(HelloError::TooLarge))?;
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok((accepted, fed)),
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut fault = Fault::new(HelloError::Malformed(error));
                    let mut bytes = Vec::new();
                    alert.write_all(&mut bytes)?;
                    // rustls knows a better alert for some faults, and none for others.
                    if !bytes.is_empty() {
                        fault.alert = bytes;
                    }
                    return Err(fault);
                }
            }
        }
    }
}

/// The name asked for, and whether there may be another one behind it.
fn names(accepted: &Accepted, seen: &[u8]) -> Result<(Option<Host>, bool), HelloError> {
    let kinds = extensions::kinds(seen).ok_or(HelloError::Inconsistent)?;
    let sni = match accepted.client_hello().server_name() {
        Some(name) => Some(name.parse().map_err(HelloError::ServerName)?),
        // rustls ignores an address in this extension, which RFC 6066 §3 forbids. To us it is a name that we cannot
        // decide upon, not the absence of one.
        None if kinds.contains(&extensions::SERVER_NAME) => {
            return Err(HelloError::ServerName(HostError::Address));
        }
        None => None,
    };
    Ok((sni, kinds.contains(&extensions::ENCRYPTED_CLIENT_HELLO)))
}

#[cfg(test)]
mod tests;

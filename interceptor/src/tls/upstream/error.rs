//! Why an upstream is not who it should be, in an operator's words.

use std::io;

use rustls::{AlertDescription, CertificateError};

use crate::tls::{DEADLINE, is_hang_up, tls_error};

/// Why there is no verified connection. Nothing but a ClientHello has been sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the upstream's certificate has expired")]
    Expired(#[source] rustls::Error),
    #[error("the upstream's certificate is not valid yet: is the clock right?")]
    NotYetValid(#[source] rustls::Error),
    #[error(
        "the upstream's certificate is self-signed or from an unknown CA: if it is yours, add its root to `upstream: {{roots: [...]}}`"
    )]
    UnknownIssuer(#[source] rustls::Error),
    #[error("the upstream's certificate is for another name")]
    WrongName(#[source] rustls::Error),
    #[error("the upstream's certificate has been revoked")]
    Revoked(#[source] rustls::Error),
    #[error("the upstream's certificate is not acceptable")]
    Certificate(#[source] rustls::Error),
    #[error("the upstream refused the handshake with alert {0:?}")]
    Alert(AlertDescription),
    #[error("the upstream does not speak TLS as we do")]
    Protocol(#[source] rustls::Error),
    #[error("the name cannot stand in a certificate")]
    Name,
    #[error("the upstream stalled in the handshake for {} s", DEADLINE.as_secs())]
    Timeout,
    #[error("the upstream closed the connection during the handshake")]
    Closed,
    #[error("the handshake with the upstream failed")]
    Io(#[source] io::Error),
}

impl UpstreamError {
    /// The upstream showed a certificate that does not make it the name's owner.
    pub(crate) fn is_certificate(&self) -> bool {
        match self {
            Self::Expired(_)
            | Self::NotYetValid(_)
            | Self::UnknownIssuer(_)
            | Self::WrongName(_)
            | Self::Revoked(_)
            | Self::Certificate(_) => true,
            Self::Alert(_)
            | Self::Protocol(_)
            | Self::Name
            | Self::Timeout
            | Self::Closed
            | Self::Io(_) => false,
        }
    }
}

impl From<io::Error> for UpstreamError {
    fn from(error: io::Error) -> Self {
        match tls_error(&error) {
            Some(error) => error.clone().into(),
            None if is_hang_up(&error) => Self::Closed,
            None => Self::Io(error),
        }
    }
}

impl From<rustls::Error> for UpstreamError {
    fn from(error: rustls::Error) -> Self {
        let rustls::Error::InvalidCertificate(reason) = &error else {
            return match error {
                rustls::Error::AlertReceived(alert) => Self::Alert(alert),
                error => Self::Protocol(error),
            };
        };
        match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Self::Expired(error)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid(error)
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer(error),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName(error)
            }
            CertificateError::Revoked => Self::Revoked(error),
            _ => Self::Certificate(error),
        }
    }
}

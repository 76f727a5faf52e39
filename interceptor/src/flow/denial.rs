//! Why a connection was refused, and what its client is told. One exhaustive match per answer.

use rustls::AlertDescription;

use super::dial::DialError;
use crate::{
    address::Host,
    error::chain,
    http::Refusal,
    policy,
    tls::{hello::HelloError, leaf::MintError, upstream::UpstreamError},
};

/// A refusal, worded for the operator of the sandbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denial {
    #[error("the ClientHello could not be read")]
    Hello(#[source] HelloError),
    #[error(
        "the ClientHello names no server (SNI), and no `protocol: tcp` endpoint covers the address"
    )]
    NoServerName,
    #[error(
        "the ClientHello for {0} is encrypted (ECH): the real name behind a tunnel could be another one"
    )]
    EncryptedHello(Host),
    #[error(transparent)]
    Policy(policy::Denial),
    #[error(
        "the client speaks neither TLS nor HTTP, and no `protocol: tcp` endpoint covers the address"
    )]
    Unreadable,
    #[error("the client sent nothing within 10 s")]
    Silent,
    #[error("the upstream cannot be reached")]
    Dial(#[source] DialError),
    #[error("the upstream is not the verified owner of {host}")]
    Upstream { host: Host, source: UpstreamError },
    #[error("no certificate could be made for {host}")]
    Mint { host: Host, source: MintError },
}

impl Denial {
    /// One of a fixed set, by which denials are counted.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Hello(_) => "client_hello",
            Self::NoServerName => "no_server_name",
            Self::EncryptedHello(_) => "encrypted_client_hello",
            Self::Policy(_) => "policy",
            Self::Unreadable => "unknown_protocol",
            Self::Silent => "silent_client",
            Self::Dial(_) => "upstream_unreachable",
            Self::Upstream { .. } => "upstream_unverified",
            Self::Mint { .. } => "certificate",
        }
    }

    /// What a TLS client is told (RFC 8446 §6.2).
    pub(super) fn alert(&self) -> AlertDescription {
        match self {
            Self::NoServerName => AlertDescription::UnrecognisedName,
            Self::EncryptedHello(_) | Self::Policy(_) | Self::Unreadable => {
                AlertDescription::AccessDenied
            }
            Self::Upstream { .. } => AlertDescription::BadCertificate,
            Self::Hello(_) | Self::Silent | Self::Dial(_) | Self::Mint { .. } => {
                AlertDescription::InternalError
            }
        }
    }

    /// The error and its causes, in one line.
    pub(super) fn detail(&self) -> String {
        chain(self)
    }
}

/// What a client of plain HTTP is told.
impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        let detail = denial.detail();
        match denial {
            Denial::Dial(_) | Denial::Upstream { .. } => Self::Unreachable(detail),
            Denial::Hello(_)
            | Denial::NoServerName
            | Denial::EncryptedHello(_)
            | Denial::Policy(_)
            | Denial::Unreadable
            | Denial::Silent
            | Denial::Mint { .. } => Self::Denied(detail),
        }
    }
}

//! Why a connection was refused, and what its client is told. One exhaustive match per answer.

use rustls::AlertDescription;

use super::dial::DialError;
use crate::{
    address::Host,
    error::chain,
    http::Refusal,
    policy,
    rewrite::standing::Revoked,
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
    #[error("no rule names port {0} of any host")]
    Port(u16),
    #[error(
        "the sandbox has {0} connections open, which is the most that it may (`limits.connections`, or its share of the \
         daemon's descriptors)"
    )]
    Crowded(usize),
    #[error("the sandbox opens more than {0} connections a second (`limits.connects_per_second`)")]
    Hasty(u32),
    #[error(
        "the sandbox has {0} connections being set up, which is the most that it may (`limits.handshakes`): none was ready \
         within 10 s"
    )]
    Busy(usize),
    #[error("the upstream cannot be reached")]
    Dial(#[source] DialError),
    #[error("the upstream is not the verified owner of {host}")]
    Upstream { host: Host, source: UpstreamError },
    #[error(
        "the client offers {0} no protocol that can be read (http/1.1, h2): `tls: skip` lets it pass unread"
    )]
    Protocol(Host),
    #[error("the configuration was changed")]
    Revoked(#[source] Revoked),
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
            Self::Policy(_) | Self::Port(_) => "policy",
            Self::Revoked(revoked) => revoked.code(),
            Self::Unreadable | Self::Protocol(_) => "unknown_protocol",
            Self::Silent => "silent_client",
            Self::Crowded(_) => "too_many_connections",
            Self::Hasty(_) => "too_many_connects",
            Self::Busy(_) => "too_many_handshakes",
            Self::Dial(DialError::Lookup { refusal, .. }) => refusal.reason(),
            Self::Dial(DialError::Own { .. }) => "own_address",
            Self::Dial(_) => "upstream_unreachable",
            Self::Upstream { source, .. } if source.is_certificate() => "upstream_unverified",
            Self::Upstream { .. } => "upstream_handshake",
            Self::Mint { .. } => "certificate",
        }
    }

    /// What a TLS client is told (RFC 8446 §6.2).
    pub(super) fn alert(&self) -> AlertDescription {
        match self {
            Self::NoServerName => AlertDescription::UnrecognisedName,
            Self::Protocol(_)
            | Self::Upstream {
                source: UpstreamError::Alert(AlertDescription::NoApplicationProtocol),
                ..
            } => AlertDescription::NoApplicationProtocol,
            Self::EncryptedHello(_)
            | Self::Policy(_)
            | Self::Port(_)
            | Self::Unreadable
            | Self::Revoked(_) => AlertDescription::AccessDenied,
            Self::Upstream { source, .. } if source.is_certificate() => {
                AlertDescription::BadCertificate
            }
            Self::Hello(_)
            | Self::Silent
            | Self::Crowded(_)
            | Self::Hasty(_)
            | Self::Busy(_)
            | Self::Dial(_)
            | Self::Upstream { .. }
            | Self::Mint { .. } => AlertDescription::InternalError,
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
            | Denial::Protocol(_)
            | Denial::Silent
            | Denial::Port(_)
            | Denial::Crowded(_)
            | Denial::Hasty(_)
            | Denial::Busy(_)
            | Denial::Revoked(_)
            | Denial::Mint { .. } => Self::Denied(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(source: UpstreamError) -> Denial {
        let host = "api.example.com".parse().unwrap();
        Denial::Upstream { host, source }
    }

    #[test]
    fn a_client_is_told_when_there_is_no_protocol_in_common() {
        let refused = UpstreamError::Alert(AlertDescription::NoApplicationProtocol);
        for told in [
            upstream(refused),
            Denial::Protocol("api.example.com".parse().unwrap()),
        ] {
            assert_eq!(told.alert(), AlertDescription::NoApplicationProtocol);
        }
    }

    #[test]
    fn a_certificate_is_blamed_only_for_its_own_faults() {
        let wrong = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let told = upstream(wrong.into());
        assert_eq!(told.alert(), AlertDescription::BadCertificate);
        assert_eq!(told.reason(), "upstream_unverified");
        for source in [UpstreamError::Timeout, UpstreamError::Closed] {
            let told = upstream(source);
            assert_eq!(told.alert(), AlertDescription::InternalError);
            assert_eq!(told.reason(), "upstream_handshake");
        }
    }
}

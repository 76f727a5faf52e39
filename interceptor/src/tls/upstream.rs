//! The way out: TLS to the real server, verified.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::{ClientSessionMemoryCache, ResolvesClientCert, Resumption, WebPkiServerVerifier},
};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    address::{Host, VerifiedName},
    policy::HostPattern,
    tls::{
        DEADLINE,
        identity::ClientCertificate,
        pem::{CertificatesError, certificates},
        provider, roots,
    },
};

mod error;
mod proof;

use self::proof::Proofs;
pub(crate) use self::{error::UpstreamError, proof::Proof};

/// Sessions of one sandbox that are kept: those of 64 names, with 8 tickets each.
const SESSIONS: usize = 64 * 8;

/// Opens verified TLS connections. Nothing turns verification off.
///
/// Sessions are resumed. The resumed session's certificate was verified, for the same name and by the same roots, when the
/// session began: at most 7 days ago (RFC 8446 §4.6.1). A session is resumed only as the client that began it, and by the
/// connector that did: rustls compares who verified and who was shown.
pub(crate) struct Connector {
    anonymous: ClientConfig,
    /// The first one that names a host shows its certificate there, if it is asked to.
    identified: Vec<(Vec<HostPattern>, ClientConfig)>,
    roots: Arc<RootCertStore>,
    /// That of all configurations.
    verifier: Arc<WebPkiServerVerifier>,
}

/// A connection to the owner of a name.
#[derive(Debug)]
pub(crate) struct Verified<S> {
    pub(crate) stream: TlsStream<S>,
    pub(crate) name: VerifiedName,
    /// To be held against later connectors.
    pub(crate) proof: Arc<Proof>,
}

/// Sessions that may be resumed, of one sandbox. In another one they would tell a server that both are the same client.
#[derive(Clone)]
pub(crate) struct Sessions {
    tickets: Arc<ClientSessionMemoryCache>,
    proofs: Proofs,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            tickets: Arc::new(ClientSessionMemoryCache::new(SESSIONS)),
            proofs: Proofs::default(),
        }
    }
}

impl Connector {
    /// Trusts the platform's roots and those in the PEM files `extra_roots`; shows `certificates` to the hosts that they
    /// are for, once those are verified.
    ///
    /// # Errors
    /// A file cannot be read or holds no certificate, or there is nothing to trust.
    pub(crate) fn new(
        extra_roots: &[PathBuf],
        certificates: &[ClientCertificate],
    ) -> Result<Self, RootsError> {
        Self::with_roots(trusted(extra_roots)?, certificates)
    }

    /// As [`Self::new`], in the place of this one. Where it trusts the same roots, sessions go on, and what this one has
    /// verified need not be verified again.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub(crate) fn renew(
        &self,
        extra_roots: &[PathBuf],
        certificates: &[ClientCertificate],
    ) -> Result<Self, RootsError> {
        let roots = trusted(extra_roots)?;
        if roots.roots != self.roots.roots {
            return Self::with_roots(roots, certificates);
        }
        Ok(Self {
            anonymous: self.anonymous.clone(),
            identified: identified(&self.anonymous, certificates),
            roots: Arc::clone(&self.roots),
            verifier: Arc::clone(&self.verifier),
        })
    }

    /// Whether both trust the same roots.
    pub(crate) fn trusts_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.verifier, &other.verifier)
    }

    fn with_roots(
        store: RootCertStore,
        certificates: &[ClientCertificate],
    ) -> Result<Self, RootsError> {
        let roots = Arc::new(store);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .build()
            .map_err(|error| RootsError::Tls(rustls::Error::General(error.to_string())))?;
        let anonymous = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(RootsError::Tls)?
            .with_webpki_verifier(Arc::clone(&verifier))
            .with_no_client_auth();
        Ok(Self {
            identified: identified(&anonymous, certificates),
            anonymous,
            roots,
            verifier,
        })
    }

    /// Speaks TLS on `stream` and verifies that the other side is `host`, within 10 s. `alpn` are the protocols to
    /// offer; none: no such extension. `sessions` are the caller's, to resume one and to note new ones.
    ///
    /// # Errors
    /// The other side is not `host` for all that we know, speaks no TLS, stalled, or went away.
    pub(crate) async fn connect<S>(
        &self,
        stream: S,
        host: &Host,
        alpn: &[&[u8]],
        sessions: &Sessions,
    ) -> Result<Verified<S>, UpstreamError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.as_str().to_owned())
            .map_err(|_invalid| UpstreamError::Name)?;
        let mut config = self.config(host).clone();
        config.alpn_protocols = alpn.iter().map(|&protocol| protocol.into()).collect();
        config.resumption =
            Resumption::store(Arc::<ClientSessionMemoryCache>::clone(&sessions.tickets));
        let connector = TlsConnector::from(Arc::new(config));
        let stream = timeout(DEADLINE, connector.connect(name.clone(), stream))
            .await
            .map_err(|_elapsed| UpstreamError::Timeout)??;
        // Those of the session, where one was resumed.
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let proof = sessions.proofs.keep(host, name, chain, &self.verifier);
        Ok(Verified {
            stream,
            name: VerifiedName::after_handshake(host.clone()),
            proof,
        })
    }

    /// Whether what a server has shown to an earlier connector makes it the name's owner for this one too.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn verify(&self, proof: &Proof) -> Result<(), UpstreamError> {
        proof.verify(&self.verifier)
    }

    fn config(&self, host: &Host) -> &ClientConfig {
        self.identified
            .iter()
            .find(|(hosts, _)| hosts.iter().any(|pattern| pattern.matches(host)))
            .map_or(&self.anonymous, |(_, config)| config)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            anonymous: _,
            identified,
            roots,
            verifier: _,
        } = self;
        f.debug_struct("Connector")
            .field("identified", &identified.len())
            .field("roots", &roots.len())
            .finish_non_exhaustive()
    }
}

/// Why upstreams cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootsError {
    #[error(
        "there are no root certificates to verify upstreams with: install ca-certificates, or configure `upstream: {{roots: [...]}}`"
    )]
    Nothing,
    #[error("{}: no root certificate can be read from it", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: CertificatesError,
    },
    #[error("{}: a certificate in it cannot be a root", path.display())]
    Certificate {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// The platform's roots and those of the files.
fn trusted(extra_roots: &[PathBuf]) -> Result<RootCertStore, RootsError> {
    let mut store = RootCertStore::empty();
    // Old platform roots may not parse; they are left out, as every other program leaves them out.
    let (found, ignored) = store.add_parsable_certificates(roots::platform());
    tracing::debug!(found, ignored, "read the platform's root certificates");
    for path in extra_roots {
        add(&mut store, path)?;
    }
    if store.is_empty() {
        return Err(RootsError::Nothing);
    }
    if found == 0 {
        tracing::warn!(
            "the platform has no root certificates: only the configured ones are trusted"
        );
    }
    Ok(store)
}

fn identified(
    anonymous: &ClientConfig,
    certificates: &[ClientCertificate],
) -> Vec<(Vec<HostPattern>, ClientConfig)> {
    let identified = certificates.iter().map(|certificate| {
        let resolver: Arc<dyn ResolvesClientCert> = certificate.identity.resolver();
        let mut config = anonymous.clone();
        config.client_auth_cert_resolver = resolver;
        (certificate.hosts.clone(), config)
    });
    identified.collect()
}

fn add(store: &mut RootCertStore, path: &Path) -> Result<(), RootsError> {
    for certificate in certificates(path).map_err(|source| RootsError::File {
        path: path.into(),
        source,
    })? {
        store
            .add(certificate)
            .map_err(|source| RootsError::Certificate {
                path: path.into(),
                source,
            })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Certificates for the names that we answer for.

use std::{fmt, sync::Arc};

use quick_cache::sync::Cache;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs::Ticketer},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

use crate::{
    address::Host,
    tls::{
        alpn::Protocol,
        ca::{BACKDATED, CaError, CertificateAuthority, random_serial},
        provider,
    },
};

/// Names, at most; one costs a few KiB, most of it the certificate and ticket keys.
const CAPACITY: usize = 1024;

/// Clients cache nothing of a leaf but the session that it started.
const LIFETIME: Duration = Duration::days(30);

/// Mints a certificate for a name when it is first asked for, and keeps the most used ones.
///
/// All leaves share one key, made at start: minting is then one signature (20 µs). Each name has a `ServerConfig` of its
/// own with ticket keys of its own and no session store. So a session that was started under one name cannot be resumed
/// under another: its ticket cannot be decrypted there (and rustls compares the name besides, RFC 6066 §3). Sandboxes do
/// share the tickets of a name; nothing is decided from a resumed session, neither who the client is nor what it asks for.
pub(crate) struct Leaves {
    authority: Arc<CertificateAuthority>,
    key: KeyPair,
    provider: Arc<CryptoProvider>,
    minted: Cache<Host, Leaf>,
}

#[derive(Clone)]
struct Leaf {
    /// One for each answer to a client's offer; they share keys and tickets.
    answers: Answers,
    /// From then on another one is minted: well before this one expires, so that no client ever sees it expired.
    renew_at: OffsetDateTime,
}

impl Leaves {
    /// # Errors
    /// No key can be made.
    pub(crate) fn new(authority: Arc<CertificateAuthority>) -> Result<Self, MintError> {
        Ok(Self {
            authority,
            key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(MintError::Certificate)?,
            provider: provider(),
            minted: Cache::new(CAPACITY),
        })
    }

    pub(crate) fn authority(&self) -> &Arc<CertificateAuthority> {
        &self.authority
    }

    /// How to answer a client that asked for `host`: TLS 1.2 and 1.3. `chosen` is what was agreed on for it; a client
    /// that does not offer that is refused. `None`: its offer is not answered.
    ///
    /// # Errors
    /// The authority has expired, or the system gives no random numbers.
    pub(crate) fn server_config(
        &self,
        host: &Host,
        chosen: Option<Protocol>,
    ) -> Result<Arc<ServerConfig>, MintError> {
        self.server_config_at(host, chosen, OffsetDateTime::now_utc())
    }

    fn server_config_at(
        &self,
        host: &Host,
        chosen: Option<Protocol>,
        now: OffsetDateTime,
    ) -> Result<Arc<ServerConfig>, MintError> {
        if let Some(leaf) = self.minted.get(host)
            && now < leaf.renew_at
        {
            return Ok(leaf.answers.pick(chosen));
        }
        let leaf = self.mint(host, now)?;
        self.minted.insert(host.clone(), leaf.clone());
        Ok(leaf.answers.pick(chosen))
    }

    fn mint(&self, host: &Host, now: OffsetDateTime) -> Result<Leaf, MintError> {
        let not_after = self.authority.not_after().min(now + LIFETIME);
        if not_after <= now {
            return Err(MintError::Expired);
        }
        let mut params = CertificateParams::default();
        params.not_before = now - BACKDATED;
        params.not_after = not_after;
        params.serial_number = Some(random_serial().map_err(MintError::Serial)?);
        params.distinguished_name = DistinguishedName::new();
        // Not the host: a common name has 64 characters at most (RFC 5280 appendix A.1), and no client that is in use
        // reads it where there is a subject alternative name (RFC 9525 §2).
        params
            .distinguished_name
            .push(DnType::CommonName, "interceptor");
        let name = host.as_str().try_into().map_err(MintError::Certificate)?;
        params.subject_alt_names = vec![SanType::DnsName(name)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Python 3.13 verifies with VERIFY_X509_STRICT, which asks for it.
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&self.key, self.authority.issuer())
            .map_err(MintError::Certificate)?;

        let mut chain = vec![certificate.der().clone()];
        chain.extend_from_slice(self.authority.intermediates());
        Ok(Leaf {
            answers: Answers::of(&self.configure(chain)?),
            renew_at: now + (not_after - now) * 3 / 4,
        })
    }

    fn configure(&self, chain: Vec<CertificateDer<'static>>) -> Result<ServerConfig, MintError> {
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let certified =
            CertifiedKey::from_der(chain, key, &self.provider).map_err(MintError::Tls)?;
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(MintError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(MintError::Tls)?;
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

impl fmt::Debug for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            authority,
            key: _,
            provider: _,
            minted,
        } = self;
        f.debug_struct("Leaves")
            .field("authority", authority)
            .field("minted", &minted.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Answers {
    none: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    http2: Arc<ServerConfig>,
}

impl Answers {
    fn of(config: &ServerConfig) -> Self {
        let answering = |chosen: Option<Protocol>| {
            let mut config = config.clone();
            config.alpn_protocols = chosen.iter().map(|chosen| chosen.name().into()).collect();
            Arc::new(config)
        };
        Self {
            none: answering(None),
            http1: answering(Some(Protocol::Http1)),
            http2: answering(Some(Protocol::Http2)),
        }
    }

    fn pick(&self, chosen: Option<Protocol>) -> Arc<ServerConfig> {
        Arc::clone(match chosen {
            None => &self.none,
            Some(Protocol::Http1) => &self.http1,
            Some(Protocol::Http2) => &self.http2,
        })
    }
}

/// Why a name cannot be answered for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MintError {
    #[error(
        "the CA certificate has expired: put another one with its key in its place, then `interceptor reload`"
    )]
    Expired,
    #[error("no certificate could be made for this name")]
    Certificate(#[source] rcgen::Error),
    #[error("no certificate could be made for this name")]
    Serial(#[source] CaError),
    #[error("the certificate that was made cannot be used")]
    Tls(#[source] rustls::Error),
}

#[cfg(test)]
mod tests;

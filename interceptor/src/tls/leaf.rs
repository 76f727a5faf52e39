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
    alpn: Vec<Vec<u8>>,
    minted: Cache<Host, Leaf>,
}

#[derive(Clone)]
struct Leaf {
    config: Arc<ServerConfig>,
    /// From then on another one is minted: well before this one expires, so that no client ever sees it expired.
    renew_at: OffsetDateTime,
}

impl Leaves {
    /// `alpn` are the protocols to agree to, preferred ones first; a client that offers other ones only is refused.
    ///
    /// # Errors
    /// No key can be made.
    pub(crate) fn new(
        authority: Arc<CertificateAuthority>,
        alpn: &[&[u8]],
    ) -> Result<Self, MintError> {
        Ok(Self {
            authority,
            key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(MintError::Certificate)?,
            provider: provider(),
            alpn: alpn.iter().map(|&protocol| protocol.into()).collect(),
            minted: Cache::new(CAPACITY),
        })
    }

    /// How to answer a client that asked for `host`: TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// The authority has expired, or the system gives no random numbers.
    pub(crate) fn server_config(&self, host: &Host) -> Result<Arc<ServerConfig>, MintError> {
        self.server_config_at(host, OffsetDateTime::now_utc())
    }

    fn server_config_at(
        &self,
        host: &Host,
        now: OffsetDateTime,
    ) -> Result<Arc<ServerConfig>, MintError> {
        if let Some(leaf) = self.minted.get(host)
            && now < leaf.renew_at
        {
            return Ok(leaf.config);
        }
        let leaf = self.mint(host, now)?;
        self.minted.insert(host.clone(), leaf.clone());
        Ok(leaf.config)
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
            config: Arc::new(self.configure(chain)?),
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
        config.alpn_protocols.clone_from(&self.alpn);
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
            alpn: _,
            minted,
        } = self;
        f.debug_struct("Leaves")
            .field("authority", authority)
            .field("minted", &minted.len())
            .finish_non_exhaustive()
    }
}

/// Why a name cannot be answered for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MintError {
    #[error("the CA certificate has expired: give another one, or remove ca.pem and ca.key")]
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

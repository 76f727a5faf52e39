//! Certificates for test servers: an authority that the daemon is told to trust, and everything that it must not.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate authority of a test.
pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(…)")
    }
}

/// What is the matter with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    Expired,
    SelfSigned,
    WrongName,
    /// Signed by an authority that nobody knows.
    Untrusted,
}

impl Flaw {
    /// The first label of a name chooses the flaw of its certificate.
    pub fn of(name: &str) -> Self {
        match name.split('.').next() {
            Some("expired") => Self::Expired,
            Some("self-signed") => Self::SelfSigned,
            Some("wrong-name") => Self::WrongName,
            Some("untrusted") => Self::Untrusted,
            _ => Self::None,
        }
    }
}

impl Authority {
    /// # Errors
    /// The system gave no randomness.
    pub fn new(common_name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write_pem(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.pem()).with_context(|| format!("writing {}", path.display()))
    }

    /// A good certificate for a name and its key, both as PEM, for servers that are programs of their own.
    ///
    /// # Errors
    /// The name is none, or the system gave no randomness.
    pub fn certify(&self, name: &str) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    fn issue(&self, name: &str, flaw: Flaw) -> Result<CertifiedKey> {
        let key = KeyPair::generate()?;
        let written = if flaw == Flaw::WrongName {
            "somebody-else.example"
        } else {
            name
        };
        let mut params = CertificateParams::new(vec![written.to_owned()])?;
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
        if flaw == Flaw::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let certificate = match flaw {
            Flaw::SelfSigned => params.self_signed(&key)?,
            Flaw::Untrusted => {
                let stranger = Self::new("an authority that nobody knows")?;
                params.signed_by(&key, &stranger.issuer)?
            }
            Flaw::None | Flaw::Expired | Flaw::WrongName => params.signed_by(&key, &self.issuer)?,
        };
        let private = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|error| anyhow::anyhow!("a key just made is unreadable: {error}"))?;
        Ok(CertifiedKey::new(
            vec![certificate.der().clone()],
            aws_lc_rs::sign::any_supported_type(&private)?,
        ))
    }
}

/// Makes a certificate for every name that a client asks for, with the flaw that the name calls for.
#[derive(Debug)]
pub struct Resolver {
    authority: Arc<Authority>,
    made: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Resolver {
    pub fn new(authority: Arc<Authority>) -> Self {
        Self {
            authority,
            made: Mutex::default(),
        }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = made.get(name) {
            return Some(Arc::clone(key));
        }
        let key = Arc::new(self.authority.issue(name, Flaw::of(name)).ok()?);
        made.insert(name.to_owned(), Arc::clone(&key));
        Some(key)
    }
}

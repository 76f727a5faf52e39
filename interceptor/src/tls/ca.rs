//! The certificate authority that a sandbox trusts.

use std::{
    fmt, io, iter,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};
use zeroize::Zeroizing;

use crate::tls::{
    pem::{self, CertificatesError},
    provider, roots,
};

mod files;

/// The names under which the authority stands in its data directory.
pub(crate) const CERTIFICATE: &str = "ca.pem";
pub(crate) const KEY: &str = "ca.key";

/// Beside `ca.pem` in the run directory: the platform's roots and ours, for programs that take one file only.
pub(crate) const BUNDLE: &str = "ca-bundle.pem";

const LIFETIME: Duration = Duration::days(3652);

/// Certificates are valid from a day before they are made: a sandbox may be a virtual machine with a clock of its own.
pub(super) const BACKDATED: Duration = Duration::days(1);

/// A certificate with its key, able to vouch for any name.
pub(crate) struct CertificateAuthority {
    certificate: CertificateDer<'static>,
    /// What a client needs besides a leaf to find the root that it trusts: the file's certificates but for roots.
    intermediates: Vec<CertificateDer<'static>>,
    issuer: Issuer<'static, KeyPair>,
    not_after: OffsetDateTime,
}

impl CertificateAuthority {
    /// Reads `ca.pem` and `ca.key` in `data_dir`, or makes them: ECDSA P-256, for 10 years, the key with mode 0600.
    ///
    /// May be called by several processes at once, all get the same authority. A creation that was interrupted is
    /// completed: a key without a certificate keeps its key.
    ///
    /// # Errors
    /// The files cannot be written or read, do not belong together, or are no valid CA. Nothing that stands is replaced.
    pub(crate) fn load_or_create(data_dir: &Path) -> Result<Self, CaError> {
        let certificate = data_dir.join(CERTIFICATE);
        let key = data_dir.join(KEY);
        let _lock = files::lock(data_dir).map_err(CaError::at(data_dir))?;
        if !exists(&certificate)? {
            if !exists(&key)? {
                let pem = Zeroizing::new(generate_key()?.serialize_pem());
                files::write_secret(&key, pem.as_bytes()).map_err(CaError::at(&key))?;
            }
            let made = self_signed(&read_key(&key)?, OffsetDateTime::now_utc())?;
            files::write_public(&certificate, pem::encode(made.der()).as_bytes())
                .map_err(CaError::at(&certificate))?;
            tracing::info!(path = %certificate.display(), "made a certificate authority");
        }
        Self::load(&certificate, &key)
    }

    /// Reads an authority that somebody else made. `certificate` starts with the CA's own; those of further CAs up to
    /// its root may follow, and are then sent along with every leaf.
    ///
    /// # Errors
    /// A file cannot be read, the key is not for the certificate or readable by others than its owner, or the
    /// certificate is no CA or not valid today.
    pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Self, CaError> {
        let mut chain = pem::certificates(certificate)
            .map_err(|source| CaError::Certificate {
                path: certificate.into(),
                source,
            })?
            .into_iter();
        let first = chain.next().ok_or_else(|| CaError::Certificate {
            path: certificate.into(),
            source: CertificatesError::Nothing,
        })?;
        let key_pair = read_key(key)?;
        let invalid = |reason| CaError::Invalid {
            path: certificate.into(),
            reason,
        };
        let not_after =
            check(&first, &key_pair, OffsetDateTime::now_utc()).map_err(|reason| match reason {
                Unfit::OtherKey => CaError::Mismatch {
                    certificate: certificate.into(),
                    key: key.into(),
                },
                reason => invalid(reason),
            })?;
        let intermediates = iter::once(first.clone())
            .chain(chain)
            .filter(|one| !is_self_signed(one))
            .collect();
        let issuer = Issuer::from_ca_cert_der(&first, key_pair)
            .map_err(|_unreadable| invalid(Unfit::Unreadable))?;
        Ok(Self {
            certificate: first,
            intermediates,
            issuer,
            not_after,
        })
    }

    /// Whoever trusts one trusts the other. A certificate has the public key, so their keys are the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.certificate == other.certificate && self.intermediates == other.intermediates
    }

    /// What a client has to trust.
    pub(crate) fn certificate_pem(&self) -> String {
        pem::encode(&self.certificate)
    }

    /// The platform's roots and ours: what a client has to trust whose trust store can be replaced, but not extended.
    pub(crate) fn bundle_pem(&self) -> String {
        let mut text = self.certificate_pem();
        for root in roots::platform() {
            text.push_str(&pem::encode(&root));
        }
        text
    }

    /// Puts `ca.pem` and `ca-bundle.pem` into `run_dir`, readable by everybody. Each is replaced in one step.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write_public(&self, run_dir: &Path) -> Result<(), CaError> {
        for (name, text) in [
            (CERTIFICATE, self.certificate_pem()),
            (BUNDLE, self.bundle_pem()),
        ] {
            let path = run_dir.join(name);
            files::write_public(&path, text.as_bytes()).map_err(CaError::at(&path))?;
        }
        Ok(())
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    pub(super) fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.intermediates
    }

    /// No certificate of ours may be valid for longer.
    pub(super) fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            certificate: _,
            intermediates: _,
            issuer: _,
            not_after,
        } = self;
        f.debug_struct("CertificateAuthority")
            .field("not_after", not_after)
            .finish_non_exhaustive()
    }
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaError {
    #[error("{}: cannot be used", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: no certificate can be read from it", path.display())]
    Certificate {
        path: PathBuf,
        #[source]
        source: CertificatesError,
    },
    #[error("{}: no private key of a known kind can be read from it", path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: rcgen::Error,
    },
    #[error("{}: others than its owner can read the key (mode {mode:03o}): `chmod 600` it", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{}: not a usable CA certificate", path.display())]
    Invalid {
        path: PathBuf,
        #[source]
        reason: Unfit,
    },
    #[error("{} is not the key of {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("a certificate authority could not be made")]
    Making(#[source] rcgen::Error),
    #[error("the system gives no random numbers")]
    Random,
}

impl CaError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            path: path.into(),
            source,
        }
    }
}

/// What keeps a certificate from being an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("it is no X.509 certificate")]
    Unreadable,
    #[error("it is for another key")]
    OtherKey,
    #[error("its basic constraints do not say that it is a CA")]
    NoCa,
    #[error("its key usage does not allow it to sign certificates")]
    NoSigning,
    #[error("it expired on {0}")]
    Expired(OffsetDateTime),
    #[error("it is not valid before {0}: is the clock right?")]
    NotYetValid(OffsetDateTime),
}

fn exists(path: &Path) -> Result<bool, CaError> {
    path.try_exists().map_err(CaError::at(path))
}

fn read_key(path: &Path) -> Result<KeyPair, CaError> {
    let (text, mode) = files::read_secret(path).map_err(CaError::at(path))?;
    if mode & 0o077 != 0 {
        return Err(CaError::Exposed {
            path: path.into(),
            mode,
        });
    }
    KeyPair::from_pem(&text).map_err(|source| CaError::Key {
        path: path.into(),
        source,
    })
}

fn generate_key() -> Result<KeyPair, CaError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Making)
}

fn self_signed(key: &KeyPair, now: OffsetDateTime) -> Result<Certificate, CaError> {
    let mut params = CertificateParams::default();
    params.not_before = now - BACKDATED;
    params.not_after = now + LIFETIME;
    params.serial_number = Some(random_serial()?);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Of the key and not of chance: a certificate that is made again for the same key has the same subject, and chains
    // stay whole.
    let id: String = params
        .key_identifier(key)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("interceptor CA {id}"));
    params.self_signed(key).map_err(CaError::Making)
}

/// 127 random bits: issuer and serial together must be unique (RFC 5280 §4.1.2.2), and rcgen's own serial is that of the
/// key, which all leaves share.
pub(super) fn random_serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0; 16];
    provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|rustls::crypto::GetRandomFailed| CaError::Random)?;
    Ok(SerialNumber::from_slice(
        &(u128::from_be_bytes(bytes) >> 1).to_be_bytes(),
    ))
}

/// When the certificate expires, if it is an authority at `now` and `key` is its key.
fn check(
    certificate: &CertificateDer<'_>,
    key: &KeyPair,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, Unfit> {
    let (_rest, parsed) =
        X509Certificate::from_der(certificate).map_err(|_unreadable| Unfit::Unreadable)?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(Unfit::OtherKey);
    }
    if !parsed.is_ca() {
        return Err(Unfit::NoCa);
    }
    let usage = parsed
        .key_usage()
        .map_err(|_unreadable| Unfit::Unreadable)?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(Unfit::NoSigning);
    }
    let not_before = parsed.validity().not_before.to_datetime();
    if now < not_before {
        return Err(Unfit::NotYetValid(not_before));
    }
    let not_after = parsed.validity().not_after.to_datetime();
    if now >= not_after {
        return Err(Unfit::Expired(not_after));
    }
    Ok(not_after)
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_rest, parsed)| parsed.subject().as_raw() == parsed.issuer().as_raw())
}

#[cfg(test)]
mod tests;

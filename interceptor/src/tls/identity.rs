//! Who we are to servers that ask their clients for a certificate.

use std::{fmt, sync::Arc};

use rustls::{
    InconsistentKeys,
    crypto::aws_lc_rs::sign::any_supported_type,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};

use crate::{
    policy::HostPattern,
    tls::pem::{KeyError, private_key},
};

/// A certificate, and the hosts that may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) identity: Identity,
}

/// A certificate with its chain and its private key. The key is wiped with its last use.
#[derive(Clone)]
pub(crate) struct Identity(Arc<CertifiedKey>);

/// Worded to follow the file's name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("holds no certificates in PEM form")]
    NoCertificate,
    #[error("holds a broken certificate")]
    Certificate(#[source] pem::Error),
    #[error("holds no usable private key")]
    Pem(#[source] KeyError),
    #[error("holds a private key that cannot be used")]
    Key(#[source] rustls::Error),
    #[error("is not the key of the certificate")]
    Mismatch,
}

impl Identity {
    /// Reads a certificate, followed by those that vouch for it, and its private key.
    ///
    /// # Errors
    /// One of both cannot be read, or they do not belong together.
    pub(crate) fn read(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(IdentityError::Certificate)?;
        if chain.is_empty() {
            return Err(IdentityError::NoCertificate);
        }
        let key = private_key(key).map_err(IdentityError::Pem)?;
        let key = any_supported_type(&key.der()).map_err(IdentityError::Key)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => Ok(Self(Arc::new(certified))),
            Err(rustls::Error::InconsistentKeys(
                InconsistentKeys::KeyMismatch | InconsistentKeys::Unknown,
            )) => Err(IdentityError::Mismatch),
            Err(error) => Err(IdentityError::Key(error)),
        }
    }

    #[cfg(test)]
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.cert
    }

    pub(super) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.0)))
    }
}

impl IdentityError {
    /// The file with the key is to blame.
    pub(crate) fn is_of_the_key(&self) -> bool {
        match self {
            Self::NoCertificate | Self::Certificate(_) => false,
            Self::Pem(_) | Self::Key(_) | Self::Mismatch => true,
        }
    }
}

/// The certificate has the public key: two with the same certificate have the same key.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.0.cert == other.0.cert
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

//! A certificate that others are to trust, with the name that it has by its contents.

use std::path::Path;

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;

use super::pem::{CertificatesError, certificates, encode};

/// A certificate in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// Lines of 64 characters, each ended.
    pub(crate) pem: String,
    /// SHA-256 of its DER form, in lower-case hexadecimal.
    pub(crate) fingerprint: String,
}

impl Anchor {
    /// The first certificate in a file.
    ///
    /// # Errors
    /// There is none, or the file cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self, CertificatesError> {
        let all = certificates(path)?;
        let first = all.first().ok_or(CertificatesError::Nothing)?;
        // The suite's hash: rustls has no other door to the provider's.
        let suite = TLS13_AES_128_GCM_SHA256.tls13();
        let digest = suite.map(|suite| suite.common.hash_provider.hash(first));
        let digest = digest.as_ref().map(AsRef::as_ref).unwrap_or_default();
        Ok(Self {
            pem: encode(first),
            fingerprint: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

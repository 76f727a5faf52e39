//! The platform's trusted roots.

use rustls_pki_types::CertificateDer;

/// What the platform trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` of the daemon where they are set. Empty if there is
/// nothing: the caller knows what that means.
pub(super) fn platform() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the platform's root certificates could not be read");
    }
    found.certs
}

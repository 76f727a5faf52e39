//! Certificates as text.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};

/// RFC 7468 §5, lines of 64 characters.
pub(super) fn encode(certificate: &CertificateDer<'_>) -> String {
    let base64 = STANDARD.encode(certificate);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at_checked(64).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// All certificates in a file; other sections are passed over.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Err(pem::Error::NoItemsFound);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_back() {
        for length in [0, 1, 47, 48, 49, 96, 1000] {
            let certificate = CertificateDer::from(vec![0xa5; length]);
            let text = encode(&certificate);
            assert!(text.lines().all(|line| line.len() <= 64), "{length}");
            assert_eq!(
                CertificateDer::from_pem_slice(text.as_bytes()).unwrap(),
                certificate,
                "{length}"
            );
        }
    }
}

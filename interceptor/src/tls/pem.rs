//! Certificates as text.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    pem::{self, PemObject},
};
use zeroize::Zeroizing;

use crate::file::{self, ReadError};

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

/// Bytes of a file of certificates.
const MAX_FILE: usize = 4 << 20;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificatesError {
    #[error("the file")]
    File(#[from] ReadError),
    #[error("one of them is broken")]
    Pem(#[from] pem::Error),
    #[error("there is none in PEM form")]
    Nothing,
}

/// All certificates in a file; other sections are passed over.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let contents = file::read(path, MAX_FILE)?;
    let found = CertificateDer::pem_slice_iter(&contents.bytes);
    let found: Vec<_> = found.collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Err(CertificatesError::Nothing);
    }
    Ok(found)
}

/// A private key as it stands in a file. Wiped when it goes, unlike what the parser of rustls leaves behind.
pub(super) struct PrivateKey {
    kind: Kind,
    bytes: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Pkcs8,
    Pkcs1,
    Sec1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("no section of it is a PRIVATE KEY in PEM form")]
    Missing,
    #[error("it is encrypted: `openssl pkey -in KEY -out PLAIN` asks for the passphrase")]
    Encrypted,
    #[error("its base64 is broken")]
    Base64,
}

/// The first private key in a file; other sections are passed over.
pub(super) fn private_key(text: &[u8]) -> Result<PrivateKey, KeyError> {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let kind = loop {
        match lines.next().ok_or(KeyError::Missing)? {
            b"-----BEGIN PRIVATE KEY-----" => break Kind::Pkcs8,
            b"-----BEGIN RSA PRIVATE KEY-----" => break Kind::Pkcs1,
            b"-----BEGIN EC PRIVATE KEY-----" => break Kind::Sec1,
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----" => return Err(KeyError::Encrypted),
            _ => {}
        }
    };
    // Never grown, so that nothing of it is left behind on the heap.
    let mut base64 = Zeroizing::new(Vec::with_capacity(text.len()));
    loop {
        match lines.next().ok_or(KeyError::Missing)? {
            end if end.starts_with(b"-----END ") => break,
            // Header of a section that is encrypted in the old way (RFC 1421).
            header if header.starts_with(b"Proc-Type:") => return Err(KeyError::Encrypted),
            line => base64.extend_from_slice(line),
        }
    }
    let mut bytes = Zeroizing::new(vec![0; base64.len()]);
    let length = STANDARD
        .decode_slice(&*base64, &mut bytes)
        .map_err(|_broken| KeyError::Base64)?;
    bytes.truncate(length);
    Ok(PrivateKey { kind, bytes })
}

impl PrivateKey {
    pub(super) fn der(&self) -> PrivateKeyDer<'_> {
        let bytes = self.bytes.as_slice();
        match self.kind {
            Kind::Pkcs8 => PrivatePkcs8KeyDer::from(bytes).into(),
            Kind::Pkcs1 => PrivatePkcs1KeyDer::from(bytes).into(),
            Kind::Sec1 => PrivateSec1KeyDer::from(bytes).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_found_among_other_sections() {
        let parameters =
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        for (label, kind) in [("", "Pkcs8"), ("RSA ", "Pkcs1"), ("EC ", "Sec1")] {
            let text = format!(
                "{parameters}-----BEGIN {label}PRIVATE KEY-----\r\nAQID\r\nBA==\r\n-----END {label}PRIVATE KEY-----\r\n"
            );
            let key = private_key(text.as_bytes()).unwrap();
            let found = match key.der() {
                PrivateKeyDer::Pkcs8(_) => "Pkcs8",
                PrivateKeyDer::Pkcs1(_) => "Pkcs1",
                PrivateKeyDer::Sec1(_) => "Sec1",
                _ => "another",
            };
            assert_eq!((found, key.bytes.as_slice()), (kind, &[1, 2, 3, 4][..]));
        }
    }

    #[test]
    fn files_without_a_plain_private_key_are_told_apart() {
        let section = |label: &str, body: &str| {
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        for (text, expected) in [
            (String::new(), KeyError::Missing),
            (section("CERTIFICATE", "AQID"), KeyError::Missing),
            (
                "-----BEGIN PRIVATE KEY-----\nAQID\n".into(),
                KeyError::Missing,
            ),
            (
                section("ENCRYPTED PRIVATE KEY", "AQID"),
                KeyError::Encrypted,
            ),
            (
                section("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nAQID"),
                KeyError::Encrypted,
            ),
            (section("PRIVATE KEY", "A?ID"), KeyError::Base64),
        ] {
            assert_eq!(private_key(text.as_bytes()).err(), Some(expected), "{text}");
        }
    }

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

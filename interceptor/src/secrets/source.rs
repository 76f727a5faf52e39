//! Where secrets come from.

use std::{ffi::OsStr, os::unix::ffi::OsStringExt, path::PathBuf};

use zeroize::Zeroizing;

use super::{Secret, SecretError};
use crate::file::{self, ReadError};

/// Bytes of one secret.
pub(crate) const MAX_SECRET: usize = 64 * 1024;

/// A place that holds one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    /// A variable in the daemon's own environment.
    Variable(Box<str>),
}

/// A secret and what an operator should know about it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) secret: Secret,
    /// Its file can be read by others than its owner.
    pub(crate) exposed: bool,
    /// It stands in a JSON string as it is. One that does not is escaped on insertion.
    pub(crate) json_safe: bool,
}

/// Why there is no secret. Never tells a byte or the length of one, nor what stands in place of a path or a name: that may
/// be the secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("the secret's file")]
    File(#[from] ReadError),
    #[error("the variable is not set in the daemon's environment")]
    Unset,
    #[error("the secret is larger than {MAX_SECRET} bytes")]
    TooLarge,
    #[error("the secret cannot be used")]
    Secret(#[from] SecretError),
}

impl Source {
    /// Reads the secret. One line end at the end of a file belongs to the editor that wrote it and is cut off.
    pub(crate) fn load(&self) -> Result<Loaded, SourceError> {
        match self {
            Self::File(path) => {
                let contents = file::read(path, MAX_SECRET)?;
                let mut bytes = contents.bytes;
                cut_line_end(&mut bytes);
                Loaded::new(bytes, contents.readable_by_others)
            }
            Self::Variable(name) => {
                let value = std::env::var_os(OsStr::new(&**name)).ok_or(SourceError::Unset)?;
                let bytes = Zeroizing::new(value.into_vec());
                if bytes.len() > MAX_SECRET {
                    return Err(SourceError::TooLarge);
                }
                Loaded::new(bytes, false)
            }
        }
    }
}

impl Loaded {
    fn new(bytes: Zeroizing<Vec<u8>>, exposed: bool) -> Result<Self, SourceError> {
        let json_safe = is_json_safe(&bytes);
        Ok(Self {
            secret: Secret::new(bytes)?,
            exposed,
            json_safe,
        })
    }
}

fn cut_line_end(bytes: &mut Vec<u8>) {
    if bytes.pop_if(|last| *last == b'\n').is_some() {
        let _ = bytes.pop_if(|last| *last == b'\r');
    }
}

/// RFC 8259 §7: no quotation mark, no backslash, no control character, and UTF-8.
fn is_json_safe(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
        && !bytes
            .iter()
            .any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{address::VerifiedName, secrets::ReleaseGrant};

    fn file(contents: &[u8]) -> Result<Loaded, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, contents).unwrap();
        Source::File(path).load()
    }

    fn revealed(loaded: &Loaded) -> Vec<u8> {
        let name = VerifiedName::after_handshake("test.example".parse().unwrap());
        loaded
            .secret
            .reveal(&ReleaseGrant::for_upstream(&name))
            .to_vec()
    }

    #[test]
    fn one_line_end_is_cut_off() {
        for (contents, expected) in [
            (&b"token"[..], &b"token"[..]),
            (b"token\n", b"token"),
            (b"token\r\n", b"token"),
            (b" token ", b" token "),
        ] {
            assert_eq!(revealed(&file(contents).unwrap()), expected, "{contents:?}");
        }
    }

    #[test]
    fn unusable_secrets_are_refused() {
        for contents in [&b""[..], b"\n", b"\r\n", b"a\n\n", b"a\r", b"a\nb", b"a\0b"] {
            assert!(
                matches!(file(contents), Err(SourceError::Secret(_))),
                "{contents:?}"
            );
        }
        let largest = vec![b'x'; MAX_SECRET];
        assert!(file(&largest).is_ok());
        let too_large = vec![b'x'; MAX_SECRET + 1];
        assert!(matches!(
            file(&too_large),
            Err(SourceError::File(ReadError::TooLarge(_)))
        ));
    }

    #[test]
    fn secrets_that_json_would_escape_are_told() {
        for (contents, safe) in [
            (&b"MTE4.x-_y"[..], true),
            ("grün".as_bytes(), true),
            (b"a\"b", false),
            (b"a\\b", false),
            (b"a\tb", false),
            (b"a\xff", false),
        ] {
            assert_eq!(file(contents).unwrap().json_safe, safe, "{contents:?}");
        }
    }

    #[test]
    fn variables_are_those_of_this_process() {
        let loaded = Source::Variable("CARGO_PKG_NAME".into()).load().unwrap();
        assert_eq!(revealed(&loaded), b"interceptor");
        let unset = Source::Variable("INTERCEPTOR_TEST_UNSET".into()).load();
        assert!(matches!(unset, Err(SourceError::Unset)));
    }

    #[test]
    fn nothing_prints_a_secret() {
        let loaded = file(b"hunter2").unwrap();
        assert!(!format!("{loaded:?}").contains("hunter2"));
    }
}

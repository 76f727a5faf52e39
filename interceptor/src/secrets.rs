//! Secrets: names, values, where they come from.

pub(crate) mod source;

use std::{fmt, str::FromStr, sync::Arc};

use serde::Serialize;
use zeroize::Zeroizing;

use crate::address::VerifiedName;

/// Name of a secret, the KEY of a placeholder: `[A-Za-z0-9_]+`, at most [`SecretName::MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct SecretName(Arc<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretNameError {
    #[error("a secret's name is 1 to {max} of A-Z, a-z, 0-9 and underscore", max = SecretName::MAX)]
    Grammar,
    #[error(
        "a secret's name may not look like a revision (v<digits>_…) or a stable handle (s<64 hex>_…)"
    )]
    Reserved,
}

impl SecretName {
    /// Bound on a placeholder's key, and so on what a matcher has to carry.
    pub(crate) const MAX: usize = 128;

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = SecretNameError;

    fn from_str(text: &str) -> Result<Self, SecretNameError> {
        let grammar = (1..=Self::MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !grammar {
            return Err(SecretNameError::Grammar);
        }
        if is_reserved(text) {
            return Err(SecretNameError::Reserved);
        }
        Ok(Self(text.into()))
    }
}

/// `v<digits>_…` and `s<64 lower-case hex>_…` are forms of a placeholder.
fn is_reserved(text: &str) -> bool {
    let Some((head, rest)) = text.split_once('_') else {
        return false;
    };
    if rest.is_empty() {
        return false;
    }
    if let Some(digits) = head.strip_prefix('v') {
        return !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    }
    head.strip_prefix('s').is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret's bytes. They are wiped when the last clone goes, never printed, and given out only against a
/// [`ReleaseGrant`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Arc<Zeroizing<Vec<u8>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("the secret is empty")]
    Empty,
    #[error("the secret has a CR, LF or NUL inside, which no header, path or message can carry")]
    ControlByte,
}

impl Secret {
    /// Takes the bytes over. Trailing line ends are the reader's business, see `secrets::source`.
    pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, SecretError> {
        if bytes.is_empty() {
            return Err(SecretError::Empty);
        }
        if bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(SecretError::ControlByte);
        }
        Ok(Self(Arc::new(bytes)))
    }

    pub(crate) fn length(&self) -> usize {
        self.0.len()
    }

    /// The only way to the bytes.
    pub(crate) fn reveal(&self, _: &ReleaseGrant) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Permission to write secrets into one connection: its upstream is the verified owner of a name.
#[derive(Debug)]
pub(crate) struct ReleaseGrant(());

impl ReleaseGrant {
    pub(crate) fn for_upstream(_: &VerifiedName) -> Self {
        Self(())
    }
}

//! Addresses and identities, each role a type of its own.

use std::{fmt, net::SocketAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// The daemon's number for a sandbox; never 0, never reused while its pins stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SandboxId(pub(crate) u32);

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A network namespace, as the kernel counts them (`SO_NETNS_COOKIE`, Linux 5.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct NetnsCookie(pub(crate) u64);

impl fmt::Display for NetnsCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A cgroup2 directory, as the kernel counts them (inode number of the directory).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct CgroupId(pub(crate) u64);

impl fmt::Display for CgroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the client asked to go, before the kernel steered it here; v4-mapped addresses are unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OriginalDst(pub(crate) SocketAddr);

impl OriginalDst {
    pub(crate) fn port(self) -> u16 {
        self.0.port()
    }
}

impl fmt::Display for OriginalDst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A DNS name in lower case, without a trailing dot: LDH labels and underscores, at most 253 bytes (RFC 1035 §2.3.4).
///
/// An IP literal is not a `Host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct Host(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostError {
    #[error("the name is empty or longer than 253 bytes")]
    Length,
    #[error("a label is empty or longer than 63 bytes")]
    Label,
    #[error(
        "a byte is none of a-z, 0-9, hyphen and underscore (write international names in their xn-- form)"
    )]
    Byte,
    #[error("an IP address stands where a name is needed")]
    Address,
}

impl Host {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() || text.len() > 253 {
            return Err(HostError::Length);
        }
        for label in text.split('.') {
            if label.is_empty() || label.len() > 63 {
                return Err(HostError::Label);
            }
            if !label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            {
                return Err(HostError::Byte);
            }
        }
        // "127.1", "0x7f000001" and "2130706433" are addresses to inet_aton(3): a last label that is a number or
        // a hexadecimal number is never a public name (RFC 3696 §2, WHATWG URL "ends in a number").
        let last = text.rsplit('.').next().unwrap_or_default();
        let hexadecimal = last.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("0x"));
        if hexadecimal || last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(HostError::Address);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a request may be addressed to on a connection: the authorised name and the port that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Proof that the upstream's certificate was verified for this name. Only `tls::upstream` makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifiedName(Host);

impl VerifiedName {
    /// To be called at one place: after a handshake in which the platform's or configured roots vouched for `host`.
    pub(crate) fn after_handshake(host: Host) -> Self {
        Self(host)
    }

    pub(crate) fn host(&self) -> &Host {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_lower_case_without_trailing_dot() {
        let host: Host = "Gateway.Discord.GG.".parse().unwrap();
        assert_eq!(host.as_str(), "gateway.discord.gg");
    }

    #[test]
    fn host_rejects_addresses_in_odd_spellings() {
        for text in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7F.1",
            "a.0x7f",
            "1.2.3.4.",
        ] {
            assert_eq!(text.parse::<Host>(), Err(HostError::Address), "{text}");
        }
        assert!("1password.com".parse::<Host>().is_ok());
    }

    #[test]
    fn host_rejects_bytes_that_mean_something_elsewhere() {
        for text in [
            "good@evil",
            "a b",
            "a/b",
            "a:443",
            "[::1]",
            "bücher.example",
            "a\0b",
        ] {
            assert_eq!(text.parse::<Host>(), Err(HostError::Byte), "{text}");
        }
        for text in ["", ".", "a..b", ".a"] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }
}

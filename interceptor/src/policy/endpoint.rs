//! One destination that a policy names, with how it may be reached.

use std::{cmp::Reverse, fmt, net::IpAddr};

use super::{Binaries, HostPattern, Network, Requests, reach};
use crate::address::Host;

/// One host pattern at one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// For statistics and denials: `discord/gateway.discord.gg:443`.
    pub(crate) rule: Box<str>,
    pub(crate) target: Target,
    pub(crate) port: u16,
    pub(crate) handling: Handling,
    pub(crate) requests: Requests,
    /// Who may use it.
    pub(crate) binaries: Binaries,
    pub(crate) enforcement: Enforcement,
    /// A secret that comes back becomes its placeholder again.
    pub(crate) redact: bool,
    /// Protocols beside WebSocket that a connection may switch to, as the `Upgrade` header spells them.
    pub(crate) upgrades: Vec<Box<str>>,
    /// When it is not empty, the only addresses that the host may have; private ones among them are allowed.
    pub(crate) allowed_ips: Vec<Network>,
}

/// What an endpoint names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Named(HostPattern),
    /// Addresses of `allowed_ips`, without a name.
    Addresses,
}

/// What is done with a connection to an endpoint. In the order in which equally specific endpoints win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Handling {
    /// Denied: what the endpoint allows cannot be told from what it does not.
    Unsupported(Protocol),
    Tunnel,
    Intercept,
    Tcp,
}

/// A protocol as policies spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Rest,
    WebSocket,
    GraphQl,
    Mcp,
    JsonRpc,
    Sql,
}

/// Which HTTP methods a client may use. In the order of strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
    Full,
}

/// What happens to a request that `access` does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Enforcement {
    /// It is refused.
    Enforce,
    /// It is logged and let through.
    Audit,
}

impl Endpoint {
    pub(crate) fn names(&self, host: &Host) -> bool {
        match &self.target {
            Target::Named(pattern) => pattern.matches(host),
            Target::Addresses => false,
        }
    }

    /// Its pattern, unless that spells out one host.
    pub(crate) fn wildcard(&self) -> Option<&HostPattern> {
        match &self.target {
            Target::Named(HostPattern::Exact(_)) | Target::Addresses => None,
            Target::Named(wildcard) => Some(wildcard),
        }
    }

    /// Whether a connection may be dialled to an address that the host resolved to. Loopback, link-local, unspecified,
    /// multicast and metadata addresses never may; private and other special ones only by `allowed_ips`.
    ///
    /// Stricter than OpenShell, where an exact host may resolve to RFC 1918 addresses without `allowed_ips`.
    pub(crate) fn allows_address(&self, address: IpAddr) -> bool {
        let address = reach::destination(address);
        let listed = self
            .allowed_ips
            .iter()
            .any(|network| network.contains(address));
        match reach::reach(address) {
            reach::Reach::Never => false,
            reach::Reach::Private => listed,
            reach::Reach::Public => listed || self.allowed_ips.is_empty(),
        }
    }

    /// Its private addresses would be allowed by OpenShell.
    pub(super) fn is_exact_without_addresses(&self) -> bool {
        matches!(self.target, Target::Named(HostPattern::Exact(_))) && self.allowed_ips.is_empty()
    }

    /// It treats connections otherwise than another endpoint for the same hosts and port.
    pub(crate) fn differs_from(&self, other: &Self) -> bool {
        let Self {
            rule: _,
            target: _,
            port: _,
            handling,
            // Those of all endpoints count.
            requests: _,
            binaries: _,
            enforcement,
            redact,
            upgrades,
            allowed_ips,
        } = self;
        (handling, enforcement, redact, upgrades, allowed_ips)
            != (
                &other.handling,
                &other.enforcement,
                &other.redact,
                &other.upgrades,
                &other.allowed_ips,
            )
    }

    /// The smallest decides.
    pub(super) fn precedence(&self) -> impl Ord + use<> {
        let Self {
            rule: _,
            target,
            port: _,
            handling,
            requests: _,
            binaries: _,
            enforcement,
            redact: _,
            upgrades: _,
            allowed_ips: _,
        } = self;
        let specificity = match target {
            Target::Named(pattern) => Some(pattern.specificity()),
            Target::Addresses => None,
        };
        (Reverse(specificity), *handling, *enforcement)
    }
}

impl Access {
    /// Whether it covers an HTTP method, or `WEBSOCKET_TEXT` for a client's text message. Methods are case-sensitive
    /// (RFC 9110 §9.1).
    pub(super) fn covers(self, method: &str) -> bool {
        let reads = matches!(method, "GET" | "HEAD" | "OPTIONS");
        match self {
            Self::ReadOnly => reads,
            Self::ReadWrite => {
                reads || matches!(method, "POST" | "PUT" | "PATCH" | "WEBSOCKET_TEXT")
            }
            Self::Full => true,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
            Self::Full => "full",
        })
    }
}

impl fmt::Display for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(protocol) => {
                write!(f, "denied, protocol {protocol} is not supported")
            }
            Self::Tunnel => f.write_str("tunnel, never decrypted, without secrets"),
            Self::Intercept => f.write_str("intercept"),
            Self::Tcp => f.write_str("raw TCP, never read, without secrets"),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Rest => "rest",
            Self::WebSocket => "websocket",
            Self::GraphQl => "graphql",
            Self::Mcp => "mcp",
            Self::JsonRpc => "json-rpc",
            Self::Sql => "sql",
        })
    }
}

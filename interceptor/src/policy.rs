//! What a sandbox may reach, and where its secrets may stand.
//!
//! A policy is a set of endpoints; what no endpoint names is denied. When several endpoints name a host and port, one
//! decides: the most specific host pattern (an exact name before a wildcard, a longer suffix before a shorter); among
//! equals an unsupported endpoint, then a tunnel, then an intercepted one, then raw TCP; then the stricter access, then
//! `enforce` before `audit`, then the endpoint that comes first in the files.

pub(crate) mod binding;
mod endpoint;
pub(crate) mod openshell;
mod pattern;
mod reach;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

pub(crate) use self::{
    endpoint::{Access, Endpoint, Enforcement, Handling, Protocol, Target},
    pattern::HostPattern,
    reach::Network,
};
use crate::address::Host;

/// The endpoints of one sandbox, in the order in which they decide. The default denies everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    endpoints: Vec<Arc<Endpoint>>,
}

/// What to do with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Deny(Denial),
    /// TLS is carried undecrypted, without secrets.
    Tunnel(Arc<Endpoint>),
    /// TLS is opened, HTTP and WebSocket are read, bound secrets are put in.
    Intercept(Arc<Endpoint>),
    /// Bytes are carried unread, without secrets.
    Tcp(Arc<Endpoint>),
}

/// Why the policy denies a connection, for an operator and for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denial {
    #[error("no rule for {host}:{port}")]
    Host { host: Host, port: u16 },
    #[error("no rule for {host}:{port}: the host is allowed at other ports only")]
    Port { host: Host, port: u16 },
    #[error("rule {rule} asks for protocol {protocol}, which is not supported")]
    Unsupported { rule: Box<str>, protocol: Protocol },
}

impl Policy {
    pub(crate) fn new(endpoints: impl IntoIterator<Item = Arc<Endpoint>>) -> Self {
        let mut endpoints: Vec<_> = endpoints.into_iter().collect();
        // Stable: equals stay in the order of the files.
        endpoints.sort_by_key(|endpoint| endpoint.precedence());
        Self { endpoints }
    }

    pub(crate) fn decide(&self, host: &Host, port: u16) -> Verdict {
        let mut denial = Denial::Host {
            host: host.clone(),
            port,
        };
        for endpoint in self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.names(host))
        {
            if endpoint.port == port {
                return Self::verdict(endpoint);
            }
            denial = Denial::Port {
                host: host.clone(),
                port,
            };
        }
        Verdict::Deny(denial)
    }

    /// Some port of the host may be reached, so that the host deserves an answer from DNS.
    pub(crate) fn knows(&self, host: &Host) -> bool {
        let ports: BTreeSet<u16> = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.names(host))
            .map(|endpoint| endpoint.port)
            .collect();
        ports
            .into_iter()
            .any(|port| !matches!(self.decide(host, port), Verdict::Deny(_)))
    }

    /// Some endpoint is at `port`, whatever becomes of it there.
    pub(crate) fn names_port(&self, port: u16) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.port == port)
    }

    /// The endpoint if `host` is raw TCP at `port`: nothing may be sniffed there, because the server may speak first.
    pub(crate) fn tcp(&self, host: &Host, port: u16) -> Option<Arc<Endpoint>> {
        match self.decide(host, port) {
            Verdict::Tcp(endpoint) => Some(endpoint),
            Verdict::Deny(_) | Verdict::Tunnel(_) | Verdict::Intercept(_) => None,
        }
    }

    /// The endpoint if raw TCP is allowed to an address without a name: an endpoint that has no host but `allowed_ips`.
    pub(crate) fn tcp_address(&self, address: IpAddr, port: u16) -> Option<Arc<Endpoint>> {
        self.endpoints
            .iter()
            .find(|endpoint| {
                endpoint.target == Target::Addresses
                    && endpoint.handling == Handling::Tcp
                    && endpoint.port == port
                    && endpoint.allows_address(address)
            })
            .cloned()
    }

    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    fn verdict(endpoint: &Arc<Endpoint>) -> Verdict {
        match endpoint.handling {
            Handling::Unsupported(protocol) => Verdict::Deny(Denial::Unsupported {
                rule: endpoint.rule.clone(),
                protocol,
            }),
            Handling::Tunnel => Verdict::Tunnel(Arc::clone(endpoint)),
            Handling::Intercept => Verdict::Intercept(Arc::clone(endpoint)),
            Handling::Tcp => Verdict::Tcp(Arc::clone(endpoint)),
        }
    }
}

#[cfg(test)]
mod tests;

//! What a sandbox may reach, and where its secrets may stand.
//!
//! A policy is a set of endpoints; what no endpoint names is denied. An endpoint whose `binaries` leave a program out does
//! not exist for it. When several endpoints name a host and port, one decides what is done with the connection: the most
//! specific host pattern (an exact name before a wildcard, a longer suffix before a shorter); among equals an unsupported
//! endpoint, then a tunnel, then an intercepted one, then raw TCP; then `enforce` before `audit`, then the endpoint that
//! comes first in the files.
//!
//! Of single requests all intercepted endpoints of the host and port speak, as in OpenShell: a request is allowed if one
//! of them allows it and none denies it. An endpoint with a `path` speaks of the requests to that path only.

mod binaries;
pub(crate) mod binding;
mod endpoint;
mod glob;
pub(crate) mod openshell;
mod pattern;
mod reach;
mod request;
mod rules;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use self::rules::Says;
pub(crate) use self::{
    binaries::{Binaries, Binary, Caller},
    endpoint::{Access, Endpoint, Enforcement, Handling, Protocol, Target},
    pattern::HostPattern,
    reach::Network,
    request::{RequestView, form_decoded},
    rules::{Allow, Requests, Rule},
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

/// What to do with a request. The reason is for the client and for an operator; nothing in it is the client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Allow,
    /// It goes on, but would be refused if its endpoint's `enforcement` were not `audit`.
    Audit(String),
    Deny(String),
}

/// Why the policy denies a connection, for an operator and for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denial {
    #[error("no rule for {host}:{port}")]
    Host { host: Host, port: u16 },
    #[error("no rule for {host}:{port}: the host is allowed at other ports only")]
    Port { host: Host, port: u16 },
    #[error(
        "no rule lets this program reach {host}:{port}: list its executable, as /proc/PID/exe shows it, or that of an \
         ancestor under `binaries`"
    )]
    Binary { host: Host, port: u16 },
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

    pub(crate) fn decide(&self, host: &Host, port: u16, caller: &Caller) -> Verdict {
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
                if endpoint.binaries.admit(caller) {
                    return Self::verdict(endpoint);
                }
                denial = Denial::Binary {
                    host: host.clone(),
                    port,
                };
            } else if matches!(denial, Denial::Host { .. }) {
                denial = Denial::Port {
                    host: host.clone(),
                    port,
                };
            }
        }
        Verdict::Deny(denial)
    }

    /// What becomes of a request to a host and port that are intercepted, or of one in plain HTTP, which is read even where
    /// TLS would not be.
    pub(crate) fn judge(
        &self,
        host: &Host,
        port: u16,
        caller: &Caller,
        request: &RequestView<'_>,
    ) -> Judgement {
        let mut here = self.endpoints.iter().filter(|endpoint| {
            endpoint.port == port && endpoint.names(host) && endpoint.binaries.admit(caller)
        });
        // One that is not for HTTP speaks only where it decides.
        let deciding = here.next();
        let speakers = deciding
            .filter(|endpoint| !matches!(endpoint.handling, Handling::Unsupported(_)))
            .into_iter()
            .chain(here.filter(|endpoint| endpoint.handling == Handling::Intercept));
        let mut allowed = false;
        let mut unallowed = None;
        let mut forbidden = None;
        for endpoint in speakers {
            let rule = &endpoint.rule;
            let (slot, why) = match endpoint.requests.say(request) {
                Says::Nothing => continue,
                Says::Allowed => {
                    allowed = true;
                    continue;
                }
                Says::NotAllowed => (
                    &mut unallowed,
                    format!("rule {rule} does not allow this method, path or query"),
                ),
                Says::Denied(number) => (
                    &mut forbidden,
                    format!("deny rule {number} of {rule} forbids this request"),
                ),
                Says::Ambiguous(what) => (
                    &mut forbidden,
                    format!("rule {rule} cannot be held against this request: {what}"),
                ),
            };
            // What one endpoint enforces is enforced.
            if slot
                .as_ref()
                .is_none_or(|(enforcement, _)| endpoint.enforcement < *enforcement)
            {
                *slot = Some((endpoint.enforcement, why));
            }
        }
        let unallowed = unallowed.filter(|_| !allowed);
        // A denial that is only audited hides none that is enforced.
        let against = [forbidden, unallowed].into_iter().flatten();
        match against.min_by_key(|(enforcement, _)| *enforcement) {
            None if allowed => Judgement::Allow,
            None => Judgement::Deny(format!(
                "no rule for {host}:{port} is about the path of this request"
            )),
            Some((Enforcement::Enforce, why)) => Judgement::Deny(why),
            Some((Enforcement::Audit, why)) => Judgement::Audit(why),
        }
    }

    /// Some program is left out of an endpoint, so that it has to be known who asks.
    pub(crate) fn asks_for_the_caller(&self) -> bool {
        self.endpoints
            .iter()
            .any(|endpoint| endpoint.binaries.restrict())
    }

    /// Some port of the host may be reached by some program, so that the host deserves an answer from DNS.
    pub(crate) fn knows(&self, host: &Host) -> bool {
        let ports: BTreeSet<u16> = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.names(host))
            .map(|endpoint| endpoint.port)
            .collect();
        ports.into_iter().any(|port| {
            for endpoint in &self.endpoints {
                if endpoint.port != port || !endpoint.names(host) {
                    continue;
                }
                if !matches!(endpoint.handling, Handling::Unsupported(_)) {
                    return true;
                }
                if !endpoint.binaries.restrict() {
                    break;
                }
            }
            false
        })
    }

    /// The wildcard that stands for the host, unless an endpoint spells it out.
    pub(crate) fn wildcard(&self, host: &Host) -> Option<&HostPattern> {
        let naming = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.names(host));
        let mut wildcards = naming.map(|endpoint| endpoint.wildcard());
        let first = wildcards.next()??;
        wildcards.all(|other| other.is_some()).then_some(first)
    }

    /// Some endpoint is at `port`, whatever becomes of it there.
    pub(crate) fn names_port(&self, port: u16) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.port == port)
    }

    /// The endpoint if `host` is raw TCP at `port`: nothing may be sniffed there, because the server may speak first.
    pub(crate) fn tcp(&self, host: &Host, port: u16, caller: &Caller) -> Option<Arc<Endpoint>> {
        match self.decide(host, port, caller) {
            Verdict::Tcp(endpoint) => Some(endpoint),
            Verdict::Deny(_) | Verdict::Tunnel(_) | Verdict::Intercept(_) => None,
        }
    }

    /// The endpoint if raw TCP is allowed to an address without a name: an endpoint that has no host but `allowed_ips`.
    pub(crate) fn tcp_address(
        &self,
        address: IpAddr,
        port: u16,
        caller: &Caller,
    ) -> Option<Arc<Endpoint>> {
        self.endpoints
            .iter()
            .find(|endpoint| {
                endpoint.target == Target::Addresses
                    && endpoint.handling == Handling::Tcp
                    && endpoint.port == port
                    && endpoint.binaries.admit(caller)
                    && endpoint.allows_address(address)
            })
            .cloned()
    }

    /// Of the endpoints with the same host, in the same words, and the same port: the one that decides what is done with a
    /// connection. `None` where there is no host.
    pub(crate) fn deciding(&self, endpoint: &Endpoint) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().find(|other| {
            other.target == endpoint.target
                && other.port == endpoint.port
                && endpoint.target != Target::Addresses
        })
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

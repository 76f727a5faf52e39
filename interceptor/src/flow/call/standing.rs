//! What a reload means for a connection that stands.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use super::Call;
use crate::{
    address::{Host, VerifiedName},
    flow::evidence::Evidence,
    http::Judge,
    policy::{Judgement, RequestView, Verdict, binding::Unbound},
    rewrite::{
        reflection::Reflection,
        release::Release,
        standing::{Reviewed, Revoked, Standing},
    },
};

/// An HTTP connection's place in the policy.
pub(super) struct Footing {
    pub(super) host: Host,
    /// `None` on plain TCP: nobody vouches for who answers, so nothing is released.
    pub(super) verified: Option<VerifiedName>,
    /// What it was verified by.
    pub(super) evidence: Arc<Evidence>,
    /// What was written on the connection to the server, by whichever client.
    pub(super) reflection: Arc<Reflection>,
}

/// A connection that is carried unread.
pub(super) enum Passage {
    /// TLS for a name, undecrypted.
    Tunnel(Host),
    /// Raw TCP to a name that we answered.
    Name(Host),
    Address(SocketAddr),
}

impl Call {
    /// What the connection may do: with which secrets, by which requests, and how it hears that this has changed.
    pub(super) fn stand(self: &Arc<Self>, footing: Footing) -> (Arc<Release>, Judge, Standing) {
        let Footing {
            host,
            verified,
            evidence,
            reflection,
        } = footing;
        let release = Arc::new(self.release(verified.as_ref()).noted_in(&reflection));
        let call = Arc::clone(self);
        let judged = host.clone();
        let judge: Judge = Arc::new(move |request| call.judge(&judged, request));
        let call = Arc::clone(self);
        let review = move || call.review(&host, verified.as_ref(), &evidence, &reflection);
        let standing = Standing::new(self.reloads.clone(), Arc::new(review));
        (release, judge, standing)
    }

    /// Whether the policy lets connections to `host` switch to `protocol`.
    pub(super) fn may_switch(&self, host: &Host, protocol: &str) -> bool {
        let Verdict::Intercept(endpoint) = self.decide(host) else {
            return false;
        };
        let mut upgrades = endpoint.upgrades.iter();
        upgrades.any(|allowed| allowed.eq_ignore_ascii_case(protocol))
    }

    /// What the policy says of one request.
    fn judge(&self, host: &Host, request: &RequestView<'_>) -> Judgement {
        let configuration = self.configuration.load();
        let port = self.origin.original.port();
        match configuration.snapshot.sandbox(&self.sandbox.name) {
            Some(rules) => {
                let caller = self.caller(&rules.policy);
                rules.policy.judge(host, port, caller, request)
            }
            None => Judgement::Deny(format!("no rule for {host}:{port}")),
        }
    }

    /// Holds an HTTP connection against the configuration that is valid now.
    fn review(
        &self,
        host: &Host,
        verified: Option<&VerifiedName>,
        evidence: &Evidence,
        reflection: &Arc<Reflection>,
    ) -> Reviewed {
        self.follow();
        let decided = match self.decide(host) {
            Verdict::Intercept(decided) => decided,
            Verdict::Tunnel(decided) | Verdict::Tcp(decided) if verified.is_none() => decided,
            Verdict::Tunnel(decided) | Verdict::Tcp(decided) => {
                return Err(Revoked::Policy(format!(
                    "rule {} no longer lets its TLS be opened",
                    decided.rule
                )));
            }
            Verdict::Deny(denial) => return Err(Revoked::Policy(denial.to_string())),
        };
        evidence.hold(&self.configuration.load().connector, host)?;
        let release = self.release(verified);
        let mut put_in = self.stats().facts().rewrites.into_keys();
        if let Some(gone) = put_in.find(|name| !release.has(name)) {
            return Err(Revoked::Secret(gone));
        }
        if decided.redact {
            reflection.turn_on();
        }
        self.decided("intercept", &decided);
        Ok(Arc::new(release.noted_in(reflection)))
    }

    /// Resolves when a connection that is carried unread may not be any more.
    pub(super) async fn revoked(&self, passage: &Passage) -> Revoked {
        let mut reloads = self.reloads.clone();
        loop {
            if reloads.changed().await.is_err() {
                std::future::pending::<Infallible>().await;
            }
            self.follow();
            if let Err(revoked) = self.review_passage(passage) {
                return revoked;
            }
        }
    }

    fn review_passage(&self, passage: &Passage) -> Result<(), Revoked> {
        let gone = |what: String| Err(Revoked::Policy(what));
        let port = self.origin.original.port();
        let endpoint = match passage {
            Passage::Tunnel(host) => match self.decide(host) {
                Verdict::Tunnel(endpoint) | Verdict::Tcp(endpoint) => endpoint,
                Verdict::Intercept(endpoint) => {
                    return gone(format!("rule {} wants its TLS opened now", endpoint.rule));
                }
                Verdict::Deny(denial) => return gone(denial.to_string()),
            },
            Passage::Name(host) => match self.decide(host) {
                Verdict::Tcp(endpoint) => endpoint,
                Verdict::Tunnel(endpoint) | Verdict::Intercept(endpoint) => {
                    return gone(format!(
                        "rule {} is not for raw TCP any more",
                        endpoint.rule
                    ));
                }
                Verdict::Deny(denial) => return gone(denial.to_string()),
            },
            Passage::Address(address) => {
                let configuration = self.configuration.load();
                let rules = configuration.snapshot.sandbox(&self.sandbox.name);
                let endpoint = rules.and_then(|rules| {
                    let caller = self.caller(&rules.policy);
                    rules.policy.tcp_address(address.ip(), port, caller)
                });
                match endpoint {
                    Some(endpoint) => endpoint,
                    None => return gone(format!("no rule for raw TCP to {address}")),
                }
            }
        };
        self.decided("tunnel", &endpoint);
        Ok(())
    }

    /// Goes by the configuration that is valid now. The old one, with its secrets, is forgotten.
    fn follow(&self) {
        self.configuration.store(self.engine.configuration());
    }

    /// The secrets that may go to the verified owner of a name, by this connection.
    fn release(&self, verified: Option<&VerifiedName>) -> Release {
        let configuration = self.configuration.load();
        let snapshot = &configuration.snapshot;
        let rules = snapshot.sandbox(&self.sandbox.name);
        let unbound = rules.map_or_else(Unbound::default, |rules| rules.unbound);
        let Some(verified) = verified else {
            return Release::nothing().with_unbound(unbound);
        };
        let names = self.sandbox.secrets(snapshot);
        let (bound, elsewhere) = snapshot.bound(names.into_iter(), verified.host());
        Release::new(verified, bound, elsewhere).with_unbound(unbound)
    }
}

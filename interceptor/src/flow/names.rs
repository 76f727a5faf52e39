//! What DNS tells one asker in a sandbox.

use std::net::IpAddr;

use super::{Origin, engine::Engine, sandbox::Sandbox};
use crate::{
    address::Host,
    dns::{
        Refusal, Zone,
        bounds::Family,
        resolver::{Answer, ResolveError, Service},
    },
    stats::Denial,
};

/// The names that the sandbox's policy knows, as its process `origin` sees them.
pub(super) struct Names<'a> {
    pub(super) engine: &'a Engine,
    pub(super) sandbox: &'a Sandbox,
    pub(super) origin: &'a Origin,
}

impl Zone for Names<'_> {
    fn knows(&self, host: &Host) -> bool {
        let configuration = self.engine.configuration();
        let rules = configuration.snapshot.sandbox(&self.sandbox.name);
        rules.is_some_and(|rules| rules.policy.knows(host))
    }

    fn admit(&self, host: &Host, name: &str) -> Result<(), Refusal> {
        let is_service = name != host.as_str();
        if !is_service && self.engine.resolver.overrides(host) {
            return Ok(());
        }
        let configuration = self.engine.configuration();
        let rules = configuration.snapshot.sandbox(&self.sandbox.name);
        let wildcard = rules.and_then(|rules| rules.policy.wildcard(host));
        match wildcard {
            Some(wildcard) => self.sandbox.admit(Family::wildcard(wildcard), name),
            None if is_service => self.sandbox.admit(Family::services(host), name),
            None => Ok(()),
        }
    }

    async fn resolve(&self, host: &Host) -> Result<Answer<IpAddr>, ResolveError> {
        // The port matters to the dialler only.
        let resolved = self.engine.resolver.resolve(host, 0).await?;
        let addresses = resolved.addresses.iter().map(|address| address.ip());
        Ok(Answer {
            records: addresses.collect(),
            lifetime: resolved.lifetime,
        })
    }

    async fn services(&self, name: &str) -> Result<Answer<Service>, ResolveError> {
        self.engine.resolver.services(name).await
    }

    fn answered(&self, host: &Host, addresses: &[IpAddr]) {
        self.sandbox.names.remember(host, addresses);
    }

    fn name_of(&self, address: IpAddr) -> Option<Host> {
        let mut names = self.sandbox.names.names(address).into_iter();
        // A reload may have taken the name from the sandbox.
        names.find(|host| self.knows(host))
    }

    fn record(&self, name: &str, refusal: Option<&Refusal>) {
        let stats = &self.engine.stats;
        stats.count_dns(self.sandbox.id, refusal.is_none());
        let Some(refusal) = refusal else {
            return;
        };
        let reason = refusal.reason();
        let Some(quiet) = self.sandbox.reports.admit() else {
            stats.count_denial(self.sandbox.id, reason);
            return;
        };
        let before = match quiet {
            0 => String::new(),
            quiet => format!("; {quiet} refused questions before it are not listed"),
        };
        let detail = format!("{refusal}{before}");
        stats.deny(Denial {
            sandbox: Some(self.sandbox.id),
            sandbox_name: Some(self.sandbox.name.clone()),
            process: self.origin.process.clone().into(),
            destination: Some(self.origin.original.0),
            name: Some(name.to_owned()),
            connection: None,
            reason,
            detail,
        });
    }
}

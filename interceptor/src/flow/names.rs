//! What DNS tells one asker in a sandbox.

use std::net::IpAddr;

use super::{Origin, engine::Engine, sandbox::Sandbox};
use crate::{
    address::Host,
    dns::{Zone, resolver::ResolveError},
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
        let known = rules.is_some_and(|rules| rules.policy.knows(host));
        self.engine.stats.count_dns(self.sandbox.id, known);
        if !known {
            self.engine.stats.deny(Denial {
                sandbox: Some(self.sandbox.id),
                sandbox_name: Some(self.sandbox.name.clone()),
                process: self.origin.process.clone().into(),
                destination: Some(self.origin.original.0),
                name: Some(host.to_string()),
                connection: None,
                reason: "dns",
                detail: format!("no rule for {host}"),
            });
        }
        known
    }

    async fn resolve(&self, host: &Host) -> Result<Vec<IpAddr>, ResolveError> {
        // The port matters to the dialler only.
        let resolved = self.engine.resolver.resolve(host, 0).await?;
        Ok(resolved
            .addresses
            .iter()
            .map(|address| address.ip())
            .collect())
    }

    fn answered(&self, host: &Host, addresses: &[IpAddr]) {
        self.sandbox.names.remember(host, addresses);
    }
}

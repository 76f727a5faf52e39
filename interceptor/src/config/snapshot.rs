//! What a configuration means, once and for all.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Exemptions, binding::Binding, limits::Limits};
use crate::{
    address::Host,
    dns::resolver::Override,
    policy::{Policy, binding::Unbound},
    rewrite::release::BoundSecret,
    secrets::{Secret, SecretName},
    tls::identity::ClientCertificate,
    yaml::{Level, Report},
};

/// A complete and consistent configuration. Never changes: a reload makes another one, and the two can be compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(super) secrets: BTreeMap<SecretName, Arc<BoundTo>>,
    pub(super) sandboxes: BTreeMap<Box<str>, Arc<SandboxRules>>,
    pub(super) resolve: HashMap<Host, Vec<Override>>,
    pub(super) name_servers: Vec<SocketAddr>,
    pub(super) ca: Option<CaFiles>,
    pub(super) roots: Vec<PathBuf>,
    pub(super) client_certificates: Vec<ClientCertificate>,
    pub(super) events_file: Option<PathBuf>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) reports: Vec<Report>,
}

/// What a sandbox may do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SandboxRules {
    pub(crate) name: Box<str>,
    /// The files that `policy` was read from.
    pub(crate) policies: Vec<PathBuf>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) secrets: Vec<SecretName>,
    /// What goes past the daemon.
    pub(crate) exemptions: Exemptions,
    /// What happens to a placeholder that stands where nothing is bound.
    pub(crate) unbound: Unbound,
    pub(crate) limits: Limits,
    /// The cgroup to attach without being told to.
    pub(crate) match_cgroup: Option<PathBuf>,
    pub(crate) existing: Existing,
    /// Our CA goes into the bundles of its containers.
    pub(crate) install_ca: bool,
}

/// What becomes of sockets that a sandbox's processes have from elsewhere: from before attach, brought along, passed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Existing {
    #[default]
    Destroy,
    Keep,
}

/// A secret and where it may stand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BoundTo {
    pub(super) secret: Secret,
    pub(super) bindings: Vec<Binding>,
}

/// A certificate authority that is given, not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Snapshot {
    pub(crate) fn sandbox(&self, name: &str) -> Option<&Arc<SandboxRules>> {
        self.sandboxes.get(name)
    }

    /// In the order of their names.
    pub(crate) fn sandboxes(&self) -> impl Iterator<Item = &Arc<SandboxRules>> {
        self.sandboxes.values()
    }

    pub(crate) fn has_secret(&self, name: &SecretName) -> bool {
        self.secrets.contains_key(name)
    }

    /// For a [`Release`](crate::rewrite::release::Release): those of `names` that are bound to `host`, each with its
    /// surfaces there, and the names of the others. A name without a secret is in neither.
    pub(crate) fn bound<'a>(
        &self,
        names: impl Iterator<Item = &'a SecretName>,
        host: &Host,
    ) -> (Vec<BoundSecret>, Vec<SecretName>) {
        let mut here = Vec::new();
        let mut elsewhere = Vec::new();
        for name in names {
            let Some(BoundTo { secret, bindings }) = self.secrets.get(name).map(Arc::as_ref) else {
                continue;
            };
            let mut surfaces = Vec::new();
            for binding in bindings.iter().filter(|binding| binding.names(host)) {
                if !surfaces.contains(&binding.surface) {
                    surfaces.push(binding.surface.clone());
                }
            }
            if surfaces.is_empty() {
                elsewhere.push(name.clone());
            } else {
                here.push(BoundSecret {
                    name: name.clone(),
                    secret: secret.clone(),
                    surfaces,
                });
            }
        }
        (here, elsewhere)
    }

    pub(crate) fn secret_names(&self) -> impl Iterator<Item = &SecretName> {
        self.secrets.keys()
    }

    /// Both have the secret, with the same value and the same bindings.
    pub(crate) fn same_secret(&self, other: &Self, name: &SecretName) -> bool {
        self.secrets.get(name) == other.secrets.get(name)
    }

    /// Addresses to dial for a host instead of what DNS says. Allowed as written, private or not.
    pub(crate) fn resolve(&self) -> &HashMap<Host, Vec<Override>> {
        &self.resolve
    }

    /// Name servers to ask instead of those of /etc/resolv.conf; none: those.
    pub(crate) fn name_servers(&self) -> &[SocketAddr] {
        &self.name_servers
    }

    pub(crate) fn ca(&self) -> Option<&CaFiles> {
        self.ca.as_ref()
    }

    /// Root certificates to trust for upstreams, beside the platform's.
    pub(crate) fn extra_roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Who we are to servers that ask for a certificate. The first one that names a host holds.
    pub(crate) fn client_certificates(&self) -> &[ClientCertificate] {
        &self.client_certificates
    }

    /// Where events are written, as lines of JSON.
    pub(crate) fn events_file(&self) -> Option<&Path> {
        self.events_file.as_deref()
    }

    /// Where metrics are served.
    pub(crate) fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Logs every report, at the daemon's start and after a reload.
    pub(crate) fn log_reports(&self) {
        for report in &self.reports {
            let Report {
                file,
                line,
                column,
                level,
                message,
            } = report;
            let file = file.display();
            match level {
                Level::Info => tracing::info!(%file, line, column, "{message}"),
                Level::Warning => tracing::warn!(%file, line, column, "{message}"),
            }
        }
    }

    /// What an operator should know, sorted by place.
    pub(crate) fn reports(&self) -> &[Report] {
        &self.reports
    }
}

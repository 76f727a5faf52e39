//! `interceptor.yaml`: read, checked against everything that it names, and frozen into a [`Snapshot`].

mod binding;
mod exemption;
mod import;
mod limits;
mod network;
mod profile;
mod sandbox;
mod secret;
mod snapshot;

use std::path::{Path, PathBuf};

pub(crate) use self::{
    exemption::{ExemptProcess, Exemptions, NetnsPlace},
    import::{Fate, Import, Imported, import},
    limits::Limits,
    snapshot::{CaFiles, Existing, SandboxRules, Snapshot},
};
pub(crate) use crate::yaml::Faults;
use crate::yaml::{self, Findings, Node};

/// Reads the configuration with all policy files and secrets that it names.
///
/// # Errors
/// Everything that is wrong with it, in one go. Nothing that runs is touched.
pub(crate) fn load(path: &Path) -> Result<Snapshot, Faults> {
    let mut findings = Findings::default();
    let mut snapshot = yaml::load(path, None, &mut findings)
        .map(|root| read(path, &root, &mut findings))
        .unwrap_or_default();
    snapshot.reports = findings.finish()?;
    Ok(snapshot)
}

fn read(path: &Path, root: &Node, findings: &mut Findings) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let Some(mut fields) = root.fields(findings) else {
        return snapshot;
    };
    let secrets = fields.take("secrets");
    let sandboxes = fields.take("sandboxes");
    let resolve = fields.take("resolve");
    let dns = fields.take("dns");
    let ca = fields.take("ca");
    let upstream = fields.take("upstream");
    let events = fields.take("events");
    let metrics = fields.take("metrics");
    fields.finish(findings);

    let paths = Paths::beside(path);
    if let Some(resolve) = resolve {
        snapshot.resolve = network::read_resolve(resolve, findings);
    }
    if let Some(dns) = dns {
        snapshot.name_servers = network::read_dns(dns, findings);
    }
    if let Some(ca) = ca {
        snapshot.ca = network::read_ca(ca, &paths, findings);
    }
    if let Some(upstream) = upstream {
        (snapshot.roots, snapshot.client_certificates) =
            network::read_upstream(upstream, &paths, findings);
    }
    if let Some(events) = events {
        snapshot.events_file = read_events(events, &paths, findings);
    }
    if let Some(metrics) = metrics {
        snapshot.metrics = network::read_metrics(metrics, findings);
    }
    let mut known_secrets = secret::Names::default();
    if let Some(secrets) = secrets {
        (snapshot.secrets, known_secrets) = secret::read(secrets, &paths, findings);
    }
    if let Some(sandboxes) = sandboxes {
        let reader = sandbox::Reader {
            paths: &paths,
            known_secrets: &known_secrets,
            secrets: &snapshot.secrets,
        };
        snapshot.sandboxes = reader.read(sandboxes, findings);
    }
    snapshot
}

/// `events:`.
fn read_events(node: &Node, paths: &Paths, findings: &mut Findings) -> Option<PathBuf> {
    let mut fields = node.fields(findings)?;
    let file = fields.require("file", findings);
    fields.finish(findings);
    paths.resolve(file?, findings)
}

/// Relative paths are relative to the file that names them.
#[derive(Debug)]
struct Paths {
    folder: PathBuf,
}

impl Paths {
    fn beside(file: &Path) -> Self {
        Self {
            folder: file.parent().unwrap_or(Path::new("")).to_owned(),
        }
    }

    fn resolve(&self, node: &Node, findings: &mut Findings) -> Option<PathBuf> {
        let text = node.text(findings)?;
        if text.is_empty() || text.contains('\0') {
            findings.fault(&node.at, "not a path");
            return None;
        }
        Some(self.folder.join(text))
    }
}

#[cfg(test)]
mod tests;

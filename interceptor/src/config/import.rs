//! Policy files before there is a configuration for them: what will become of each of their endpoints, and what to write
//! into `interceptor.yaml` so that it does.

use std::{path::PathBuf, sync::Arc};

use super::{
    binding::Binding,
    profile,
    sandbox::{NO_TUNNEL, open_tunnels, report_conflicts},
};
use crate::{
    policy::{
        Endpoint, Enforcement, Handling, HostPattern, Policy, Protocol, Target,
        binding::Surface,
        openshell::{self, Declared},
    },
    yaml::{self, Faults, Findings, Position, Report},
};

/// Files as they would be read for a sandbox.
#[derive(Debug)]
pub(crate) struct Import {
    /// In the order of the files.
    pub(crate) endpoints: Vec<Imported>,
    /// What else an operator should know, sorted by place.
    pub(crate) reports: Vec<Report>,
    /// Where a client of a profile goes that no endpoint allows.
    pub(crate) gaps: Vec<String>,
}

/// One endpoint at one port.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) at: Position,
    pub(crate) rule: Box<str>,
    /// In the words of the file. `None`: addresses without a name.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
    pub(crate) fate: Fate,
    /// Those that put a secret in there, or would if it were not tunnelled.
    pub(crate) profiles: Vec<&'static str>,
    pub(crate) enforcement: Enforcement,
}

/// What is done with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// TLS is opened, and secrets of a profile are put in.
    Rewrite,
    /// TLS is opened; no profile puts a secret in.
    Intercept,
    /// TLS is carried unopened, as `tls: skip` says.
    Tunnel,
    /// Bytes are carried unread, as `protocol: tcp` says.
    Tcp,
    Unsupported(Protocol),
}

/// Reads policy files for the sandbox of that name, with the tunnels to hosts of `intercept` opened.
///
/// # Errors
/// Everything that is wrong with them, in one go.
pub(crate) fn import(
    files: &[PathBuf],
    sandbox: &str,
    intercept: &[HostPattern],
) -> Result<Import, Faults> {
    let mut findings = Findings::default();
    let mut declared = Vec::new();
    for file in files {
        if let Some(root) = yaml::load(file, None, &mut findings) {
            declared.extend(openshell::read(&root, sandbox, &mut findings));
        }
    }
    for pattern in intercept {
        if !open_tunnels(pattern.clone(), &mut declared, &mut findings)
            && let Some(file) = files.first()
        {
            let at = Position::start_of(file);
            findings.fault(&at, format!("cannot open {pattern}: {NO_TUNNEL}"));
        }
    }
    report_conflicts(&declared, &mut findings);
    let profiles: Vec<_> = profile::hosted().collect();
    let policy = Policy::new(declared.iter().map(|one| Arc::clone(&one.endpoint)));
    let endpoints: Vec<_> = declared
        .into_iter()
        .map(|one| imported(one, &policy, &profiles))
        .collect();
    Ok(Import {
        gaps: gaps(&endpoints, &policy, &profiles),
        endpoints,
        reports: findings.finish()?,
    })
}

type Profiles = [(&'static str, Vec<Binding>)];

fn imported(declared: Declared, policy: &Policy, profiles: &Profiles) -> Imported {
    let Declared { at, endpoint } = declared;
    let pattern = match &endpoint.target {
        Target::Named(pattern) => Some(pattern),
        Target::Addresses => None,
    };
    let profiles: Vec<_> = profiles
        .iter()
        .filter(|(_, bindings)| {
            pattern.is_some_and(|pattern| bindings.iter().any(|binding| binding.overlaps(pattern)))
        })
        .map(|(name, _)| *name)
        .collect();
    let handling = policy.deciding(&endpoint).unwrap_or(&endpoint).handling;
    Imported {
        at,
        host: pattern.map(HostPattern::to_string),
        port: endpoint.port,
        fate: match handling {
            Handling::Intercept if profiles.is_empty() => Fate::Intercept,
            Handling::Intercept => Fate::Rewrite,
            Handling::Tunnel => Fate::Tunnel,
            Handling::Tcp => Fate::Tcp,
            Handling::Unsupported(protocol) => Fate::Unsupported(protocol),
        },
        profiles,
        enforcement: endpoint.enforcement,
        rule: endpoint.rule.clone(),
    }
}

/// Hosts at which clients of a profile that is used log in over WebSocket, and to which no endpoint leads.
fn gaps(endpoints: &[Imported], policy: &Policy, profiles: &Profiles) -> Vec<String> {
    let used = |name: &str| {
        let mut endpoints = endpoints.iter();
        endpoints.any(|endpoint| endpoint.profiles.contains(&name))
    };
    let leads_to = |pattern: &HostPattern| {
        let allows = |endpoint: &Arc<Endpoint>| match (&endpoint.target, pattern) {
            (Target::Named(named), HostPattern::Exact(host)) => named.matches(host),
            (Target::Named(named), _) => named == pattern,
            (Target::Addresses, _) => false,
        };
        policy.endpoints().iter().any(allows)
    };
    let used = profiles.iter().filter(|(name, _)| used(name));
    used.flat_map(|(name, bindings)| {
        bindings
            .iter()
            .filter(|binding| matches!(binding.surface, Surface::WebSocketJson(_)))
            .flat_map(|binding| &binding.hosts)
            .filter(|pattern| !leads_to(pattern))
            .map(move |pattern| {
                format!("clients of {name} log in at {pattern} too, where no endpoint leads")
            })
    })
    .collect()
}

impl Import {
    /// Tunnels to hosts at which a profile would put a secret in, each host once.
    pub(crate) fn shut(&self) -> Vec<&Imported> {
        let mut shut: Vec<&Imported> = Vec::new();
        for endpoint in &self.endpoints {
            if endpoint.fate == Fate::Tunnel
                && !endpoint.profiles.is_empty()
                && shut.iter().all(|other| other.host != endpoint.host)
            {
                shut.push(endpoint);
            }
        }
        shut
    }

    /// Every profile that is used, once.
    pub(crate) fn profiles(&self) -> Vec<&'static str> {
        let mut used: Vec<_> = self
            .endpoints
            .iter()
            .flat_map(|endpoint| endpoint.profiles.iter().copied())
            .collect();
        used.sort_unstable();
        used.dedup();
        used
    }

    pub(crate) fn is_supported(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.all(|endpoint| !matches!(endpoint.fate, Fate::Unsupported(_)))
    }
}

#[cfg(test)]
mod tests;

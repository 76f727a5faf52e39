//! `sandboxes:`.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use super::{
    Existing, Paths, SandboxRules, exemption, limits,
    secret::{Names, Secrets},
};
use crate::{
    policy::{
        Endpoint, Handling, HostPattern, Policy, Target,
        binding::Unbound,
        openshell::{self, Declared},
    },
    secrets::SecretName,
    yaml::{self, Findings, Node, Position},
};

/// What `unbound` can be.
const UNBOUND: &[(&str, Unbound)] = &[
    ("pass", Unbound::Pass),
    ("record", Unbound::Record),
    ("refuse", Unbound::Refuse),
];

/// What `existing` can be.
const EXISTING: &[(&str, Existing)] = &[("destroy", Existing::Destroy), ("keep", Existing::Keep)];

/// Reads sandboxes against the rest of the configuration.
pub(super) struct Reader<'a> {
    pub(super) paths: &'a Paths,
    pub(super) known_secrets: &'a Names,
    pub(super) secrets: &'a Secrets,
}

impl Reader<'_> {
    pub(super) fn read(
        &self,
        list: &Node,
        findings: &mut Findings,
    ) -> BTreeMap<Box<str>, Arc<SandboxRules>> {
        let mut sandboxes = BTreeMap::new();
        let mut cgroups: BTreeMap<PathBuf, Box<str>> = BTreeMap::new();
        for node in list.list(findings).unwrap_or_default() {
            let Some(rules) = self.read_one(node, &mut cgroups, findings) else {
                continue;
            };
            let name = rules.name.clone();
            if sandboxes.insert(name, Arc::new(rules)).is_some() {
                findings.fault(&node.at, "a sandbox of the same name stands here already");
            }
        }
        sandboxes
    }

    fn read_one(
        &self,
        node: &Node,
        cgroups: &mut BTreeMap<PathBuf, Box<str>>,
        findings: &mut Findings,
    ) -> Option<SandboxRules> {
        let mut fields = node.fields(findings)?;
        let name = fields.require("name", findings);
        let policies = fields.take("policies");
        let secrets = fields.take("secrets");
        let matched = fields.take("match");
        let intercept = fields.take("intercept");
        let unredacted = fields.take("unredacted");
        let upgrades = fields.take("upgrades");
        let unbound = fields.take("unbound");
        let existing = fields.take("existing");
        let udp = fields.take("udp");
        let exempt = fields.take("exempt");
        let limits = fields.take("limits");
        let ca = fields.take("ca");
        fields.finish(findings);

        let name = name.and_then(|name| read_name(name, findings));
        let match_cgroup = matched.and_then(|node| read_match(node, findings));
        if let (Some(node), Some(cgroup), Some(name)) = (matched, &match_cgroup, &name)
            && let Some(other) = cgroups.insert(cgroup.clone(), name.clone())
        {
            findings.fault(&node.at, format!("sandbox {other} matches the same cgroup"));
        }
        let existing = existing.and_then(|node| node.choice(EXISTING, findings));
        let exemptions = exemption::read(udp, exempt, findings);
        let limits = limits.and_then(|node| limits::read(node, findings));
        let unbound = unbound.and_then(|node| node.choice(UNBOUND, findings));
        let secrets = secrets.map_or_else(Vec::new, |list| self.read_secrets(list, findings));
        // A policy is a template: it is read for a name. Without one its faults are still worth showing.
        let (policies, mut declared) = policies
            .map(|list| self.read_policies(list, name.as_deref().unwrap_or("sandbox"), findings))
            .unwrap_or_default();
        if let Some(intercept) = intercept {
            override_tunnels(intercept, &mut declared, findings);
        }
        if let Some(unredacted) = unredacted {
            leave_unredacted(unredacted, &mut declared, findings);
        }
        if let Some(upgrades) = upgrades {
            allow_upgrades(upgrades, &mut declared, findings);
        }
        let name = name?;
        if declared.is_empty() {
            findings.warn(
                &node.at,
                format!(
                    "sandbox {name} has no policy that allows anything: all its traffic is denied"
                ),
            );
        }
        report_conflicts(&declared, findings);
        self.report_endpoints(&name, &secrets, &declared, findings);
        self.report_idle_secrets(&name, &secrets, &declared, findings);
        Some(SandboxRules {
            policy: Arc::new(Policy::new(declared.into_iter().map(|one| one.endpoint))),
            secrets: secrets.into_iter().map(|(name, _)| name).collect(),
            match_cgroup,
            policies,
            name,
            exemptions,
            unbound: unbound.unwrap_or_default(),
            existing: existing.unwrap_or_default(),
            install_ca: ca.is_some_and(|node| read_ca(node, findings)),
            limits: limits.unwrap_or_default(),
        })
    }

    /// The files, and what they declare.
    fn read_policies(
        &self,
        list: &Node,
        sandbox: &str,
        findings: &mut Findings,
    ) -> (Vec<PathBuf>, Vec<Declared>) {
        let mut files = Vec::new();
        let mut declared = Vec::new();
        for node in list.list(findings).unwrap_or_default() {
            let Some(path) = self.paths.resolve(node, findings) else {
                continue;
            };
            if let Some(root) = yaml::load(&path, Some(&node.at), findings) {
                declared.extend(openshell::read(&root, sandbox, findings));
            }
            files.push(path);
        }
        (files, declared)
    }

    fn read_secrets(&self, list: &Node, findings: &mut Findings) -> Vec<(SecretName, Position)> {
        let mut secrets: Vec<(SecretName, Position)> = Vec::new();
        for node in list.list(findings).unwrap_or_default() {
            let Some(name) = node.parse::<SecretName>(findings) else {
                continue;
            };
            if !self.known_secrets.contains(&name) {
                let mut message = String::from("no such secret under `secrets`");
                let known = self.known_secrets.iter().map(SecretName::as_str);
                if let Some(near) = yaml::nearest(name.as_str(), known) {
                    message.push_str(&format!("; did you mean `{near}`?"));
                }
                findings.fault(&node.at, message);
            } else if secrets.iter().any(|(other, _)| *other == name) {
                findings.fault(&node.at, "the same secret stands here already");
            } else {
                secrets.push((name, node.at.clone()));
            }
        }
        secrets
    }

    /// What becomes of each endpoint, as an itemised list.
    fn report_endpoints(
        &self,
        sandbox: &str,
        secrets: &[(SecretName, Position)],
        declared: &[Declared],
        findings: &mut Findings,
    ) {
        for Declared { at, endpoint } in declared {
            let mut message = format!(
                "sandbox {sandbox}, {}: {}",
                endpoint.rule, endpoint.handling
            );
            let rewritten: Vec<&str> = secrets
                .iter()
                .map(|(name, _)| name)
                .filter(|name| self.is_released_at(name, endpoint))
                .map(SecretName::as_str)
                .collect();
            if !rewritten.is_empty() {
                message.push_str(&format!(" + rewrite ({})", rewritten.join(", ")));
            }
            findings.inform(at, message);
        }
    }

    /// A secret that its sandbox can never use is a mistake that would otherwise show as a failed login.
    fn report_idle_secrets(
        &self,
        sandbox: &str,
        secrets: &[(SecretName, Position)],
        declared: &[Declared],
        findings: &mut Findings,
    ) {
        for (name, at) in secrets {
            let bound = self.secrets.contains_key(name);
            let released = declared
                .iter()
                .any(|one| self.is_released_at(name, &one.endpoint));
            if bound && !released {
                findings.warn(
                    at,
                    format!(
                        "{name} can never be put in: no host that it is bound to is intercepted in sandbox {sandbox} \
                         (is one denied, or tunnelled by `tls: skip`?)"
                    ),
                );
            }
        }
    }

    fn is_released_at(&self, secret: &SecretName, endpoint: &Endpoint) -> bool {
        let Target::Named(pattern) = &endpoint.target else {
            return false;
        };
        endpoint.handling == Handling::Intercept
            && self.secrets.get(secret).is_some_and(|bound| {
                bound
                    .bindings
                    .iter()
                    .any(|binding| binding.overlaps(pattern))
            })
    }
}

/// A name that is fit for paths, tables and cgroups.
fn read_name(node: &Node, findings: &mut Findings) -> Option<Box<str>> {
    let name = node.text(findings)?;
    let sane = (1..=63).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !sane {
        findings.fault(
            &node.at,
            "a sandbox's name is 1 to 63 of A-Z, a-z, 0-9, dot, underscore and hyphen, and begins with no dot",
        );
        return None;
    }
    Some(name.into())
}

fn read_match(node: &Node, findings: &mut Findings) -> Option<PathBuf> {
    let mut fields = node.fields(findings)?;
    let cgroup = fields.require("cgroup", findings);
    fields.finish(findings);
    let cgroup = cgroup?;
    let path = PathBuf::from(cgroup.text(findings)?);
    if !path.is_absolute() {
        findings.fault(
            &cgroup.at,
            "expected an absolute path to a cgroup2 directory",
        );
        return None;
    }
    Some(path)
}

/// `ca: { install: true }`.
fn read_ca(node: &Node, findings: &mut Findings) -> bool {
    let Some(mut fields) = node.fields(findings) else {
        return false;
    };
    let install = fields.require("install", findings);
    fields.finish(findings);
    install
        .and_then(|install| install.boolean(findings))
        .unwrap_or_default()
}

/// `intercept:` opens what a policy file wants to be tunnelled, named in the very words of that file.
fn override_tunnels(list: &Node, declared: &mut [Declared], findings: &mut Findings) {
    for node in list.list(findings).unwrap_or_default() {
        let Some(pattern) = node.parse::<HostPattern>(findings) else {
            continue;
        };
        if !open_tunnels(pattern, declared, findings) {
            findings.fault(&node.at, NO_TUNNEL);
        }
    }
}

/// Why a host cannot be opened by `intercept`.
pub(super) const NO_TUNNEL: &str =
    "no policy of the sandbox has an endpoint with this very host and `tls: skip`";

/// Whether there are any.
pub(super) fn open_tunnels(
    pattern: HostPattern,
    declared: &mut [Declared],
    findings: &mut Findings,
) -> bool {
    let target = Target::Named(pattern);
    let mut overridden = false;
    for Declared { at, endpoint } in declared.iter_mut() {
        if endpoint.target != target || endpoint.handling != Handling::Tunnel {
            continue;
        }
        let opened = Endpoint {
            handling: Handling::Intercept,
            ..Endpoint::clone(endpoint)
        };
        *endpoint = Arc::new(opened);
        overridden = true;
        findings.warn(
            at,
            format!(
                "`tls: skip` of {} is overridden by `intercept`: TLS is opened",
                endpoint.rule
            ),
        );
    }
    overridden
}

/// `unredacted:` lets secrets that a server sends back reach the sandbox, for hosts in the very words of a policy.
fn leave_unredacted(list: &Node, declared: &mut [Declared], findings: &mut Findings) {
    for node in list.list(findings).unwrap_or_default() {
        change_intercepted(node, declared, findings, |endpoint, at, findings| {
            endpoint.redact = false;
            findings.warn(
                at,
                format!(
                    "{} is `unredacted`: secrets that it sends back reach the sandbox",
                    endpoint.rule
                ),
            );
        });
    }
}

/// `upgrades:` lets connections switch to other protocols than WebSocket, for hosts in the very words of a policy.
fn allow_upgrades(list: &Node, declared: &mut [Declared], findings: &mut Findings) {
    for node in list.list(findings).unwrap_or_default() {
        let Some(mut fields) = node.fields(findings) else {
            continue;
        };
        let host = fields.require("host", findings);
        let protocols = fields.require("protocols", findings);
        fields.finish(findings);
        let (Some(host), Some(protocols)) = (host, protocols) else {
            continue;
        };
        let protocols: Vec<Box<str>> = protocols
            .filled_list(findings)
            .unwrap_or_default()
            .iter()
            .filter_map(|protocol| read_upgrade(protocol, findings))
            .collect();
        change_intercepted(host, declared, findings, |endpoint, _, _| {
            endpoint.upgrades.extend(protocols.iter().cloned());
        });
    }
}

/// A protocol as the `Upgrade` header spells it: `tcp`, `SPDY/3.1` (RFC 9110 §7.8).
fn read_upgrade(node: &Node, findings: &mut Findings) -> Option<Box<str>> {
    let protocol = node.text(findings)?;
    let sane = (1..=64).contains(&protocol.len())
        && protocol
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte));
    if !sane {
        findings.fault(
            &node.at,
            "expected a protocol as the Upgrade header spells it, such as tcp or SPDY/3.1",
        );
        return None;
    }
    // One is carried as such anyway, the other is taken out of what a client offers.
    if ["websocket", "h2c"]
        .iter()
        .any(|known| protocol.eq_ignore_ascii_case(known))
    {
        findings.fault(
            &node.at,
            "websocket needs no mention here, and h2c cannot be allowed",
        );
        return None;
    }
    Some(protocol.into())
}

/// Changes the intercepted endpoints whose host is `node`, in the very words of a policy.
fn change_intercepted(
    node: &Node,
    declared: &mut [Declared],
    findings: &mut Findings,
    change: impl Fn(&mut Endpoint, &Position, &mut Findings),
) {
    let Some(pattern) = node.parse::<HostPattern>(findings) else {
        return;
    };
    let target = Target::Named(pattern);
    let mut found = false;
    for Declared { at, endpoint } in declared.iter_mut() {
        if endpoint.target == target && endpoint.handling == Handling::Intercept {
            change(Arc::make_mut(endpoint), at, findings);
            found = true;
        }
    }
    if !found {
        findings.fault(
            &node.at,
            "no policy of the sandbox has an endpoint with this very host that is intercepted",
        );
    }
}

/// Endpoints for the same hosts and port that differ: only one of them decides.
pub(super) fn report_conflicts(declared: &[Declared], findings: &mut Findings) {
    let policy = Policy::new(declared.iter().map(|one| Arc::clone(&one.endpoint)));
    for Declared { at, endpoint } in declared {
        if let Some(winner) = policy.deciding(endpoint)
            && winner.differs_from(endpoint)
        {
            findings.warn(
                at,
                format!(
                    "{} is declared more than once; {} decides ({}), this endpoint has no effect",
                    endpoint.rule, winner.rule, winner.handling
                ),
            );
        }
    }
}

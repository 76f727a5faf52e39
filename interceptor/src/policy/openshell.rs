//! Policy files as OpenShell (`version: 1`) and NemoClaw (`preset:`) write them.
//!
//! Every field that either of them knows is accepted. What is not enforced is reported where it stands; an unknown field
//! is a fault, as it is there.

mod endpoint;
mod requests;
mod unenforced;

use std::sync::Arc;

use self::unenforced::Shape;
use super::{Binaries, Binary, Endpoint};
use crate::yaml::{Entry, Findings, Node, Position};

/// An endpoint and the place that declares it.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) at: Position,
    pub(crate) endpoint: Arc<Endpoint>,
}

/// Stands in newer presets for the sandbox's name.
const SANDBOX_NAME: &str = "{sandboxName}";

/// Sections about other things than the network.
const FOREIGN_SECTIONS: &[(&str, Shape, &str)] = &[
    (
        "filesystem_policy",
        Shape::Fields(&[
            ("include_workdir", Shape::Boolean),
            ("read_only", Shape::Texts),
            ("read_write", Shape::Texts),
        ]),
        "files are the sandbox runtime's business, interceptor handles the network only",
    ),
    (
        "landlock",
        Shape::Fields(&[("compatibility", Shape::Text)]),
        "files are the sandbox runtime's business, interceptor handles the network only",
    ),
    (
        "process",
        Shape::Fields(&[("run_as_user", Shape::Text), ("run_as_group", Shape::Text)]),
        "users are the sandbox runtime's business, interceptor handles the network only",
    ),
    (
        "network_middlewares",
        Shape::Any,
        "requests reach the server without what the middlewares would remove or refuse",
    ),
    (
        "inference",
        Shape::Any,
        "inference is not routed: only hosts under `network_policies` are reachable",
    ),
];

/// Reads a policy file for one sandbox.
pub(crate) fn read(root: &Node, sandbox: &str, findings: &mut Findings) -> Vec<Declared> {
    let root = root.filled(SANDBOX_NAME, sandbox);
    let mut declared = Vec::new();
    let Some(mut fields) = root.fields(findings) else {
        return declared;
    };
    let version = fields.take("version");
    let preset = fields.take("preset");
    let policies = fields.take_entry("network_policies");
    for (key, shape, consequence) in FOREIGN_SECTIONS {
        if let Some(entry) = fields.take_entry(key) {
            shape.check(&entry.value, findings);
            findings.warn(
                &entry.key_at,
                format!("not enforced: `{key}`; {consequence}"),
            );
        }
    }
    fields.finish(findings);

    match (version, preset) {
        (None, None) => findings.fault(
            &root.at,
            "neither `version: 1` (OpenShell) nor `preset` (NemoClaw): not a policy file",
        ),
        (version, preset) => {
            if let Some(version) = version {
                version.integer(1..=1, findings);
            }
            if let Some(preset) = preset {
                Shape::Fields(&[("name", Shape::Text), ("description", Shape::Text)])
                    .check(preset, findings);
            }
        }
    }
    let Some(policies) = policies else {
        findings.warn(
            &root.at,
            "there are no `network_policies`: the file allows nothing",
        );
        return declared;
    };
    for entry in policies.value.entries(findings).unwrap_or_default() {
        read_rule(&entry.key, &entry.value, &mut declared, findings);
    }
    let open_private = declared
        .iter()
        .any(|one| one.endpoint.is_exact_without_addresses());
    if open_private {
        findings.inform(
            &policies.key_at,
            "private addresses are refused unless `allowed_ips` names them, for exact hosts too (OpenShell allows \
             those)",
        );
    }
    declared
}

/// An entry of `network_policies`.
fn read_rule(key: &str, rule: &Node, declared: &mut Vec<Declared>, findings: &mut Findings) {
    let Some(mut fields) = rule.fields(findings) else {
        return;
    };
    let name = fields.take("name");
    let endpoints = fields.take("endpoints");
    let binaries = fields.take_entry("binaries");
    fields.finish(findings);

    if let Some(name) = name {
        name.text(findings);
    }
    let binaries = match binaries {
        None => Some(Binaries::Any),
        Some(entry) => read_binaries(entry, findings),
    };
    let Some(binaries) = binaries else {
        return;
    };
    let endpoints = endpoints.and_then(|endpoints| endpoints.list(findings));
    for endpoint in endpoints.unwrap_or_default() {
        endpoint::read(key, &binaries, endpoint, declared, findings);
    }
}

/// `binaries: [{ path: /usr/bin/node }]`. `None` after a fault.
fn read_binaries(entry: &Entry, findings: &mut Findings) -> Option<Binaries> {
    let mut binaries = Vec::new();
    let mut complete = true;
    let items = entry.value.list(findings)?;
    for item in items {
        let Some(mut fields) = item.fields(findings) else {
            complete = false;
            continue;
        };
        let path = fields.require("path", findings);
        if let Some(harness) = fields.take("harness") {
            harness.boolean(findings);
        }
        fields.finish(findings);
        match path.and_then(|path| path.parse::<Binary>(findings)) {
            Some(binary) => binaries.push(binary),
            None => complete = false,
        }
    }
    if items.is_empty() {
        findings.warn(
            &entry.key_at,
            "`binaries` is empty: no program may use these endpoints",
        );
    }
    complete.then_some(Binaries::Listed(binaries))
}

#[cfg(test)]
mod tests;

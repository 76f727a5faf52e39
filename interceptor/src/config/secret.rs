//! `secrets:`. No fault in this section quotes the file: what stands in the wrong place may be a secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Paths, binding, profile, snapshot::BoundTo};
use crate::{
    rewrite::reflection::SHORTEST,
    secrets::{
        SecretName,
        source::{Loaded, Source},
    },
    yaml::{Findings, Node},
};

/// Every name that is declared, also one whose secret is at fault: naming it elsewhere is no fault of its own.
pub(super) type Names = BTreeSet<SecretName>;

pub(super) type Secrets = BTreeMap<SecretName, Arc<BoundTo>>;

pub(super) fn read(node: &Node, paths: &Paths, findings: &mut Findings) -> (Secrets, Names) {
    let mut secrets = Secrets::new();
    let mut names = Names::new();
    for entry in node.entries(findings).unwrap_or_default() {
        let name = match entry.key.parse::<SecretName>() {
            Ok(name) => Some(name),
            Err(error) => {
                findings.fault(&entry.key_at, error.to_string());
                None
            }
        };
        let bound = read_one(&entry.value, paths, findings);
        if let Some(name) = name {
            names.insert(name.clone());
            if let Some(bound) = bound {
                secrets.insert(name, Arc::new(bound));
            }
        }
    }
    (secrets, names)
}

fn read_one(node: &Node, paths: &Paths, findings: &mut Findings) -> Option<BoundTo> {
    let mut fields = node.fields(findings)?.unquoted();
    let from = fields.require("from", findings);
    let profile = fields.take("profile");
    let hosts = fields.take_entry("hosts");
    let list = fields.take("bindings");
    fields.finish(findings);

    let mut bindings = Vec::new();
    match (profile, hosts) {
        (Some(profile), hosts) => bindings.extend(profile::read(profile, hosts, findings)),
        (None, Some(hosts)) => findings.fault(
            &hosts.key_at,
            "`hosts` belongs to a profile: add `profile: generic`, or write `bindings` with hosts of their own",
        ),
        (None, None) => {}
    }
    if let Some(list) = list {
        bindings.extend(binding::read(list, findings));
    }
    if profile.is_none() && list.is_none() {
        findings.fault(
            &node.at,
            "the secret is bound to nothing and could never be used: add `profile` or `bindings`",
        );
    }
    let from = from?;
    let Loaded {
        secret,
        exposed,
        json_safe,
    } = match read_source(from, paths, findings)?.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            findings.fault(&from.at, crate::error::chain(&error));
            return None;
        }
    };
    if exposed {
        findings.warn(
            &from.at,
            "the secret's file can be read by its group or by everybody: chmod 600",
        );
    }
    if secret.length() < SHORTEST {
        findings.warn(
            &from.at,
            format!(
                "the secret has fewer than {SHORTEST} bytes: where a server sends it back, the sandbox will see it"
            ),
        );
    }
    if !json_safe {
        findings.warn(
            &from.at,
            "the secret is no plain JSON text: check that its file holds the secret and nothing else",
        );
    }
    Some(BoundTo { secret, bindings })
}

fn read_source(node: &Node, paths: &Paths, findings: &mut Findings) -> Option<Source> {
    let mut fields = node.fields(findings)?.unquoted();
    let file = fields.take("file");
    let variable = fields.take("env");
    fields.finish(findings);
    match (file, variable) {
        (Some(file), None) => paths.resolve(file, findings).map(Source::File),
        (None, Some(variable)) => {
            let name = variable.text(findings)?;
            let sane = !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !sane {
                findings.fault(&variable.at, "not the name of an environment variable");
                return None;
            }
            Some(Source::Variable(name.into()))
        }
        (None, None) => {
            findings.fault(&node.at, "the source is missing: add `file` or `env`");
            None
        }
        (Some(_), Some(variable)) => {
            findings.fault(&variable.at, "`file` and `env` exclude each other");
            None
        }
    }
}

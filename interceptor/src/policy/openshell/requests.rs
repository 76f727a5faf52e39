//! What an endpoint says of single requests: `access`, `rules`, `deny_rules`.

use super::unenforced::ALLOW_RULE;
use crate::{
    policy::{Access, Enforcement, Handling, Protocol},
    yaml::{Entry, Findings, Node, Position},
};

/// What an endpoint says of single requests.
pub(super) struct Requests<'a> {
    pub(super) access: Option<&'a Entry>,
    pub(super) rules: Option<&'a Entry>,
    pub(super) has_deny_rules: bool,
}

impl Requests<'_> {
    /// Combinations that OpenShell refuses.
    pub(super) fn check(&self, at: &Position, protocol: Option<Protocol>, findings: &mut Findings) {
        let Self {
            access,
            rules,
            has_deny_rules,
        } = *self;
        if let Some(rules) = rules {
            for rule in rules.value.filled_list(findings).unwrap_or_default() {
                ALLOW_RULE.check(rule, findings);
            }
        }
        if let (Some(_), Some(rules)) = (access, rules) {
            findings.fault(&rules.key_at, "`access` and `rules` exclude each other");
        }
        match protocol {
            Some(Protocol::Tcp) if access.is_some() || rules.is_some() || has_deny_rules => {
                findings.fault(
                    at,
                    "protocol tcp is not read, so it takes no `access`, `rules` or `deny_rules`",
                );
            }
            Some(Protocol::Rest | Protocol::WebSocket) if access.is_none() && rules.is_none() => {
                findings.warn(
                    at,
                    "neither `access` nor `rules`: every request is allowed (OpenShell refuses such an endpoint)",
                );
            }
            None if has_deny_rules => {
                findings.fault(at, "`deny_rules` need a `protocol`");
            }
            _ => {}
        }
    }

    pub(super) fn report(
        &self,
        access: Access,
        enforcement: Enforcement,
        handling: Handling,
        findings: &mut Findings,
    ) {
        if let Some(rules) = self.rules {
            let list = rules.value.list(findings).unwrap_or_default();
            if !list.iter().any(allows_everything) {
                findings.warn(
                    &rules.key_at,
                    "not enforced yet: `rules`; every method and path of the host is allowed",
                );
            }
        }
        let Some(entry) = self.access else {
            return;
        };
        if access == Access::Full {
            return;
        }
        match (handling, enforcement) {
            (Handling::Tunnel, _) => findings.warn(
                &entry.key_at,
                "not enforced: `access` in a tunnel; what is not read cannot be restricted",
            ),
            (Handling::Intercept, Enforcement::Audit) => findings.warn(
                &entry.key_at,
                "`enforcement` is audit, which is the default: what `access` forbids is logged and let through",
            ),
            (Handling::Intercept, Enforcement::Enforce)
            | (Handling::Tcp | Handling::Unsupported(_), _) => {}
        }
    }
}

/// A rule that leaves nothing out.
fn allows_everything(rule: &Node) -> bool {
    let unread = &mut Findings::default();
    let Some(mut allow) = rule
        .fields(unread)
        .and_then(|mut fields| fields.take("allow"))
        .and_then(|allow| allow.fields(unread))
    else {
        return false;
    };
    let mut text = |key| allow.take(key).and_then(|node| node.text(unread));
    let everything = text("method") == Some("*")
        && text("path").is_some_and(|path| matches!(path, "/**" | "**"));
    everything && allow.rest().is_empty()
}

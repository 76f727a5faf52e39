//! What an endpoint says of single requests: `path`, `access`, `rules`, `deny_rules`.

use super::unenforced::{DENY_RULE, MATCHERS, Shape};
use crate::{
    policy::{
        Access, Allow, Enforcement, Handling, Protocol, Requests, Rule,
        glob::{PathGlob, TextGlob},
    },
    yaml::{Entry, Findings, Node, Position},
};

/// The fields as they are written.
pub(super) struct Written<'a> {
    pub(super) path: Option<&'a Node>,
    pub(super) access: Option<&'a Entry>,
    pub(super) rules: Option<&'a Entry>,
    pub(super) deny_rules: Option<&'a Entry>,
    pub(super) allow_encoded_slash: Option<&'a Node>,
}

const ACCESS: &[(&str, Access)] = &[
    ("full", Access::Full),
    ("read-only", Access::ReadOnly),
    ("read-write", Access::ReadWrite),
];

/// Whether a rule says what is allowed or what is not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Allow,
    Deny,
}

impl Written<'_> {
    /// `None` after a fault.
    pub(super) fn read(
        &self,
        at: &Position,
        protocol: Option<Protocol>,
        findings: &mut Findings,
    ) -> Option<Requests> {
        self.check(at, protocol, findings);
        let scope = match self.path {
            None => None,
            Some(path) => Some(read_path(path, findings)?),
        };
        let allow = match (self.access, self.rules) {
            (Some(access), _) => Allow::Access(access.value.choice(ACCESS, findings)?),
            (None, Some(rules)) => Allow::Rules(read_allow_rules(&rules.value, findings)?),
            (None, None) => Allow::Access(Access::Full),
        };
        let deny = match self.deny_rules {
            None => Vec::new(),
            Some(rules) => read_deny_rules(&rules.value, findings)?,
        };
        let encoded_slash = match self.allow_encoded_slash {
            None => false,
            Some(node) => node.boolean(findings)?,
        };
        Some(Requests {
            scope,
            allow,
            deny,
            encoded_slash,
        })
    }

    /// Combinations that OpenShell refuses.
    fn check(&self, at: &Position, protocol: Option<Protocol>, findings: &mut Findings) {
        let Self {
            path: _,
            access,
            rules,
            deny_rules,
            allow_encoded_slash: _,
        } = *self;
        if let (Some(_), Some(rules)) = (access, rules) {
            findings.fault(&rules.key_at, "`access` and `rules` exclude each other");
        }
        match protocol {
            Some(Protocol::Tcp) if access.is_some() || rules.is_some() || deny_rules.is_some() => {
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
            None if deny_rules.is_some() => {
                findings.fault(at, "`deny_rules` need a `protocol`");
            }
            _ => {}
        }
    }

    pub(super) fn report(
        &self,
        requests: &Requests,
        enforcement: Enforcement,
        handling: Handling,
        findings: &mut Findings,
    ) {
        let entries = [self.access, self.rules, self.deny_rules];
        let Some(entry) = entries.into_iter().flatten().next() else {
            return;
        };
        if requests.allow_everything() {
            return;
        }
        match (handling, enforcement) {
            (Handling::Tunnel, _) => findings.warn(
                &entry.key_at,
                "not enforced: requests in a tunnel; what is not read cannot be restricted",
            ),
            (Handling::Intercept, Enforcement::Audit) => findings.warn(
                &entry.key_at,
                "`enforcement` is audit, which is the default: a request that is not allowed is logged and let through",
            ),
            (Handling::Intercept, Enforcement::Enforce)
            | (Handling::Tcp | Handling::Unsupported(_), _) => {}
        }
    }
}

/// `rules`: one of them is enough.
fn read_allow_rules(list: &Node, findings: &mut Findings) -> Option<Vec<Rule>> {
    let items = list.filled_list(findings)?;
    let mut rules = Vec::new();
    let mut complete = true;
    for item in items {
        let Some(mut fields) = item.fields(findings) else {
            complete = false;
            continue;
        };
        let allow = fields.require("allow", findings);
        fields.finish(findings);
        match allow.map(|allow| read_rule(allow, Side::Allow, findings)) {
            Some(Ok(rule)) => rules.extend(rule),
            Some(Err(Faulty)) | None => complete = false,
        }
    }
    complete.then_some(rules)
}

/// `deny_rules`: one of them is enough.
fn read_deny_rules(list: &Node, findings: &mut Findings) -> Option<Vec<Rule>> {
    DENY_RULES.check(list, findings);
    let mut rules = Vec::new();
    for item in list.list(findings)? {
        rules.extend(read_rule(item, Side::Deny, findings).ok()?);
    }
    Some(rules)
}

const DENY_RULES: Shape = Shape::List(&DENY_RULE);

/// A fault was reported.
struct Faulty;

/// `None`: a rule that can match nothing here. What cannot be told of a request allows nothing and denies everything.
fn read_rule(node: &Node, side: Side, findings: &mut Findings) -> Result<Option<Rule>, Faulty> {
    Shape::Fields(MATCHERS).check(node, findings);
    let mut fields = node.fields(findings).ok_or(Faulty)?;
    let method = fields.take("method");
    let path = fields.take("path");
    let query = fields.take("query");
    let foreign = fields.rest().into_iter().next();

    let mut rule = Rule {
        method: None,
        path: "**".parse().ok().ok_or(Faulty)?,
        query: Vec::new(),
    };
    if let Some(method) = method {
        let text = method.text(findings).ok_or(Faulty)?;
        rule.method = (text != "*").then(|| text.to_ascii_uppercase().into());
    }
    if let Some(path) = path {
        rule.path = read_path(path, findings).ok_or(Faulty)?;
    }
    if let Some(query) = query {
        rule.query = read_query(query, findings).ok_or(Faulty)?;
    }
    let lacking = match (foreign, method, path) {
        (Some(entry), ..) => Some((
            &entry.key_at,
            format!("`{}` cannot be told of a request here", entry.key),
        )),
        (None, Some(_), Some(_)) => None,
        (None, None, _) => Some((&node.at, "the rule names no `method`".to_owned())),
        (None, Some(_), None) => Some((&node.at, "the rule names no `path`".to_owned())),
    };
    match (lacking, side) {
        (None, _) => Ok(Some(rule)),
        (Some((at, what)), Side::Allow) => {
            findings.warn(at, format!("{what}: the rule allows nothing"));
            Ok(None)
        }
        (Some((at, what)), Side::Deny) => {
            findings.warn(
                at,
                format!("{what}: the rule denies whatever the rest of it matches"),
            );
            Ok(Some(rule))
        }
    }
}

/// A glob for paths, which all begin with a slash.
fn read_path(node: &Node, findings: &mut Findings) -> Option<PathGlob> {
    let text = node.text(findings)?;
    let begins = ["/", "**", "{", "\\"].iter();
    if !begins.into_iter().any(|begin| text.starts_with(begin)) {
        findings.warn(
            &node.at,
            "no path matches this: begin it with a slash, or write `**` for every path",
        );
    }
    node.parse(findings)
}

/// `query: { name: glob }`, `{ name: { glob: … } }` or `{ name: { any: [glob, …] } }`.
fn read_query(node: &Node, findings: &mut Findings) -> Option<Vec<(Box<str>, Vec<TextGlob>)>> {
    let mut query = Vec::new();
    for Entry { key, value, .. } in node.entries(findings)? {
        let globs = if value.is_mapping() {
            let mut fields = value.fields(findings)?;
            let (glob, any) = (fields.take("glob"), fields.take("any"));
            fields.finish(findings);
            match (glob, any) {
                (Some(glob), None) => vec![glob.parse(findings)?],
                (None, Some(any)) => {
                    let items = any.filled_list(findings)?;
                    let globs = items.iter().map(|item| item.parse(findings));
                    globs.collect::<Option<_>>()?
                }
                _ => {
                    findings.fault(&value.at, "expected either `glob` or `any`");
                    return None;
                }
            }
        } else {
            vec![value.parse(findings)?]
        };
        query.push((key.clone(), globs));
    }
    Some(query)
}

//! Fields that are checked for their shape, accepted, and not acted upon.

use crate::yaml::{Fields, Findings, Node};

/// What a value has to look like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Any,
    Boolean,
    /// A number of things or bytes.
    Count,
    Text,
    Texts,
    List(&'static Shape),
    /// Keys of the user's choice.
    Map(&'static Shape),
    /// Known keys, none required.
    Fields(&'static [(&'static str, Shape)]),
}

impl Shape {
    pub(super) fn check(self, node: &Node, findings: &mut Findings) {
        match self {
            Self::Any => {}
            Self::Boolean => drop(node.boolean(findings)),
            Self::Count => drop(node.integer(0..=u64::from(u32::MAX), findings)),
            Self::Text => drop(node.text(findings)),
            Self::Texts => Self::List(&Self::Text).check(node, findings),
            Self::List(shape) => {
                for item in node.list(findings).unwrap_or_default() {
                    shape.check(item, findings);
                }
            }
            Self::Map(shape) => {
                for entry in node.entries(findings).unwrap_or_default() {
                    shape.check(&entry.value, findings);
                }
            }
            Self::Fields(known) => {
                let Some(mut fields) = node.fields(findings) else {
                    return;
                };
                for (key, shape) in known {
                    if let Some(value) = fields.take(key) {
                        shape.check(value, findings);
                    }
                }
                fields.finish(findings);
            }
        }
    }
}

/// What ignoring a field does to containment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// More is allowed than the file says.
    Laxer,
    /// The same or less is allowed.
    Harmless,
}

/// An endpoint's fields without effect here: key, shape, effect, and the consequence for an operator.
const FIELDS: &[(&str, Shape, Effect, &str)] = &[
    (
        "persisted_queries",
        Shape::Text,
        Effect::Laxer,
        "not enforced yet: `persisted_queries`; every query is allowed",
    ),
    (
        "graphql_persisted_queries",
        Shape::Map(&Shape::Fields(&[
            ("operation_type", Shape::Text),
            ("operation_name", Shape::Text),
            ("fields", Shape::Texts),
        ])),
        Effect::Laxer,
        "not enforced yet: `graphql_persisted_queries`; every query is allowed",
    ),
    (
        "graphql_max_body_bytes",
        Shape::Count,
        Effect::Harmless,
        "without effect: `graphql_max_body_bytes`; bodies are streamed, not held in memory",
    ),
    (
        "mcp",
        Shape::Fields(&[
            ("max_body_bytes", Shape::Count),
            ("strict_tool_names", Shape::Boolean),
            ("allow_all_known_mcp_methods", Shape::Boolean),
        ]),
        Effect::Harmless,
        "without effect: `mcp`; protocol mcp is not supported and its endpoints are denied",
    ),
    (
        "json_rpc",
        Shape::Fields(&[("max_body_bytes", Shape::Count)]),
        Effect::Harmless,
        "without effect: `json_rpc`; protocol json-rpc is not supported and its endpoints are denied",
    ),
    (
        "websocket_credential_rewrite",
        Shape::Boolean,
        Effect::Harmless,
        "without effect: `websocket_credential_rewrite`; bindings of the secrets decide where they are put in",
    ),
    (
        "request_body_credential_rewrite",
        Shape::Boolean,
        Effect::Harmless,
        "without effect: `request_body_credential_rewrite`; a placeholder in a body stays as it is",
    ),
    (
        "credential_binding",
        Shape::Fields(&[("provider", Shape::Text)]),
        Effect::Harmless,
        "without effect: `credential_binding`; `secrets` and `sandboxes` of interceptor.yaml decide which secret goes where",
    ),
    (
        "allow_uninspected_credentials",
        Shape::Boolean,
        Effect::Harmless,
        "without effect: `allow_uninspected_credentials`; no secret is ever put into what is not read",
    ),
    (
        "credential_signing",
        Shape::Text,
        Effect::Harmless,
        "without effect: `credential_signing`; requests are not signed",
    ),
    (
        "signing_service",
        Shape::Text,
        Effect::Harmless,
        "without effect: `signing_service`; requests are not signed",
    ),
    (
        "signing_region",
        Shape::Text,
        Effect::Harmless,
        "without effect: `signing_region`; requests are not signed",
    ),
];

/// `deny_rules[]`.
pub(super) const DENY_RULE: Shape = Shape::Fields(MATCHERS);

/// What a rule matches a request by.
pub(super) const MATCHERS: &[(&str, Shape)] = &[
    ("method", Shape::Text),
    ("path", Shape::Text),
    ("command", Shape::Text),
    ("query", Shape::Map(&Shape::Any)),
    ("operation_type", Shape::Text),
    ("operation_name", Shape::Text),
    ("fields", Shape::Texts),
    ("tool", Shape::Any),
    ("params", Shape::Map(&Shape::Any)),
];

/// Takes an endpoint's fields without effect and reports each of them where it stands.
pub(super) fn report(fields: &mut Fields<'_>, findings: &mut Findings) {
    for (key, shape, effect, consequence) in FIELDS {
        let Some(entry) = fields.take_entry(key) else {
            continue;
        };
        shape.check(&entry.value, findings);
        match effect {
            Effect::Laxer => findings.warn(&entry.key_at, *consequence),
            Effect::Harmless => findings.inform(&entry.key_at, *consequence),
        }
    }
}

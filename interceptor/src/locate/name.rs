//! Identities of containers, pods and units, as types.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// 64 hexadecimal digits, which every runtime but a bare one gives a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ContainerId(Box<str>);

impl ContainerId {
    const LENGTH: usize = 64;

    pub(super) fn parse(text: &str) -> Option<Self> {
        (text.len() == Self::LENGTH && text.bytes().all(is_digit)).then(|| Self(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// As much of an ID as runtimes print.
pub(super) fn short(id: &str) -> &str {
    id.get(..12)
        .filter(|_| ContainerId::parse(id).is_some())
        .unwrap_or(id)
}

/// A UUID in lower case, or of a static pod the 32 digits of a hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodUid(Box<str>);

impl PodUid {
    /// With underscores for hyphens as well, as systemd's driver writes it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uid = text.to_ascii_lowercase().replace('_', "-");
        let shape: Vec<_> = uid.split('-').map(str::len).collect();
        let is_one = matches!(*shape, [8, 4, 4, 4, 12] | [32])
            && uid.bytes().all(|byte| byte == b'-' || is_digit(byte));
        is_one.then(|| Self(uid.into()))
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// `namespace/name`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodName {
    pub(super) namespace: Box<str>,
    pub(super) name: Box<str>,
}

impl PodName {
    /// `None`: no name that Kubernetes would give (RFC 1123, a subdomain each).
    pub(super) fn new(namespace: &str, name: &str) -> Option<Self> {
        let is_name = |text: &str| {
            (1..=253).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        };
        (is_name(namespace) && is_name(name)).then(|| Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name } = self;
        write!(f, "{namespace}/{name}")
    }
}

/// A pod as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum PodQuery {
    Uid(PodUid),
    Name(PodName),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a pod as NAMESPACE/NAME, or its UID")]
pub(crate) struct PodQueryError;

impl FromStr for PodQuery {
    type Err = PodQueryError;

    fn from_str(text: &str) -> Result<Self, PodQueryError> {
        if let Some(uid) = PodUid::parse(text) {
            return Ok(Self::Uid(uid));
        }
        let (namespace, name) = text.split_once('/').ok_or(PodQueryError)?;
        PodName::new(namespace, name)
            .map(Self::Name)
            .ok_or(PodQueryError)
    }
}

impl fmt::Display for PodQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => uid.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl TryFrom<String> for PodQuery {
    type Error = PodQueryError;

    fn try_from(text: String) -> Result<Self, PodQueryError> {
        text.parse()
    }
}

impl From<PodQuery> for String {
    fn from(query: PodQuery) -> Self {
        query.to_string()
    }
}

/// A unit of systemd that has processes. Without a type it is a service, as for systemctl(1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Unit(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a service, scope or slice, such as agent.service or agents.slice")]
pub(crate) struct UnitError;

impl Unit {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Unit {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        // systemd.unit(5): letters, digits and these, 255 at most.
        let is_name = (1..=247).contains(&text.len())
            && !text.starts_with('.')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte));
        if !is_name {
            return Err(UnitError);
        }
        let kinds = [".service", ".scope", ".slice"];
        if kinds.iter().any(|kind| text.ends_with(kind)) {
            return Ok(Self(text.into()));
        }
        let others = [".socket", ".mount", ".timer", ".target", ".path", ".device"];
        if others.iter().any(|kind| text.ends_with(kind)) {
            return Err(UnitError);
        }
        Ok(Self(format!("{text}.service").into()))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Unit {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_named_by_uid_or_by_namespace_and_name() {
        let uid = "0b3f6a52-8f5e-4c1e-9d5a-6f6a1c0a7e11";
        for text in [uid, &uid.to_uppercase(), &uid.replace('-', "_")] {
            assert_eq!(text.parse::<PodQuery>().unwrap().to_string(), uid, "{text}");
        }
        let hash = "0123456789abcdef0123456789abcdef";
        assert_eq!(hash.parse::<PodQuery>().unwrap().to_string(), hash);
        let named = "team-a/agent-0.x".parse::<PodQuery>().unwrap();
        assert_eq!(named.to_string(), "team-a/agent-0.x");
        for text in [
            "",
            "agent",
            "/agent",
            "team/",
            "team/a/b",
            "team/../x_y",
            "Team/agent",
        ] {
            assert_eq!(text.parse::<PodQuery>(), Err(PodQueryError), "{text}");
        }
    }

    #[test]
    fn a_unit_without_a_type_is_a_service_and_types_without_processes_are_refused() {
        for (text, unit) in [
            ("agent", "agent.service"),
            ("agent@7", "agent@7.service"),
            ("org.example.agent", "org.example.agent.service"),
            ("agents.slice", "agents.slice"),
            ("run-r1.scope", "run-r1.scope"),
        ] {
            assert_eq!(text.parse::<Unit>().unwrap().as_str(), unit);
        }
        for text in ["", "agent.socket", "a/b.service", "../x.slice", "a b"] {
            assert_eq!(text.parse::<Unit>(), Err(UnitError), "{text}");
        }
    }
}

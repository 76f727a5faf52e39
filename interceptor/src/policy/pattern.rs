//! Host patterns as policies and bindings write them.

use std::{fmt, str::FromStr};

use crate::address::{Host, HostError};

/// An exact name, or a name with a wildcard in its first label:
/// `*.x.y` is exactly one label before `x.y`, `pre*suf.x.y` one label of that shape, `**.x.y` one or more labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostPattern {
    Exact(Host),
    Label {
        prefix: Box<str>,
        suffix: Box<str>,
        parent: Host,
    },
    Labels {
        parent: Host,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    #[error("not a host name")]
    Host(#[from] HostError),
    #[error("a wildcard alone would match every host: write the domain that it stands in")]
    Bare,
    #[error("a wildcard directly under a top-level domain matches hosts of everybody")]
    TopLevel,
    #[error("a wildcard may stand in the first label only, as `*`, `**` or once inside the label")]
    Misplaced,
}

impl HostPattern {
    pub(crate) fn matches(&self, host: &Host) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Label {
                prefix,
                suffix,
                parent,
            } => labels_before(host, parent).is_some_and(|label| {
                !label.contains('.')
                    && label
                        .strip_prefix(&**prefix)
                        .is_some_and(|rest| rest.ends_with(&**suffix))
            }),
            Self::Labels { parent } => labels_before(host, parent).is_some(),
        }
    }

    /// Some host may match both patterns. Errs towards yes for two shapes of one label.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(host), pattern) | (pattern, Self::Exact(host)) => pattern.matches(host),
            (Self::Label { parent, .. }, Self::Label { parent: other, .. }) => parent == other,
            (Self::Label { parent, .. }, Self::Labels { parent: above })
            | (Self::Labels { parent: above }, Self::Label { parent, .. }) => {
                parent == above || labels_before(parent, above).is_some()
            }
            (Self::Labels { parent }, Self::Labels { parent: other }) => {
                parent == other
                    || labels_before(parent, other).is_some()
                    || labels_before(other, parent).is_some()
            }
        }
    }

    /// Compares patterns that match the same host: exact, then the longer suffix, then the fewer labels left open, then
    /// the more of the label that is written out.
    pub(super) fn specificity(&self) -> impl Ord + use<> {
        match self {
            Self::Exact(host) => (true, host.as_str().len(), true, 0),
            Self::Label {
                prefix,
                suffix,
                parent,
            } => (
                false,
                parent.as_str().len(),
                true,
                prefix.len() + suffix.len(),
            ),
            Self::Labels { parent } => (false, parent.as_str().len(), false, 0),
        }
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if !text.contains('*') {
            return Ok(Self::Exact(text.parse()?));
        }
        let Some((label, parent)) = text.split_once('.') else {
            return Err(PatternError::Bare);
        };
        if parent.contains('*') {
            return Err(PatternError::Misplaced);
        }
        let parent: Host = parent.parse()?;
        if !parent.as_str().contains('.') {
            return Err(PatternError::TopLevel);
        }
        if label == "**" {
            return Ok(Self::Labels { parent });
        }
        let Some((prefix, suffix)) = label.split_once('*') else {
            return Err(PatternError::Misplaced);
        };
        if suffix.contains('*') {
            return Err(PatternError::Misplaced);
        }
        // What is written of the label has to be what a label may hold.
        for part in [prefix, suffix] {
            if !part.is_empty() {
                format!("{part}.{parent}").parse::<Host>()?;
            }
        }
        Ok(Self::Label {
            prefix: prefix.to_ascii_lowercase().into(),
            suffix: suffix.to_ascii_lowercase().into(),
            parent,
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Label {
                prefix,
                suffix,
                parent,
            } => write!(f, "{prefix}*{suffix}.{parent}"),
            Self::Labels { parent } => write!(f, "**.{parent}"),
        }
    }
}

/// For `a.b.x.y` and `x.y`: `a.b`. Never empty.
fn labels_before<'a>(host: &'a Host, parent: &Host) -> Option<&'a str> {
    host.as_str()
        .strip_suffix(parent.as_str())?
        .strip_suffix('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_match_as_written() {
        for (text, host, expected) in [
            ("Gateway.Discord.GG", "gateway.discord.gg", true),
            ("gateway.discord.gg", "x.gateway.discord.gg", false),
            ("*.discord.gg", "gateway.discord.gg", true),
            ("*.discord.gg", "GATEWAY.discord.gg", true),
            ("*.discord.gg", "a.b.discord.gg", false),
            ("*.discord.gg", "discord.gg", false),
            ("*.discord.gg", "evildiscord.gg", false),
            ("**.discord.gg", "a.b.discord.gg", true),
            ("**.discord.gg", "a.discord.gg", true),
            ("**.discord.gg", "discord.gg", false),
            ("**.discord.gg", "evildiscord.gg", false),
            ("*-AI.example.com", "us-ai.example.com", true),
            ("*-ai.example.com", "a.us-ai.example.com", false),
            ("eu-*-ai.example.com", "eu-1-ai.example.com", true),
            ("eu-*-ai.example.com", "eu-ai.example.com", false),
        ] {
            let host: Host = host.parse().unwrap();
            assert_eq!(pattern(text).matches(&host), expected, "{text} {host}");
        }
    }

    #[test]
    fn wildcards_that_match_too_much_are_refused() {
        for (text, expected) in [
            ("*", PatternError::Bare),
            ("**", PatternError::Bare),
            ("*.com", PatternError::TopLevel),
            ("**.gg", PatternError::TopLevel),
            ("a.*.example.com", PatternError::Misplaced),
            ("*.*.example.com", PatternError::Misplaced),
            ("***.example.com", PatternError::Misplaced),
            ("a**.example.com", PatternError::Misplaced),
            ("*a*.example.com", PatternError::Misplaced),
            ("a b*.example.com", PatternError::Host(HostError::Byte)),
            ("*.10.0.0.1", PatternError::Host(HostError::Address)),
            ("127.0.0.1", PatternError::Host(HostError::Address)),
            ("", PatternError::Host(HostError::Length)),
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn overlap_is_symmetric_and_tells_patterns_apart() {
        for (a, b, expected) in [
            ("gateway.discord.gg", "*.discord.gg", true),
            ("gateway.discord.gg", "discord.gg", false),
            ("*.discord.gg", "**.discord.gg", true),
            ("*.a.discord.gg", "**.discord.gg", true),
            ("*.discord.gg", "**.a.discord.gg", false),
            ("**.discord.gg", "**.a.discord.gg", true),
            ("*.discord.gg", "*.discord.com", false),
        ] {
            assert_eq!(pattern(a).overlaps(&pattern(b)), expected, "{a} {b}");
            assert_eq!(pattern(b).overlaps(&pattern(a)), expected, "{b} {a}");
        }
    }
}

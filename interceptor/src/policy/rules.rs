//! What an endpoint says of single requests.

use super::{
    endpoint::Access,
    glob::{PathGlob, TextGlob},
    request::{Ambiguity, Path, RequestView},
};

/// `path`, `access` or `rules`, and `deny_rules` of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Requests {
    /// The endpoint is about these paths only.
    pub(crate) scope: Option<PathGlob>,
    pub(crate) allow: Allow,
    /// What they match is denied, whatever allows it.
    pub(crate) deny: Vec<Rule>,
    /// A path with an encoded slash may go on.
    pub(crate) encoded_slash: bool,
}

/// Which requests an endpoint allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allow {
    Access(Access),
    /// Those that match one of them.
    Rules(Vec<Rule>),
}

/// One of `rules` or `deny_rules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// In upper case; `None`: every method.
    pub(crate) method: Option<Box<str>>,
    pub(crate) path: PathGlob,
    /// Parameters by their names, each with the globs of which one has to match.
    pub(crate) query: Vec<(Box<str>, Vec<TextGlob>)>,
}

/// What an endpoint says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It is about other paths.
    Nothing,
    Allowed,
    NotAllowed,
    /// By the so-many-th of its `deny_rules`, counted from 1.
    Denied(usize),
    /// Rules need to know a path, or a query, that is read in two ways.
    Ambiguous(Ambiguity),
}

impl Requests {
    /// Everything that `access` covers.
    #[cfg(test)]
    pub(crate) fn by_access(access: Access) -> Self {
        Self {
            scope: None,
            allow: Allow::Access(access),
            deny: Vec::new(),
            encoded_slash: false,
        }
    }

    /// No request is refused.
    pub(super) fn allow_everything(&self) -> bool {
        let Self {
            scope: _,
            allow,
            deny,
            encoded_slash: _,
        } = self;
        let open = match allow {
            Allow::Access(access) => *access == Access::Full,
            Allow::Rules(rules) => rules.iter().any(|rule| {
                rule.method.is_none() && rule.path.is_everything() && rule.query.is_empty()
            }),
        };
        open && deny.is_empty()
    }

    pub(super) fn say(&self, request: &RequestView<'_>) -> Says {
        let Self {
            scope,
            allow,
            deny,
            encoded_slash,
        } = self;
        let by_path = |rule: &Rule| !rule.path.is_everything();
        let rules = match allow {
            Allow::Access(_) => &[][..],
            Allow::Rules(rules) => rules,
        };
        let all = || rules.iter().chain(deny);
        let paths_matter =
            scope.as_ref().is_some_and(|scope| !scope.is_everything()) || all().any(by_path);
        // Where every path is as good as any other, it need not be understood.
        let path = match &request.path {
            Ok(path) if path.has_encoded_slash && !encoded_slash && paths_matter => {
                return Says::Ambiguous(Ambiguity::EncodedSlash);
            }
            Ok(path) => path,
            Err(ambiguity) if paths_matter => return Says::Ambiguous(*ambiguity),
            Err(_) => &Path {
                text: b"/".to_vec(),
                has_encoded_slash: false,
            },
        };
        if scope
            .as_ref()
            .is_some_and(|scope| !scope.matches(&path.text))
        {
            return Says::Nothing;
        }
        if request.has_semicolons && all().any(|rule| !rule.query.is_empty()) {
            return Says::Ambiguous(Ambiguity::Semicolon);
        }
        let readings = if deny.is_empty() {
            Vec::new()
        } else {
            path.readings()
        };
        let mut denying = deny.iter();
        if let Some(index) = denying.position(|rule| rule.denies(request, &readings)) {
            return Says::Denied(index + 1);
        }
        let allowed = match allow {
            Allow::Access(access) => access.covers(request.method),
            Allow::Rules(rules) => rules.iter().any(|rule| rule.allows(request, path)),
        };
        if allowed {
            Says::Allowed
        } else {
            Says::NotAllowed
        }
    }
}

impl Rule {
    /// Every value of a parameter that the rule names has to match, and one has to be there.
    fn allows(&self, request: &RequestView<'_>, path: &Path) -> bool {
        self.has_method(request.method)
            && self.path.matches(&path.text)
            && self.query.iter().all(|(name, globs)| {
                let mut values = values(request, name).peekable();
                values.peek().is_some() && values.all(|value| one_of(globs, value))
            })
    }

    /// One value of each parameter that the rule names is enough, and one of the ways to read the path.
    fn denies(&self, request: &RequestView<'_>, readings: &[Vec<u8>]) -> bool {
        self.has_method(request.method)
            && readings.iter().any(|reading| self.path.matches(reading))
            && self
                .query
                .iter()
                .all(|(name, globs)| values(request, name).any(|value| one_of(globs, value)))
    }

    /// GET covers HEAD (RFC 9110 §9.3.2). Case does not matter here, as in OpenShell; a server that tells `get` from
    /// `GET` refuses it by itself.
    fn has_method(&self, method: &str) -> bool {
        self.method.as_ref().is_none_or(|own| {
            own.eq_ignore_ascii_case(method)
                || **own == *"GET" && method.eq_ignore_ascii_case("HEAD")
        })
    }
}

fn values<'r>(request: &'r RequestView<'_>, name: &str) -> impl Iterator<Item = &'r [u8]> {
    request
        .query
        .iter()
        .filter(move |(other, _)| *other == name.as_bytes())
        .map(|(_, value)| value.as_slice())
}

fn one_of(globs: &[TextGlob], value: &[u8]) -> bool {
    globs.iter().any(|glob| glob.matches(value))
}

#[cfg(test)]
mod tests;

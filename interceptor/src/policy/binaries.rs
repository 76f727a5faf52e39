//! Which programs may use an endpoint.

use std::str::FromStr;

use super::glob::{GlobError, PathGlob};

/// `binaries` of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Binaries {
    /// There is no such list.
    #[default]
    Any,
    Listed(Vec<Binary>),
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Exact(Box<str>),
    Matching(PathGlob),
}

/// The program that opened a connection: its executable, then those of its ancestors. Empty if it could not be found
/// out, and then no list has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) executables: Vec<Box<[u8]>>,
}

impl Binaries {
    pub(crate) fn admit(&self, caller: &Caller) -> bool {
        match self {
            Self::Any => true,
            // It may not even be known who asks.
            Self::Listed(_) if !self.restrict() => true,
            Self::Listed(binaries) => caller
                .executables
                .iter()
                .any(|path| binaries.iter().any(|binary| binary.is(path))),
        }
    }

    /// Some program is left out.
    pub(crate) fn restrict(&self) -> bool {
        match self {
            Self::Any => false,
            Self::Listed(binaries) => !binaries.iter().any(Binary::is_everything),
        }
    }
}

impl Binary {
    fn is(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == path,
            Self::Matching(glob) => glob.matches(path),
        }
    }

    fn is_everything(&self) -> bool {
        match self {
            Self::Exact(_) => false,
            Self::Matching(glob) => glob.is_everything(),
        }
    }
}

impl FromStr for Binary {
    type Err = GlobError;

    fn from_str(path: &str) -> Result<Self, GlobError> {
        if path.contains('*') {
            path.parse().map(Self::Matching)
        } else {
            Ok(Self::Exact(path.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(executables: &[&str]) -> Caller {
        Caller {
            executables: executables
                .iter()
                .map(|path| path.as_bytes().into())
                .collect(),
        }
    }

    fn listed(paths: &[&str]) -> Binaries {
        Binaries::Listed(paths.iter().map(|path| path.parse().unwrap()).collect())
    }

    #[test]
    fn a_program_or_one_of_its_ancestors_has_to_be_listed() {
        let binaries = listed(&["/usr/bin/node", "/opt/*/bin/agent", "/usr/local/lib/**"]);
        for (executables, expected) in [
            (&["/usr/bin/node"][..], true),
            (&["/usr/bin/curl", "/usr/bin/bash", "/usr/bin/node"], true),
            (&["/usr/bin/curl", "/usr/bin/bash"], false),
            (&["/opt/a/bin/agent"], true),
            (&["/opt/a/b/bin/agent"], false),
            (&["/usr/local/lib/x/y"], true),
            (&["/usr/bin/node (deleted)"], false),
            (&["/tmp/usr/bin/node"], false),
            (&[], false),
        ] {
            assert_eq!(
                binaries.admit(&caller(executables)),
                expected,
                "{executables:?}"
            );
        }
    }

    #[test]
    fn no_list_admits_everybody_and_an_empty_one_nobody() {
        assert!(Binaries::Any.admit(&Caller::default()));
        assert!(!Binaries::Any.restrict());
        let nobody = listed(&[]);
        assert!(!nobody.admit(&caller(&["/usr/bin/node"])) && nobody.restrict());
        let everybody = listed(&["/**"]);
        assert!(everybody.admit(&Caller::default()) && !everybody.restrict());
    }
}

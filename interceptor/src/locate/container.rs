//! Containers, by ID or name.

use std::{fmt, path::PathBuf};

use super::{
    Identity, LocateError, Located,
    known::{Host, Known},
    name::{ContainerId, short},
    only,
    path::{Kind, Place},
    tree::{REACHES, Reach, gather},
    version1,
};
use crate::kernel::{CgroupError, Hierarchy};

/// One that has a cgroup.
#[derive(Clone, Debug)]
struct Candidate {
    id: String,
    names: Vec<String>,
    pod: Option<String>,
    cgroup: PathBuf,
}

/// `web (0123456789ab) of pod team/agent`
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = short(&self.id);
        match self.names.first() {
            Some(name) => write!(f, "{name} ({id})")?,
            None => f.write_str(id)?,
        }
        self.pod.iter().try_for_each(|pod| write!(f, " of {pod}"))
    }
}

pub(super) fn find(
    hierarchy: &Hierarchy,
    host: &Host,
    asked: &str,
) -> Result<Located, LocateError> {
    let none = || LocateError::NoContainer(asked.to_owned());
    if asked.is_empty() {
        return Err(none());
    }
    let known = host.containers();
    let what = || format!("container {asked:?}");
    for reach in REACHES {
        let mut found = candidates(hierarchy, host, &known, reach)?;
        // A whole ID is nobody else's name.
        if found.iter().any(|candidate| candidate.id == asked) {
            found.retain(|candidate| candidate.id == asked);
        } else {
            found.retain(|candidate| {
                candidate.id.starts_with(asked) || candidate.names.iter().any(|name| name == asked)
            });
        }
        let found = only(what, found, |candidate| {
            format!("{candidate} at {}", candidate.cgroup.display())
        })?;
        if let Some(candidate) = found {
            return Ok(Located {
                identity: Some(Identity(format!("container {candidate}"))),
                cgroup: hierarchy.cgroup(&candidate.cgroup)?,
            });
        }
    }
    let is_it = |kind: &Kind| match kind {
        Kind::Container(id) => {
            let named = known.iter().find(|known| known.id == id.as_str());
            id.as_str().starts_with(asked)
                || named.is_some_and(|known| known.names.iter().any(|name| name == asked))
        }
        Kind::Pod(_) => false,
    };
    Err(version1::explain(&what(), is_it).unwrap_or_else(none))
}

fn candidates(
    hierarchy: &Hierarchy,
    host: &Host,
    known: &[Known],
    reach: Reach,
) -> Result<Vec<Candidate>, CgroupError> {
    let in_tree = gather(hierarchy, reach, |_, kind| match kind {
        Some(Kind::Container(id)) => Some(id.as_str().to_owned()),
        _ => None,
    })?;
    // IDs that are words are in no name of a cgroup: their runtime says where they are.
    let told = known.iter().filter_map(|known| {
        let path = known.cgroup.as_ref()?;
        let cgroup = hierarchy.cgroup(path).ok()?;
        let is_word = ContainerId::parse(&known.id).is_none();
        (is_word && !hierarchy.is_root(&cgroup))
            .then(|| (cgroup.path().to_owned(), known.id.clone()))
    });
    let all = in_tree.into_iter().chain(told);
    Ok(all
        .map(|(cgroup, id)| {
            let known = known.iter().find(|known| known.id == id);
            let place = Place::of(&cgroup);
            Candidate {
                names: known.map(|known| known.names.clone()).unwrap_or_default(),
                pod: place.pod.as_ref().map(|uid| host.describe(uid)),
                id,
                cgroup,
            }
        })
        .collect())
}

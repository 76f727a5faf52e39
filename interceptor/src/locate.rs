//! Where sandboxes are, by what people know of them: a cgroup, a process, a container, a pod, a unit of systemd.
//!
//! Containers and pods are found in the tree of cgroups, whose names tell them whatever the runtime and its driver, so
//! no runtime has to be asked. Names come from what runtimes and kubelet keep in directories of root's. What a
//! workload says of itself (its hostname, its environment, its arguments) is not looked at: it could say another's name.

mod container;
mod known;
mod name;
mod path;
mod pod;
#[cfg(test)]
mod tests;
mod tree;
mod unit;
mod version1;

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use known::Host;
pub(crate) use name::{PodQuery, Unit};

use self::path::Place;
use crate::kernel::{Cgroup, CgroupError, Hierarchy};

/// What is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// A directory of the cgroup2 file system, or a path as in /proc/PID/cgroup.
    Cgroup(PathBuf),
    /// The cgroup that this process is in.
    Pid(u32),
    /// A container by its ID, the beginning of its ID, or its name.
    Container(String),
    /// A pod, with all its containers.
    Pod(PodQuery),
    /// A service, scope or slice.
    Systemd(Unit),
}

/// A cgroup, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) cgroup: Cgroup,
    pub(crate) identity: Option<Identity>,
}

/// Whose a cgroup is, for an operator: `pod team/agent`, `container web (0123456789ab)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Identity(String);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why nothing was found, or nothing that is sure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocateError {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(
        "no container with the ID or name {0:?} runs here: give its ID as its runtime prints it, or its cgroup with --cgroup"
    )]
    NoContainer(String),
    #[error("no pod {0} runs here: `kubectl get pods` shows on which node it is")]
    NoPod(PodQuery),
    #[error(
        "nothing here tells of a pod {0}, neither kubelet (/var/log/pods) nor a runtime: give its UID, which `kubectl get pod -o jsonpath={{.metadata.uid}}` prints"
    )]
    UnknownPod(PodQuery),
    #[error("no unit {0} runs here: a unit has a cgroup as long as something runs in it")]
    NoUnit(Unit),
    #[error("{what} is not clear, choose one: {}", .candidates.join("; "))]
    Ambiguous {
        what: String,
        candidates: Vec<String>,
    },
    /// On a hybrid hierarchy, whose controllers have trees of their own.
    #[error(
        "{what} has a cgroup of version 1 only, and its process {pid} shares {} of version 2 with others: \
         have its runtime use cgroup2", .cgroup.display()
    )]
    Version1 {
        what: String,
        pid: u32,
        cgroup: PathBuf,
    },
}

/// Finds the one cgroup that is meant. Walks the tree of cgroups and reads files: not for the threads of a runtime.
///
/// # Errors
/// There is none, or more than one.
pub(crate) fn locate(
    hierarchy: &Hierarchy,
    host: &Host,
    target: &Target,
) -> Result<Located, LocateError> {
    let cgroup = match target {
        Target::Container(asked) => return container::find(hierarchy, host, asked),
        Target::Pod(asked) => return pod::find(hierarchy, host, asked),
        Target::Systemd(asked) => return unit::find(hierarchy, asked),
        Target::Cgroup(path) => hierarchy.cgroup(path)?,
        Target::Pid(pid) => hierarchy.of_process(*pid)?,
    };
    let identity = Place::of(cgroup.path()).identity(host);
    Ok(Located { cgroup, identity })
}

/// The one of several, or why there is none.
fn only<T>(
    what: impl FnOnce() -> String,
    mut found: Vec<T>,
    describe: impl Fn(&T) -> String,
) -> Result<Option<T>, LocateError> {
    if found.len() > 1 {
        return Err(LocateError::Ambiguous {
            what: what(),
            candidates: found.iter().map(describe).collect(),
        });
    }
    Ok(found.pop())
}

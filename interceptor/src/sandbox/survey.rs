//! One look at /proc: which sandboxes are in which network namespaces, and who else is.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use crate::{
    address::SandboxId,
    kernel::{Cgroup, CgroupError, Hierarchy, NetnsInode, Task, census},
};

/// What was found. Walks /proc: not for the threads of the runtime.
#[derive(Debug)]
pub(super) struct Survey {
    own: Option<NetnsInode>,
    hierarchy: Hierarchy,
    inhabitants: BTreeMap<NetnsInode, Vec<u32>>,
    sandboxes: BTreeMap<SandboxId, Part>,
}

#[derive(Debug)]
struct Part {
    cgroup: Cgroup,
    exists: bool,
    namespaces: BTreeMap<NetnsInode, Task>,
}

impl Survey {
    /// # Errors
    /// Not everything can be seen: no descriptor is free, or no memory.
    pub(super) fn take(
        hierarchy: Hierarchy,
        sandboxes: Vec<(SandboxId, Cgroup)>,
    ) -> io::Result<Self> {
        let sandboxes = sandboxes
            .into_iter()
            .map(|(id, cgroup)| {
                let part = Part {
                    exists: cgroup.exists(),
                    namespaces: Task::by_netns(&cgroup.processes()?)?,
                    cgroup,
                };
                Ok((id, part))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            own: NetnsInode::current(),
            hierarchy,
            inhabitants: census()?,
            sandboxes,
        })
    }

    /// Sandboxes whose cgroup has been removed.
    pub(super) fn gone(&self) -> Vec<SandboxId> {
        let gone = self.sandboxes.iter().filter(|(_, part)| !part.exists);
        gone.map(|(id, _)| *id).collect()
    }

    /// Namespaces that a sandbox's processes are in, each with one of its threads.
    pub(super) fn namespaces_of(&self, id: SandboxId) -> Vec<(NetnsInode, Task)> {
        let part = self.sandboxes.get(&id).into_iter();
        part.flat_map(|part| part.namespaces.iter().map(|(inode, task)| (*inode, *task)))
            .collect()
    }

    /// Sandboxes that have a process in a namespace.
    pub(super) fn users(&self, inode: NetnsInode) -> BTreeSet<SandboxId> {
        let users = self.sandboxes.iter();
        users
            .filter(|(_, part)| part.namespaces.contains_key(&inode))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Whether nobody but one sandbox is in a namespace: not the daemon, not another sandbox, no other process.
    pub(super) fn is_private(&self, inode: NetnsInode) -> bool {
        let users = self.users(inode);
        let mut users = users.iter().filter_map(|id| self.sandboxes.get(id));
        let (Some(part), None) = (users.next(), users.next()) else {
            return false;
        };
        let inhabitants = self.inhabitants.get(&inode).into_iter().flatten();
        self.own != Some(inode) && inhabitants.copied().all(|pid| !self.is_outside(pid, part))
    }

    /// Asks for the process's cgroup rather than looking it up in the list of processes, which is of another moment.
    fn is_outside(&self, pid: u32, part: &Part) -> bool {
        match self.hierarchy.of_process(pid) {
            Ok(cgroup) => !part.cgroup.holds(&cgroup),
            Err(CgroupError::NoProcess(_)) => false,
            // In doubt there is somebody else.
            Err(_) => std::path::Path::new(&format!("/proc/{pid}/ns/net")).exists(),
        }
    }
}

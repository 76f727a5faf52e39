//! The network namespaces that have listeners, and who uses them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;

use super::{report::NetnsReport, serve::Sockets, survey::Survey};
use crate::{
    address::{NetnsCookie, SandboxId},
    kernel::{DeviceFence, NetnsEntry, NetnsInode, NetnsState},
};

/// Most namespaces of one sandbox: each costs the daemon four sockets.
const LIMIT: usize = 16;
/// A namespace is let go after this many sweeps in a row in which no process was in it: between fork and exec, or
/// while a process hands its namespace on, one look can miss it.
const PATIENCE: u32 = 2;

/// One namespace with listeners. They keep it alive, so they go when nobody is in it any more.
pub(super) struct Namespace {
    pub(super) inode: NetnsInode,
    pub(super) port: u16,
    pub(super) has_v6: bool,
    pub(super) private: bool,
    /// Whether its devices have a fence of their own.
    pub(super) fenced: bool,
    pub(super) users: BTreeSet<SandboxId>,
    empty_sweeps: u32,
    pub(super) sockets: Sockets,
    pub(super) loops: JoinSet<()>,
}

impl Namespace {
    pub(super) fn new(
        inode: NetnsInode,
        entry: NetnsEntry,
        users: BTreeSet<SandboxId>,
        sockets: Sockets,
        loops: JoinSet<()>,
    ) -> Self {
        Self {
            inode,
            port: entry.port,
            has_v6: entry.has_v6,
            private: entry.private,
            fenced: false,
            users,
            empty_sweeps: 0,
            sockets,
            loops,
        }
    }

    /// Fences devices that come, as long as it has listeners.
    pub(super) fn watch(&mut self, fence: DeviceFence) {
        self.fenced = true;
        self.loops.spawn(fence.watch());
    }

    pub(super) fn entry(&self) -> NetnsEntry {
        NetnsEntry {
            state: NetnsState::Ready,
            port: self.port,
            has_v6: self.has_v6,
            private: self.private,
        }
    }

    /// Takes note of who is in it now. `true`: it can go.
    pub(super) fn revise(&mut self, users: BTreeSet<SandboxId>) -> bool {
        if users.is_empty() {
            self.empty_sweeps += 1;
        } else {
            self.empty_sweeps = 0;
            self.users = users;
        }
        self.empty_sweeps >= PATIENCE
    }
}

#[derive(Default)]
pub(super) struct Namespaces {
    open: BTreeMap<NetnsCookie, Namespace>,
    /// Sandboxes that have been refused one.
    crowded: BTreeSet<SandboxId>,
}

impl Namespaces {
    pub(super) fn insert(&mut self, cookie: NetnsCookie, namespace: Namespace) {
        self.open.insert(cookie, namespace);
    }

    pub(super) fn get_mut(&mut self, cookie: NetnsCookie) -> Option<&mut Namespace> {
        self.open.get_mut(&cookie)
    }

    /// Closes the listeners, and waits for it. Answers that are under way keep the port for UDP until they are sent.
    pub(super) async fn close(&mut self, cookie: NetnsCookie) {
        if let Some(mut namespace) = self.open.remove(&cookie) {
            namespace.loops.shutdown().await;
        }
    }

    pub(super) async fn close_all(&mut self) {
        let all: Vec<_> = self.open.keys().copied().collect();
        for cookie in all {
            self.close(cookie).await;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NetnsCookie, &Namespace)> {
        self.open.iter().map(|(cookie, found)| (*cookie, found))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (NetnsCookie, &mut Namespace)> {
        self.open.iter_mut().map(|(cookie, found)| (*cookie, found))
    }

    pub(super) fn contains(&self, cookie: NetnsCookie) -> bool {
        self.open.contains_key(&cookie)
    }

    pub(super) fn knows(&self, inode: NetnsInode) -> bool {
        self.open.values().any(|namespace| namespace.inode == inode)
    }

    /// Whether a sandbox has as many as it may.
    pub(super) fn is_full(&self, id: SandboxId) -> bool {
        let used = self.open.values().filter(|found| found.users.contains(&id));
        used.count() >= LIMIT
    }

    /// Whether this is the first time that a sandbox wants more than it may have.
    pub(super) fn is_newly_crowded(&mut self, id: SandboxId) -> bool {
        self.crowded.insert(id)
    }

    /// Strikes a sandbox out. What nobody uses any more, by what is known and by a new look, is returned, to be closed.
    pub(super) fn leave(&mut self, id: SandboxId, survey: Option<&Survey>) -> Vec<NetnsCookie> {
        self.crowded.remove(&id);
        let mut unused = Vec::new();
        for (cookie, namespace) in &mut self.open {
            if !namespace.users.remove(&id) {
                continue;
            }
            if let Some(survey) = survey {
                namespace.users.extend(survey.users(namespace.inode));
            }
            if namespace.users.is_empty() {
                unused.push(*cookie);
            }
        }
        unused
    }

    pub(super) fn of(&self, id: SandboxId) -> Vec<NetnsReport> {
        let used = self
            .open
            .iter()
            .filter(|(_, found)| found.users.contains(&id));
        used.map(|(cookie, found)| NetnsReport {
            cookie: *cookie,
            port: found.port,
            has_v6: found.has_v6,
            private: found.private,
            fenced: found.fenced,
        })
        .collect()
    }
}

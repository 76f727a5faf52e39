//! Processes as /proc shows them: the namespaces that they are in, the capabilities that they hold.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::netns::NetnsInode;

/// A thread, by the numbers that the programs report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
}

impl Task {
    pub(super) fn netns_path(self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/task/{}/ns/net", self.tgid, self.tid))
    }

    /// Network namespaces of all threads of these processes, each with a thread that is in it.
    ///
    /// # Errors
    /// As [`is_exhausted`] knows them.
    pub(crate) fn by_netns(processes: &[u32]) -> io::Result<BTreeMap<NetnsInode, Self>> {
        let mut found = BTreeMap::new();
        for tgid in processes {
            for tid in numbered(Path::new(&format!("/proc/{tgid}/task")))? {
                let task = Self { tgid: *tgid, tid };
                if let Some(inode) = NetnsInode::of_link(&task.netns_path()) {
                    found.entry(inode).or_insert(task);
                }
            }
        }
        Ok(found)
    }
}

/// Whether the process or the system is out of descriptors or memory: what was to be found may be there all the same.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    )
}

/// How many processes are in each network namespace, by their first threads: other threads that differ from it are
/// passing through, as ours do.
///
/// # Errors
/// As [`is_exhausted`] knows them.
pub(crate) fn census() -> io::Result<BTreeMap<NetnsInode, Vec<u32>>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for pid in numbered(Path::new("/proc"))? {
        let link = PathBuf::from(format!("/proc/{pid}/ns/net"));
        if let Some(inode) = NetnsInode::of_link(&link) {
            found.entry(inode).or_default().push(pid);
        }
    }
    Ok(found)
}

/// Capabilities with which a process can send what the programs do not see, or take them off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Capabilities {
    pub(crate) pid: u32,
    pub(crate) comm: String,
    /// What it holds.
    pub(crate) held: Vec<&'static str>,
    /// What it could gain by running a set-user-ID program.
    pub(crate) reachable: Vec<&'static str>,
}

/// Numbers from linux/capability.h.
const UNCONTAINED: [(&str, u32); 4] = [
    ("NET_ADMIN", 12),
    ("NET_RAW", 13),
    ("SYS_ADMIN", 21),
    ("BPF", 39),
];

impl Capabilities {
    /// `None` for a process without any of them, and for one that is gone.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Self::parse(pid, &status)
    }

    fn parse(pid: u32, status: &str) -> Option<Self> {
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let set = |name| field(name).and_then(|text| u64::from_str_radix(text, 16).ok());
        let held = set("CapEff")? | set("CapPrm")?;
        let confined = field("NoNewPrivs") == Some("1");
        let reachable = if confined { 0 } else { set("CapBnd")? & !held };
        let named = |set: u64| {
            UNCONTAINED
                .iter()
                .filter(|(_, number)| set >> number & 1 == 1)
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
        };
        let found = Self {
            pid,
            comm: field("Name").unwrap_or_default().to_owned(),
            held: named(held),
            reachable: named(reachable),
        };
        (!found.held.is_empty() || !found.reachable.is_empty()).then_some(found)
    }
}

/// What has a number for a name; nothing of a process that is gone.
pub(super) fn numbered(directory: &Path) -> io::Result<Vec<u32>> {
    let entries = unless_exhausted(fs::read_dir(directory))?;
    let entries = entries.into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.collect())
}

/// `None` for every other failure.
pub(super) fn unless_exhausted<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if is_exhausted(&error) => Err(error),
        result => Ok(result.ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "Name:\tnode\nCapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t0\n";

    #[test]
    fn what_a_process_holds_is_told_from_what_it_could_gain() {
        let root = Capabilities::parse(7, ROOT).unwrap();
        assert_eq!(root.held, ["NET_ADMIN", "NET_RAW", "SYS_ADMIN", "BPF"]);
        assert!(root.reachable.is_empty());

        let user = ROOT
            .replace("CapPrm:\t000001ffffffffff", "CapPrm:\t0000000000000000")
            .replace("CapEff:\t000001ffffffffff", "CapEff:\t0000000000002000");
        let user = Capabilities::parse(7, &user).unwrap();
        assert_eq!(user.held, ["NET_RAW"]);
        assert_eq!(user.reachable, ["NET_ADMIN", "SYS_ADMIN", "BPF"]);
    }

    #[test]
    fn a_process_that_can_gain_nothing_is_contained() {
        let confined = "Name:\tnode\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\n";
        assert_eq!(Capabilities::parse(7, confined), None);
    }

    #[test]
    fn the_own_namespace_is_in_the_census_and_among_the_own_threads() {
        let inode = NetnsInode::of_link(Path::new("/proc/self/ns/net")).unwrap();
        let pid = std::process::id();
        assert!(census().unwrap()[&inode].contains(&pid));
        assert_eq!(Task::by_netns(&[pid]).unwrap()[&inode].tgid, pid);
    }
}

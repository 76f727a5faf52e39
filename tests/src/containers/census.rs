//! What there is of everything that pods could leave behind.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{cgroup, daemon::Daemon, interrupt, leftovers::is_own};

/// Counts of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census(BTreeMap<&'static str, usize>);

impl Census {
    /// # Errors
    /// The daemon does not run.
    pub fn take(daemon: &Daemon) -> Result<Self> {
        let own = Path::new("/proc").join(daemon.pid()?.to_string());
        let descriptors = fs::read_dir(own.join("fd"))?.flatten();
        let kinds: Vec<String> = descriptors
            .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string()))
            .collect();
        let of = |kind: &str| kinds.iter().filter(|name| name.starts_with(kind)).count();
        let sandboxes = daemon.json(&["sandboxes"])?;
        Ok(Self(BTreeMap::from([
            ("sandboxes", sandboxes.as_array().map_or(0, Vec::len)),
            ("descriptors of the daemon", kinds.len()),
            ("its sockets", of("socket:")),
            ("its handles on namespaces", of("net:")),
            ("its BPF links", of("anon_inode:bpf_link")),
            (
                "pins",
                directories(daemon.bpf_dir()) + files(daemon.bpf_dir()),
            ),
            ("cgroups", own_in(&cgroup::mount_point()?)),
            ("named namespaces", own_in(Path::new("/run/netns"))),
            (
                "records of sandboxes",
                records(&daemon.run_dir().join("sandboxes")),
            ),
        ])))
    }

    /// Waits until everything is again as it was. The daemon looks for cgroups and namespaces that went every 5 s.
    ///
    /// # Errors
    /// Something stays; the message says what.
    pub fn wait_for_return(&self, daemon: &Daemon) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let now = Self::take(daemon)?;
            let more: Vec<_> = self
                .0
                .iter()
                .filter_map(|(what, before)| {
                    let now = now.0.get(what)?;
                    (now > before).then(|| format!("{what}: {before} before, {now} now"))
                })
                .collect();
            if more.is_empty() {
                return Ok(());
            }
            interrupt::check()?;
            ensure!(
                Instant::now() < deadline,
                "left behind: {}",
                more.join(", ")
            );
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// # Errors
    /// There is no such count.
    pub fn of(&self, what: &str) -> Result<usize> {
        self.0.get(what).copied().context("no such count")
    }
}

/// Of this process, with all that is below: other tests may run.
fn own_in(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_own));
    own.map(|entry| 1 + directories(&entry.path())).sum()
}

/// The last number given stays beside them.
fn records(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "json"))
        .count()
}

/// Below a directory, at any depth.
fn directories(directory: &Path) -> usize {
    let below = fs::read_dir(directory).into_iter().flatten().flatten();
    below
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| 1 + directories(&entry.path()))
        .sum()
}

fn files(directory: &Path) -> usize {
    let below = fs::read_dir(directory).into_iter().flatten().flatten();
    below
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            _ => 1,
        })
        .sum()
}

//! Control groups that a test makes and removes.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{logs::complain, unique_name};

/// A cgroup2 directory.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// # Errors
    /// Not root, or no cgroup2 is mounted.
    pub fn new() -> Result<Self> {
        crate::require_root()?;
        let path = mount_point()?.join(unique_name());
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path })
    }

    /// One that is there, to be removed.
    pub(crate) fn left_at(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file to which a process writes 0 in order to move itself here.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Of it and all below it, the deepest last.
    fn tree(&self) -> Vec<PathBuf> {
        let mut found = vec![self.path.clone()];
        let mut next = 0;
        while let Some(directory) = found.get(next).cloned() {
            next += 1;
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            found.extend(below.map(|entry| entry.path()));
        }
        found
    }

    fn members(directory: &Path) -> Vec<Pid> {
        fs::read_to_string(directory.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.parse().ok().and_then(Pid::from_raw))
            .collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let tree = self.tree();
            for pid in tree.iter().flat_map(|directory| Self::members(directory)) {
                // Gone meanwhile: as wanted.
                if kill_process(pid, Signal::KILL).is_err() {
                    continue;
                }
            }
            match tree.iter().rev().try_for_each(fs::remove_dir) {
                Ok(()) => return,
                Err(error) if Instant::now() > deadline => {
                    return complain(&format!("removing {}: {error}", self.path.display()));
                }
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// Where the hierarchies of either version are mounted.
///
/// # Errors
/// /proc is not there.
pub fn mount_points() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let of_cgroups = mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after
            .starts_with("cgroup")
            .then(|| before.split(' ').nth(4).map(PathBuf::from))?
    });
    Ok(of_cgroups.collect())
}

/// Removes cgroups that nobody is in, which a process that has just ended may be for a moment.
pub(crate) fn remove_when_empty(path: &Path) {
    drop(Cgroup::left_at(path.to_owned()));
}

/// Where cgroup2 is mounted, in a unified or a hybrid hierarchy.
///
/// # Errors
/// Nowhere.
pub fn mount_point() -> Result<PathBuf> {
    fs::read_to_string("/proc/self/mountinfo")?
        .lines()
        .find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            (after.split(' ').next() == Some("cgroup2"))
                .then(|| before.split(' ').nth(4).map(PathBuf::from))?
        })
        .context("no cgroup2 is mounted")
}

//! cgroup2 directories: which they are, who is in them, and ending them.

mod hierarchy;
mod namespace;

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};

pub(crate) use hierarchy::Hierarchy;
pub(crate) use namespace::enter_cgroup_namespace_of_host;

use super::process::unless_exhausted;
use crate::address::CgroupId;

/// How long killed processes have to go.
const KILL_DEADLINE: Duration = Duration::from_secs(5);

/// Why a cgroup cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    #[error("no cgroup2 file system is mounted: mount one, `mount -t cgroup2 none /sys/fs/cgroup`")]
    NotMounted,
    #[error(
        "there is no cgroup {path}: give a directory under {mount}, or a path as in /proc/PID/cgroup"
    )]
    Missing { path: PathBuf, mount: PathBuf },
    #[error("{path} is not inside the cgroup2 file system at {mount}")]
    Elsewhere { path: PathBuf, mount: PathBuf },
    #[error("there is no process {0}")]
    NoProcess(u32),
    #[error(
        "process {0} is in no cgroup that can be seen from here: name its cgroup with --cgroup"
    )]
    Unplaced(u32),
    #[error("there are more than {0} cgroups: name the one that is meant with --cgroup")]
    Crowded(usize),
    #[error("cannot see all processes of the cgroup")]
    Processes(#[source] io::Error),
    #[error("processes remain in {0} after they were killed")]
    Populated(PathBuf),
    #[error("cannot use {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// One directory of the cgroup2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroup {
    path: PathBuf,
    id: CgroupId,
}

/// A cgroup whose maker lives: it holds a lock on the directory, which the kernel gives up with the process.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) cgroup: Cgroup,
    _lock: File,
}

impl Cgroup {
    /// Takes what stands at `path`, whose place in the hierarchy [`Hierarchy`] has checked.
    fn at(path: PathBuf) -> Result<Self, CgroupError> {
        let metadata = fs::metadata(&path).map_err(failed(&path))?;
        Ok(Self {
            id: CgroupId(metadata.ino()),
            path,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn id(&self) -> CgroupId {
        self.id
    }

    /// Whether the directory is still the one that this was made from.
    pub(crate) fn exists(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.id.0)
    }

    /// Removes it if its maker has gone and nobody is in it.
    fn remove_if_left(&self) -> Result<(), CgroupError> {
        let directory = self.open()?;
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err()
            || self.populated()
            || !self.exists()
        {
            return Ok(());
        }
        self.remove()
    }

    /// Whether threads of one process may be inside and outside (cgroups(7), thread mode).
    pub(crate) fn is_threaded(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.type"))
            .is_ok_and(|kind| kind.trim() == "threaded")
    }

    /// Whether `other` is this cgroup or below it.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        other.path.starts_with(&self.path)
    }

    pub(super) fn open(&self) -> Result<File, CgroupError> {
        File::open(&self.path).map_err(failed(&self.path))
    }

    /// The file that moves into this cgroup whatever process writes `0` to it.
    pub(super) fn open_procs(&self) -> Result<File, CgroupError> {
        let path = self.procs();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(failed(&path))
    }

    /// Processes in this cgroup and below it. What comes and goes meanwhile may be missed.
    ///
    /// # Errors
    /// No descriptor is free, or no memory.
    pub(crate) fn processes(&self) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        let mut pending = vec![self.path.clone()];
        while let Some(directory) = pending.pop() {
            found.extend(processes_in(&directory.join("cgroup.procs"))?);
            pending.extend(unless_exhausted(try_children(&directory))?.unwrap_or_default());
        }
        Ok(found)
    }

    /// Numbers of this cgroup and those below it.
    pub(crate) fn ids(&self) -> HashSet<CgroupId> {
        let mut found = HashSet::from([self.id]);
        let mut pending = children(&self.path);
        while let Some(directory) = pending.pop() {
            // One that has just gone is nobody's.
            if let Ok(metadata) = fs::metadata(&directory) {
                found.insert(CgroupId(metadata.ino()));
            }
            pending.extend(children(&directory));
        }
        found
    }

    /// Kills everything in this cgroup and below it, and waits until it is gone.
    pub(crate) fn kill(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + KILL_DEADLINE;
        loop {
            // Linux 5.14 has cgroup.kill, which no fork escapes. Before it, killing is repeated until nobody is left.
            if fs::write(self.path.join("cgroup.kill"), "1").is_err() {
                for pid in self.processes().unwrap_or_default() {
                    kill(pid);
                }
            }
            if !self.populated() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(CgroupError::Populated(self.path.clone()));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Removes this cgroup and those below it, which have to be empty.
    pub(crate) fn remove(&self) -> Result<(), CgroupError> {
        remove_tree(&self.path)
    }

    /// Removes this cgroup, and the one above it if nothing else is in that.
    pub(crate) fn remove_with_parent(&self) -> Result<(), CgroupError> {
        self.remove()?;
        let Some(parent) = self.path.parent() else {
            return Ok(());
        };
        remove_if_empty(parent)
    }

    fn populated(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }
}

/// Directories of cgroups hold files that cannot be removed: only rmdir(2) applies.
fn remove_tree(path: &Path) -> Result<(), CgroupError> {
    for child in children(path) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

fn remove_if_empty(path: &Path) -> Result<(), CgroupError> {
    match fs::remove_dir(path) {
        Err(error) => match error.kind() {
            // With cgroups or processes in it a cgroup is busy.
            io::ErrorKind::ResourceBusy
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::NotFound => Ok(()),
            _ => Err(failed(path)(error)),
        },
        Ok(()) => Ok(()),
    }
}

/// Cgroups directly below one; none when it is gone.
fn children(directory: &Path) -> Vec<PathBuf> {
    try_children(directory).unwrap_or_default()
}

fn try_children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(directories.map(|entry| entry.path()).collect())
}

/// Unreadable (a threaded cgroup, one that has just gone) means none: its domain's file names them.
fn processes_in(procs: &Path) -> io::Result<Vec<u32>> {
    let text = unless_exhausted(fs::read_to_string(procs))?.unwrap_or_default();
    // 0 stands for a process of a pid namespace that cannot be seen from here.
    let numbers = text.lines().filter_map(|line| line.parse().ok());
    Ok(numbers.filter(|pid| *pid != 0).collect())
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::KILL)) {
        tracing::debug!(%error, "a process was gone before it was killed");
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::kernel::fixtures::ScratchCgroup;

    #[test]
    fn kernel_everything_in_a_tree_is_killed_and_the_tree_removed() {
        let cgroup = ScratchCgroup::new("kill");
        let below = cgroup.path.join("below");
        fs::create_dir(&below).unwrap();
        let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(below.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        assert_eq!(cgroup.processes().unwrap(), [sleeper.id()]);

        cgroup.kill().unwrap();
        assert!(!sleeper.wait().unwrap().success());
        cgroup.remove().unwrap();
        assert!(!cgroup.exists());
    }

    #[test]
    fn kernel_a_directory_made_anew_is_another_cgroup() {
        let cgroup = ScratchCgroup::new("anew");
        cgroup.remove().unwrap();
        fs::create_dir(cgroup.path()).unwrap();
        assert!(!cgroup.exists());
    }

    #[test]
    fn kernel_a_parent_goes_with_its_last_cgroup() {
        let hierarchy = Hierarchy::find().unwrap();
        let parent = format!("interceptor-test-parent-{}", std::process::id());
        let [one, other] = ["one", "other"].map(|name| {
            let path = Path::new(&parent).join(name);
            hierarchy.create(&path).unwrap()
        });
        one.remove_with_parent().unwrap();
        assert!(other.exists());
        other.remove_with_parent().unwrap();
        assert!(hierarchy.cgroup(Path::new(&parent)).is_err());
    }

    #[test]
    fn kernel_cgroups_whose_maker_has_gone_are_cleared_at_once_and_no_others() {
        let hierarchy = Hierarchy::find().unwrap();
        let parent = ScratchCgroup::new("clear");
        let make = |name: &str| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            Cgroup::at(path).unwrap()
        };
        let [left, inhabited, foreign] = ["x-left", "x-full", "y"].map(make);
        let claimed = hierarchy.claim(&parent.path().join("x-claimed")).unwrap();
        let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(inhabited.procs(), sleeper.id().to_string()).unwrap();

        hierarchy.clear(parent.path(), "x-");
        assert!(!left.exists());
        assert!(claimed.cgroup.exists() && inhabited.exists() && foreign.exists());
        let cgroup = claimed.cgroup.clone();
        drop(claimed);
        hierarchy.clear(parent.path(), "x-");
        assert!(!cgroup.exists() && inhabited.exists());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
}

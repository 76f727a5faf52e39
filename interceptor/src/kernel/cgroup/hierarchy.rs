//! The cgroup2 hierarchy: where it is mounted, and how paths and processes lead into it.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::{Cgroup, CgroupError, Claim, children, failed, processes_in, try_children};
use rustix::fs::{FlockOperation, flock};

use crate::{address::CgroupId, error::chain, kernel::process::unless_exhausted};

/// Inode number of the hierarchy's own root, which holds every process that is in no other cgroup.
const TRUE_ROOT: u64 = 1;

/// How often making a cgroup is tried again when the one above it goes meanwhile.
const TRIES: usize = 16;

/// Cgroups that are looked through for one: what may make some below its own could make any number.
const MOST: usize = 65_536;

/// A mounted cgroup2 file system.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchy {
    mount: PathBuf,
    /// Which part of the hierarchy is mounted there, as /proc/PID/cgroup names it: `/` but in some containers.
    part: PathBuf,
}

impl Hierarchy {
    /// Finds it wherever it is: unified at /sys/fs/cgroup, hybrid below that, or elsewhere.
    pub(crate) fn find() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(path).map_err(failed(path))?;
        Self::among(&text).ok_or(CgroupError::NotMounted)
    }

    /// The mount that shows most of the hierarchy, among lines of mountinfo (proc_pid_mountinfo(5)).
    fn among(mountinfo: &str) -> Option<Self> {
        mountinfo
            .lines()
            .filter_map(|line| {
                let (places, kind) = line.split_once(" - ")?;
                let mut fields = places.split(' ').skip(3);
                let (part, mount) = (fields.next()?, fields.next()?);
                (kind.split(' ').next()? == "cgroup2").then(|| Self {
                    mount: unescaped(mount).into(),
                    part: unescaped(part).into(),
                })
            })
            .min_by_key(|found| found.part.components().count())
    }

    /// Takes a directory in the file system, or a path as /proc/PID/cgroup has it.
    pub(crate) fn cgroup(&self, path: &Path) -> Result<Cgroup, CgroupError> {
        let directory = if path.starts_with(&self.mount) {
            path.to_owned()
        } else {
            self.mount.join(self.relative(path))
        };
        let Ok(resolved) = fs::canonicalize(&directory) else {
            return Err(CgroupError::Missing {
                path: path.to_owned(),
                mount: self.mount.clone(),
            });
        };
        if !resolved.starts_with(&self.mount) || !resolved.is_dir() {
            return Err(CgroupError::Elsewhere {
                path: resolved,
                mount: self.mount.clone(),
            });
        }
        Cgroup::at(resolved)
    }

    /// The cgroup that a process is in.
    ///
    /// /proc/PID/cgroup is relative to the reader's cgroup namespace, so the answer is believed only if the
    /// directory names the process.
    pub(crate) fn of_process(&self, pid: u32) -> Result<Cgroup, CgroupError> {
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let text = fs::read_to_string(&path).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => CgroupError::NoProcess(pid),
            _ => failed(&path)(error),
        })?;
        text.lines()
            .find_map(|line| line.strip_prefix("0::"))
            .map(|found| self.mount.join(self.relative(Path::new(found))))
            .filter(|directory| {
                let processes = processes_in(&directory.join("cgroup.procs"));
                processes.is_ok_and(|processes| processes.contains(&pid))
            })
            .ok_or(CgroupError::Unplaced(pid))
            .and_then(Cgroup::at)
    }

    /// Looks for a cgroup by its number, through the whole hierarchy.
    pub(crate) fn by_id(&self, id: CgroupId) -> Option<Cgroup> {
        let mut pending = vec![self.mount.clone()];
        while let Some(directory) = pending.pop() {
            let found = Cgroup::at(directory.clone()).ok();
            if let Some(cgroup) = found.filter(|cgroup| cgroup.id() == id) {
                return Some(cgroup);
            }
            pending.extend(children(&directory));
        }
        None
    }

    /// Goes through the cgroups of the hierarchy, outer ones first. `enter` tells whether to go on inside of one.
    ///
    /// # Errors
    /// Not all can be seen: no descriptor is free, or no memory; or there are more than anybody has.
    pub(crate) fn walk(&self, mut enter: impl FnMut(&Path) -> bool) -> Result<(), CgroupError> {
        let below = |directory: &Path| {
            let found = unless_exhausted(try_children(directory)).map_err(failed(directory));
            found.map(Option::unwrap_or_default)
        };
        let mut pending = VecDeque::from(below(&self.mount)?);
        let mut seen = 0;
        while let Some(directory) = pending.pop_front() {
            seen += 1;
            if seen > MOST {
                return Err(CgroupError::Crowded(MOST));
            }
            if enter(&directory) {
                pending.extend(below(&directory)?);
            }
        }
        Ok(())
    }

    /// Makes a cgroup, and those above it, at a path relative to the mount; it may not be there yet.
    pub(crate) fn create(&self, relative: &Path) -> Result<Cgroup, CgroupError> {
        let path = self.mount.join(relative);
        let parent = path.parent().unwrap_or(&self.mount);
        let mut tries = 0;
        loop {
            fs::create_dir_all(parent).map_err(failed(parent))?;
            match fs::create_dir(&path) {
                Ok(()) => return Cgroup::at(path),
                // Somebody else's was the last one there, and took the parent with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(failed(&path)(error)),
            }
        }
    }

    /// The same for as long as the caller lives: [`Self::clear`] spares it, and removes it afterwards.
    pub(crate) fn claim(&self, relative: &Path) -> Result<Claim, CgroupError> {
        let mut tries = 0;
        loop {
            let cgroup = self.create(relative)?;
            let locked = cgroup.open().and_then(|lock| {
                flock(&lock, FlockOperation::LockExclusive)
                    .map_err(|errno| failed(cgroup.path())(errno.into()))?;
                Ok(lock)
            });
            // Until it is locked it can be taken for one that was left.
            match locked {
                Ok(_lock) if cgroup.exists() => return Ok(Claim { cgroup, _lock }),
                Err(error) if cgroup.exists() || tries == TRIES => return Err(error),
                _ => tries += 1,
            }
        }
    }

    /// Removes cgroups directly below `relative` that processes which were killed have left behind: their names begin
    /// with `prefix`, whoever made them has gone, and nobody is in them.
    pub(crate) fn clear(&self, relative: &Path, prefix: &str) {
        for directory in children(&self.mount.join(relative)) {
            let name = directory.file_name().and_then(|name| name.to_str());
            let Ok(cgroup) = Cgroup::at(directory.clone()) else {
                continue;
            };
            if name.is_some_and(|name| name.starts_with(prefix))
                && let Err(error) = cgroup.remove_if_left()
            {
                tracing::debug!(
                    error = chain(&error),
                    "a cgroup that was left behind is in use"
                );
            }
        }
    }

    /// Whether a cgroup is the top of what is mounted: it holds everything, the daemon too.
    pub(crate) fn is_root(&self, cgroup: &Cgroup) -> bool {
        cgroup.id().0 == TRUE_ROOT || cgroup.path() == self.mount
    }

    fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        let path = path.strip_prefix(&self.part).unwrap_or(path);
        let mut parts = path.components();
        if let Some(Component::RootDir) = parts.clone().next() {
            parts.next();
        }
        parts.as_path()
    }
}

/// Undoes the kernel's octal escapes of blank, tab, newline and backslash.
fn unescaped(field: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(field.to_owned(), |text, (code, plain)| {
        text.replace(code, plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::fixtures::ScratchCgroup;

    #[test]
    fn the_cgroup2_mount_is_found_wherever_it_is() {
        let unified = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      40 31 0:37 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,name=systemd\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw shared:1 master:2 - cgroup2 cgroup2 rw";
        let escaped = "41 31 0:38 / /mnt/c\\040group rw - cgroup2 none rw";
        for (text, mount) in [
            (unified, "/sys/fs/cgroup"),
            (hybrid, "/sys/fs/cgroup/unified"),
            (escaped, "/mnt/c group"),
        ] {
            assert_eq!(
                Hierarchy::among(text).unwrap().mount,
                Path::new(mount),
                "{text}"
            );
        }
        assert!(Hierarchy::among("31 23 0:28 / / rw - ext4 /dev/vda rw").is_none());
    }

    #[test]
    fn the_mount_that_shows_most_is_taken() {
        let text =
            "41 31 0:38 /docker/abc /a rw - cgroup2 none rw\n42 31 0:38 / /b rw - cgroup2 none rw";
        assert_eq!(Hierarchy::among(text).unwrap().mount, Path::new("/b"));
    }

    #[test]
    fn kernel_a_cgroup_is_found_by_directory_by_proc_path_and_by_process() {
        let hierarchy = Hierarchy::find().unwrap();
        let cgroup = ScratchCgroup::new("lookup");
        let name = cgroup.path().file_name().unwrap();
        let by_proc_path = hierarchy.cgroup(&Path::new("/").join(name)).unwrap();
        let by_directory = hierarchy.cgroup(cgroup.path()).unwrap();

        let mut sleeper = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        fs::write(cgroup.path().join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        let by_process = hierarchy.of_process(sleeper.id());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();

        let gone = hierarchy.of_process(sleeper.id()).unwrap_err();
        assert!(matches!(gone, CgroupError::NoProcess(_)), "{gone}");
        assert_eq!(by_proc_path, *cgroup);
        assert_eq!(by_directory, *cgroup);
        assert_eq!(by_process.unwrap(), *cgroup);
        assert!(!hierarchy.is_root(&cgroup));
    }

    #[test]
    fn kernel_the_root_is_known_and_other_directories_are_refused() {
        let hierarchy = Hierarchy::find().unwrap();
        let root = hierarchy.cgroup(Path::new("/")).unwrap();
        assert!(hierarchy.is_root(&root));
        let error = hierarchy.cgroup(Path::new("/no/such/cgroup")).unwrap_err();
        assert!(matches!(error, CgroupError::Missing { .. }), "{error}");
        let outside = hierarchy.mount.join("../../..");
        let error = hierarchy.cgroup(&outside).unwrap_err();
        assert!(matches!(error, CgroupError::Elsewhere { .. }), "{error}");
    }
}

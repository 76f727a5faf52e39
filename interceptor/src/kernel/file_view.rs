//! Files as another process sees them: by its mounts, below its root, with the rights of the root there.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, stat, statat},
    io::Errno,
    process::{Gid, Uid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// Bytes of a map of users; the kernel takes 340 lines at most.
const MAP_BYTES: usize = 32 * 1024;

/// Why the files of a process are not to be touched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileViewError {
    #[error("there is no process {0}")]
    NoProcess(u32),
    #[error(
        "process {0} sees the files of this host, not of a container: nothing is changed there; name our CA in its \
         environment (`interceptor ca env`)"
    )]
    Host(u32),
    #[error("process {0} moves between namespaces: try again")]
    Moving(u32),
    #[error(
        "root in the user namespace of process {0} is nobody here, or root here: nothing is changed with its rights"
    )]
    NoRoot(u32),
    #[error("the files of process {pid} cannot be looked at")]
    Look {
        pid: u32,
        #[source]
        source: io::Error,
    },
    #[error(
        "the daemon may not take the rights of root in another user namespace: use `interceptor ca install` there"
    )]
    Become(#[source] io::Error),
}

/// Tells views apart, as long as a process has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileViewId {
    mounts: Inode,
    root: Inode,
}

/// Device and number.
type Inode = (u64, u64);

/// A process's root directory, held.
#[derive(Debug)]
pub(crate) struct FileView {
    root: OwnedFd,
    id: FileViewId,
    /// In a user namespace of its own: whom its root is here.
    foreign: Option<(Uid, Gid)>,
}

/// What must not change while a process's root is opened: one that leaves the host's namespaces meanwhile would have us
/// write to the host.
#[derive(PartialEq, Eq)]
struct Place {
    mounts: Inode,
    users: Inode,
    root: Option<(u32, u32)>,
}

impl FileView {
    pub(crate) fn of_process(pid: u32) -> Result<Self, FileViewError> {
        let looked = |errno: Errno| match errno {
            Errno::NOENT | Errno::SRCH => FileViewError::NoProcess(pid),
            errno => FileViewError::Look {
                pid,
                source: errno.into(),
            },
        };
        // Not by its number a second time: that may be another process by then.
        let process = open(format!("/proc/{pid}").as_str(), CWD).map_err(looked)?;
        let before = Place::of(process.as_fd()).map_err(looked)?;
        let root = open("root", process.as_fd()).map_err(looked)?;
        let id = FileViewId {
            mounts: before.mounts,
            root: inode(rustix::fs::fstat(&root).map_err(looked)?),
        };
        if Place::of(process.as_fd()).map_err(looked)? != before {
            return Err(FileViewError::Moving(pid));
        }
        if is_hosts("/proc/self", id).map_err(looked)? {
            return Err(FileViewError::Host(pid));
        }
        // Where the daemon is in a container, the host's files are those of process 1. What keeps us from looking at
        // that one (with CAP_SYS_PTRACE, a security module) keeps us from others in its place as well.
        match is_hosts("/proc/1", id) {
            Ok(true) => return Err(FileViewError::Host(pid)),
            Ok(false) | Err(Errno::ACCESS | Errno::PERM) => {}
            Err(errno) => return Err(looked(errno)),
        }
        let ours = stat("/proc/self/ns/user").map(inode).map_err(looked)?;
        let foreign = match before.root {
            _ if before.users == ours => None,
            // Whoever made such a namespace has nobody's rights but its own, and we would lend it ours.
            None | Some((0, _) | (_, 0)) => return Err(FileViewError::NoRoot(pid)),
            Some((uid, gid)) => Some((Uid::from_raw(uid), Gid::from_raw(gid))),
        };
        Ok(Self { root, id, foreign })
    }

    pub(crate) fn id(&self) -> FileViewId {
        self.id
    }

    /// The user and the group that are root there.
    pub(crate) fn root_user(&self) -> (u32, u32) {
        self.foreign
            .map_or((0, 0), |(uid, gid)| (uid.as_raw(), gid.as_raw()))
    }

    /// Runs `work` with the rights of root there, so that it can change nothing that root there could not.
    ///
    /// # Errors
    /// The daemon, once it serves, cannot become another user.
    pub(crate) fn as_root_there<T: Send>(
        &self,
        work: impl FnOnce(BorrowedFd<'_>) -> T + Send,
    ) -> Result<T, FileViewError> {
        let root = self.root.as_fd();
        let Some((uid, gid)) = self.foreign else {
            return Ok(work(root));
        };
        // A thread of its own: users are a thread's, and there is no way back.
        thread::scope(|scope| {
            let visitor = scope.spawn(move || {
                set_thread_groups(&[])?;
                set_thread_res_gid(gid, gid, gid)?;
                set_thread_res_uid(uid, uid, uid)?;
                Ok::<T, io::Error>(work(root))
            });
            match visitor.join() {
                Ok(result) => result.map_err(FileViewError::Become),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Place {
    fn of(process: BorrowedFd<'_>) -> Result<Self, Errno> {
        let namespace = |name| statat(process, name, AtFlags::empty()).map(inode);
        let uid = root_of(&read(process, "uid_map")?);
        let gid = root_of(&read(process, "gid_map")?);
        Ok(Self {
            mounts: namespace("ns/mnt")?,
            users: namespace("ns/user")?,
            root: uid.zip(gid),
        })
    }
}

/// Whether they are the mounts, or the root directory, of the process at that path. A runtime that is about to make a
/// container has mounts of its own already, and the host's root still.
fn is_hosts(process: &str, id: FileViewId) -> Result<bool, Errno> {
    let process = open(process, CWD)?;
    let of_host = |name| statat(&process, name, AtFlags::empty()).map(inode);
    Ok(of_host("ns/mnt")? == id.mounts || of_host("root")? == id.root)
}

/// Whom 0 inside is outside, by the lines of a map: first inside, first outside, how many.
fn root_of(map: &str) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(0)), Some(Ok(outside))) => Some(outside),
            _ => None,
        }
    })
}

fn open(path: &str, at: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

fn read(process: BorrowedFd<'_>, name: &str) -> Result<String, Errno> {
    let file = openat(
        process,
        name,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut text = Vec::with_capacity(MAP_BYTES);
    rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text))?;
    String::from_utf8(text).map_err(|_not_numbers| Errno::INVAL)
}

fn inode(found: rustix::fs::Stat) -> Inode {
    (found.st_dev, found.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_root_is_outside_is_read_from_the_map() {
        for (map, expected) in [
            ("         0          0 4294967295\n", Some(0)),
            ("         0     100000      65536\n", Some(100_000)),
            (
                "      1000       1000          1\n         0     200000       1000\n",
                Some(200_000),
            ),
            ("      1000       1000          1\n", None),
            ("", None),
            ("0 x 1\n", None),
        ] {
            assert_eq!(root_of(map), expected, "{map}");
        }
    }

    #[test]
    fn kernel_the_files_of_this_host_are_no_others_and_one_that_is_gone_has_none() {
        let error = FileView::of_process(std::process::id()).unwrap_err();
        assert!(matches!(error, FileViewError::Host(_)), "{error}");
        // A security module may keep us from it.
        let error = FileView::of_process(1).unwrap_err();
        assert!(
            matches!(error, FileViewError::Host(_) | FileViewError::Look { .. }),
            "{error}"
        );
        let error = FileView::of_process(u32::MAX / 2).unwrap_err();
        assert!(matches!(error, FileViewError::NoProcess(_)), "{error}");
    }
}

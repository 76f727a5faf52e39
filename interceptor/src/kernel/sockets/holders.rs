//! Which processes hold which sockets, as /proc shows it, and a look at the very socket.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::kernel::process::{Task, numbered};

/// Holders of one socket that are kept: a server's children all have its listener.
pub(super) const HOLDERS: usize = 8;

/// A descriptor of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) task: Task,
    pub(super) fd: RawFd,
}

/// By inode, the sockets that processes hold. Descriptors that lie in a Unix socket's queue, or are known to an
/// io_uring alone, do not show.
///
/// # Errors
/// No descriptor is free, or no memory.
pub(super) fn sockets_of(processes: &[u32]) -> io::Result<BTreeMap<u64, Vec<Held>>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut tables = Vec::new();
    for tgid in processes {
        tables.extend(tables_of(*tgid)?);
    }
    for table in tables {
        let directory = PathBuf::from(format!("/proc/{}/task/{}/fd", table.tgid, table.tid));
        for fd in numbered(&directory)? {
            let link = fs::read_link(directory.join(fd.to_string()));
            let (Some(inode), Ok(fd)) = (link.ok().and_then(|l| inode(&l)), fd.try_into()) else {
                continue;
            };
            let holders = found.entry(inode).or_default();
            if holders.len() < HOLDERS {
                holders.push(Held { task: table, fd });
            }
        }
    }
    Ok(found)
}

/// `socket:[4711]`
fn inode(link: &Path) -> Option<u64> {
    let number = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}

/// One thread for each table of descriptors: threads share one unless they have taken pains not to.
fn tables_of(tgid: u32) -> io::Result<Vec<Task>> {
    let leader = Task { tgid, tid: tgid };
    let threads = numbered(Path::new(&format!("/proc/{tgid}/task")))?;
    let others = threads.into_iter().filter(|tid| *tid != tgid);
    let others = others.filter(|tid| !share_descriptors(tgid, *tid));
    Ok(std::iter::once(leader)
        .chain(others.map(|tid| Task { tgid, tid }))
        .collect())
}

/// `false` where the kernel does not tell (no `CONFIG_KCMP`).
fn share_descriptors(one: u32, other: u32) -> bool {
    const KCMP_FILES: libc::c_int = 2;
    // SAFETY: takes numbers.
    let answer = unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILES, 0_u64, 0_u64) };
    answer == 0
}

impl Held {
    /// Of its process; `None` if that has gone.
    pub(super) fn uid(self) -> Option<u32> {
        let directory = fs::metadata(format!("/proc/{}", self.task.tgid));
        directory.ok().map(|found| found.uid())
    }

    /// A descriptor of our own for the socket.
    ///
    /// # Errors
    /// Its holder is gone, has something else under the number by now, or may not be looked at.
    pub(super) fn borrow(self, inode: u64) -> io::Result<OwnedFd> {
        let flags = if self.task.tid == self.task.tgid {
            PidfdFlags::empty()
        } else {
            // PIDFD_THREAD, Linux 6.9: without it only first threads can be asked.
            PidfdFlags::from_bits_retain(libc::O_EXCL.unsigned_abs())
        };
        let pid = i32::try_from(self.task.tid).ok().and_then(Pid::from_raw);
        let pidfd = pidfd_open(pid.ok_or(io::ErrorKind::NotFound)?, flags)?;
        let socket = pidfd_getfd(&pidfd, self.fd, PidfdGetfdFlags::empty())?;
        let found = fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd()))?;
        if found.ino() != inode {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;

    #[test]
    fn kernel_a_socket_is_found_with_its_holder_and_can_be_looked_at() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let own = std::process::id();
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        let inode = fs::metadata(&path).unwrap().ino();
        let held = sockets_of(&[own]).unwrap()[&inode][0];
        assert_eq!((held.task.tgid, held.fd), (own, socket.as_raw_fd()));

        let ours = held.borrow(inode).unwrap();
        let found = fs::metadata(format!("/proc/self/fd/{}", ours.as_raw_fd())).unwrap();
        assert_eq!(found.ino(), inode);
        held.borrow(inode + 1).unwrap_err();
    }

    #[test]
    fn only_sockets_have_an_inode_here() {
        assert_eq!(inode(Path::new("socket:[4711]")), Some(4711));
        for other in ["pipe:[4711]", "/tmp/socket:[1]", "socket:[]", "socket:[1"] {
            assert_eq!(inode(Path::new(other)), None, "{other}");
        }
    }
}

//! Network namespaces: opening, telling apart, and working inside one.

use std::{
    fs::{self, File},
    io, mem,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use serde::{Deserialize, Serialize};

use super::process::Task;
use crate::address::NetnsCookie;

/// Inode number of a namespace on nsfs: unique while anything holds the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct NetnsInode(u64);

impl NetnsInode {
    /// Of a link under /proc; `None` when its process is gone.
    pub(super) fn of_link(link: &Path) -> Option<Self> {
        fs::metadata(link).ok().map(|found| Self(found.ino()))
    }

    /// Of the namespace that this process is in.
    pub(crate) fn current() -> Option<Self> {
        Self::of_link(Path::new("/proc/self/ns/net"))
    }
}

/// Why nothing can be done inside a namespace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetnsError {
    #[error("cannot open {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot enter the network namespace")]
    Enter(#[source] io::Error),
    #[error("cannot ask for the network namespace's cookie (needs Linux 5.14)")]
    Cookie(#[source] io::Error),
    #[error("cannot ask for the network namespace of a socket")]
    OfSocket(#[source] io::Error),
    #[error("there is no socket in the network namespace")]
    NoSocket,
}

/// A handle on a network namespace, which keeps it alive.
#[derive(Debug)]
pub(crate) struct Netns {
    handle: OwnedFd,
    inode: NetnsInode,
    cookie: NetnsCookie,
}

impl Netns {
    /// The namespace that a thread is in.
    pub(crate) fn of_task(task: Task) -> Result<Self, NetnsError> {
        Self::open(&task.netns_path())
    }

    /// The namespace that this process is in.
    pub(super) fn current() -> Result<Self, NetnsError> {
        Self::open(Path::new("/proc/self/ns/net"))
    }

    pub(super) fn open(path: &Path) -> Result<Self, NetnsError> {
        let failed = |source| NetnsError::Open {
            path: path.to_owned(),
            source,
        };
        let handle = File::open(path).map_err(failed)?;
        Self::of_handle(handle, failed)
    }

    /// The namespace that a socket is in, whoever else is.
    pub(crate) fn of_socket(socket: BorrowedFd<'_>) -> Result<Self, NetnsError> {
        // SAFETY: SIOCGSKNS takes no argument, and the descriptor is open for the call.
        let handle = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGSKNS as _) };
        if handle < 0 {
            return Err(NetnsError::OfSocket(io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just given this descriptor to us alone.
        let handle = unsafe { OwnedFd::from_raw_fd(handle) };
        Self::of_handle(File::from(handle), NetnsError::OfSocket)
    }

    fn of_handle(
        handle: File,
        failed: impl FnOnce(io::Error) -> NetnsError,
    ) -> Result<Self, NetnsError> {
        let inode = NetnsInode(handle.metadata().map_err(failed)?.ino());
        let handle = OwnedFd::from(handle);
        let cookie = within(handle.as_fd(), own_cookie)?.map_err(NetnsError::Cookie)?;
        Ok(Self {
            handle,
            inode,
            cookie,
        })
    }

    pub(crate) fn inode(&self) -> NetnsInode {
        self.inode
    }

    pub(crate) fn cookie(&self) -> NetnsCookie {
        self.cookie
    }

    /// Runs `work` on a thread inside the namespace. Sockets that it makes stay there.
    pub(super) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        within(self.as_fd(), work)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// A thread of its own, because setns(2) moves the calling thread and there is no way back that cannot fail.
pub(super) fn within<T: Send>(
    handle: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, NetnsError> {
    thread::scope(|scope| {
        let visitor = scope.spawn(move || {
            move_into_link_name_space(handle, Some(LinkNameSpaceType::Network))?;
            Ok::<T, io::Error>(work())
        });
        match visitor.join() {
            Ok(result) => result.map_err(NetnsError::Enter),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn own_cookie() -> io::Result<NetnsCookie> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    cookie_of(socket.as_fd())
}

/// Of the namespace that a socket was made in.
pub(super) fn cookie_of(socket: BorrowedFd<'_>) -> io::Result<NetnsCookie> {
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(mem::size_of_val(&cookie)).unwrap_or_default();
    // SAFETY: the kernel writes at most `length` bytes, the size of `cookie`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(NetnsCookie(cookie))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::fixtures::Isolated;

    #[test]
    fn kernel_two_namespaces_differ_in_cookie_and_inode() {
        let own = Netns::current().unwrap();
        let other = Isolated::new();
        assert_ne!(own.cookie(), other.netns().cookie());
        assert_ne!(own.inode(), other.netns().inode());
        let again = Netns::of_task(other.task()).unwrap();
        assert_eq!(again.cookie(), other.netns().cookie());
        let by_socket = Netns::of_socket(other.listen(0).as_fd()).unwrap();
        assert_eq!(by_socket.cookie(), other.netns().cookie());
        assert_eq!(by_socket.inode(), other.netns().inode());
    }
}

//! Who is at the other end of a Unix socket.

use std::{
    fs, io, mem,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// The process that connected, which may have gone since.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    /// As seen from here; `None` for one of a pid namespace that cannot be seen.
    pid: Option<u32>,
    /// Names the process even when its number is given to another one. Before Linux 6.5 there is none.
    handle: Option<OwnedFd>,
}

impl Peer {
    pub(crate) fn of(socket: &impl AsFd) -> io::Result<Self> {
        let socket = socket.as_fd().as_raw_fd();
        let credentials: libc::ucred = option(socket, libc::SO_PEERCRED)?;
        let handle = option::<RawFd>(socket, libc::SO_PEERPIDFD).ok();
        Ok(Self {
            uid: credentials.uid,
            pid: u32::try_from(credentials.pid).ok().filter(|pid| *pid != 0),
            handle: handle.map(|fd| {
                // SAFETY: the kernel has just made it for us, and nobody else knows of it.
                unsafe { OwnedFd::from_raw_fd(fd) }
            }),
        })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Whether its number has been its own until now: what was read of /proc meanwhile is about it.
    pub(crate) fn is_alive(&self) -> bool {
        let Some(handle) = &self.handle else {
            return true;
        };
        // proc_pid_fdinfo(5): -1 once it is gone.
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_raw_fd()));
        info.is_ok_and(|info| {
            let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
            pid.and_then(|pid| pid.trim().parse().ok()) == self.pid
        })
    }
}

/// Reads an option of the size of `T`, which is of integers.
fn option<T>(socket: RawFd, name: libc::c_int) -> io::Result<T> {
    // SAFETY: integers, for which zero is a value.
    let mut value: T = unsafe { mem::zeroed() };
    let size = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let mut length = size;
    // SAFETY: the kernel writes at most `length` bytes to `value`, which is as long.
    let result = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if length != size {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::net::{UnixListener, UnixStream},
        process::{Command, Stdio},
    };

    use super::*;

    const PATH: &str = "INTERCEPTOR_TEST_SOCKET";

    #[test]
    fn a_peer_is_known_by_its_number_and_user() {
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = Peer::of(&here).unwrap();
        assert_eq!(peer.pid(), Some(std::process::id()));
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert!(peer.is_alive());
    }

    #[test]
    fn a_peer_that_has_gone_is_not_taken_for_who_gets_its_number() {
        if let Some(path) = std::env::var_os(PATH) {
            let _peer = UnixStream::connect(path).unwrap();
            std::io::read_to_string(std::io::stdin()).unwrap();
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["a_peer_that_has_gone", "--test-threads=1"])
            .env(PATH, &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (socket, _) = listener.accept().unwrap();
        let peer = Peer::of(&socket).unwrap();
        assert_eq!(peer.pid(), Some(child.id()));
        assert!(peer.is_alive());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(peer.is_alive(), peer.handle.is_none());
    }
}

//! Putting a process into a cgroup and a network namespace, without privileges.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    io::{retry_on_intr, write},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use tokio::process::Command;

use super::{
    cgroup::{Cgroup, CgroupError},
    child::{Child, Tether},
    credentials::Credentials,
    loopback,
    netns::{Netns, NetnsError},
    process::Task,
};

/// Which network namespace a command gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// A new one, with no device but lo.
    Own,
    /// The one that it is started from.
    Host,
}

/// Why a process could not be put into its place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error("cannot start a process in the sandbox's place")]
    Fork(#[source] io::Error),
    #[error(
        "cannot enter the cgroup or the network namespace, or drop privileges (this needs root)"
    )]
    Enter(#[source] io::Error),
}

/// For a process to settle in its place.
const DEADLINE: Duration = Duration::from_secs(10);

/// A process that waits in a cgroup and a network namespace, so that both are inhabited before the command comes: the
/// namespace gets its listeners at attach, and the command's first datagram is not lost.
#[derive(Debug)]
pub(crate) struct Holder {
    _child: Child,
    netns: Netns,
}

impl Holder {
    /// # Errors
    /// Not root, or the kernel has no room for a process or a namespace.
    pub(crate) fn start(
        cgroup: &Cgroup,
        network: Network,
        credentials: &Credentials,
    ) -> Result<Self, LaunchError> {
        let procs = cgroup.open_procs()?;
        let body = |tether: &Tether| {
            let settled = enter_new(procs.as_fd(), network).and_then(|()| credentials.assume());
            let code = settled.map_or_else(|e| e.raw_os_error().unwrap_or(libc::EIO), |()| 0);
            tether.report(&code.to_ne_bytes())?;
            tether.wait()
        };
        // SAFETY: `body` makes system calls on descriptors and memory prepared above, and allocates nothing.
        let child = unsafe { Child::fork(body) }.map_err(LaunchError::Fork)?;
        let report = child.report(Instant::now() + DEADLINE);
        match report.map(i32::from_ne_bytes).map_err(LaunchError::Fork)? {
            0 => {}
            code => return Err(LaunchError::Enter(io::Error::from_raw_os_error(code))),
        }
        let netns = Netns::of_task(Task {
            tgid: child.pid(),
            tid: child.pid(),
        })?;
        Ok(Self {
            _child: child,
            netns,
        })
    }

    pub(crate) fn netns(&self) -> &Netns {
        &self.netns
    }
}

/// What a command goes through between fork and exec.
#[derive(Debug)]
pub(crate) struct Confinement {
    procs: File,
    netns: OwnedFd,
    credentials: Credentials,
}

impl Confinement {
    pub(crate) fn new(
        cgroup: &Cgroup,
        netns: &Netns,
        credentials: Credentials,
    ) -> Result<Self, LaunchError> {
        let netns = netns.as_fd().try_clone_to_owned();
        Ok(Self {
            procs: cgroup.open_procs()?,
            netns: netns.map_err(LaunchError::Fork)?,
            credentials,
        })
    }

    /// Has the command join the cgroup and the namespace and drop privileges before it runs. The standard library
    /// already gives it default signal dispositions and an empty mask.
    pub(crate) fn apply(self, command: &mut Command) {
        let enter = move || {
            join(self.procs.as_fd())?;
            move_into_link_name_space(self.netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            self.credentials.assume()
        };
        // SAFETY: system calls on descriptors and memory prepared before, no allocation, no lock.
        unsafe { command.pre_exec(enter) };
    }
}

fn enter_new(procs: BorrowedFd<'_>, network: Network) -> io::Result<()> {
    join(procs)?;
    if network == Network::Own {
        // SAFETY: the file descriptor table stays shared as it was; only the network namespace is new.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
        loopback::bring_up()?;
    }
    Ok(())
}

/// 0 stands for the process that writes it (cgroups(7)).
fn join(procs: BorrowedFd<'_>) -> io::Result<()> {
    retry_on_intr(|| write(procs, b"0"))?;
    Ok(())
}

//! Putting a process into a cgroup and a network namespace, without privileges.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::{
    io::{read, retry_on_intr, write},
    pipe::{PipeFlags, pipe_with},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use tokio::process::Command;

use super::{
    cgroup::{Cgroup, CgroupError},
    child::Child,
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

/// A process that waits in a cgroup and a network namespace, so that both are inhabited before the command comes: the
/// namespace gets its listeners at attach, and the command's first datagram is not lost.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
    netns: Netns,
    /// The child leaves when this closes, even if this process is killed.
    _hold: OwnedFd,
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
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|e| LaunchError::Fork(e.into()));
        let (settled_reader, settled) = pipe()?;
        let (held, hold) = pipe()?;
        let hold_in_child = hold.as_raw_fd();
        let body = || {
            // SAFETY: the child's copy of the descriptor; the parent's is another, and the child never returns to it.
            drop(unsafe { OwnedFd::from_raw_fd(hold_in_child) });
            let result = enter_new(procs.as_fd(), network).and_then(|()| credentials.assume());
            // Nothing is ever written: the wait ends with the parent's descriptor.
            let waited = report(&settled, &result)
                .and_then(|()| Ok(retry_on_intr(|| read(&held, &mut [0_u8; 1]))?));
            u8::from(waited.is_err())
        };
        // SAFETY: `body` makes system calls on descriptors and memory prepared above, and allocates nothing.
        let child = unsafe { Child::fork(body) }.map_err(LaunchError::Fork)?;
        drop(settled);
        await_report(settled_reader).map_err(LaunchError::Enter)?;
        let netns = Netns::of_task(Task {
            tgid: child.pid(),
            tid: child.pid(),
        })?;
        Ok(Self {
            child,
            netns,
            _hold: hold,
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

/// Sends the parent 0, or the error's number.
fn report(pipe: &OwnedFd, result: &io::Result<()>) -> io::Result<()> {
    let code = match result {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
    };
    retry_on_intr(|| write(pipe, &code.to_ne_bytes()))?;
    Ok(())
}

fn await_report(pipe: OwnedFd) -> io::Result<()> {
    let mut code = [0; size_of::<i32>()];
    File::from(pipe).read_exact(&mut code)?;
    match i32::from_ne_bytes(code) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

//! Putting a process into a cgroup and a network namespace, without privileges.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
    time::{Duration, Instant},
};

use rustix::{
    io::{retry_on_intr, write},
    process::{Signal, set_parent_process_death_signal},
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
        let child = unsafe { Child::fork(&[procs.as_fd()], body) }.map_err(LaunchError::Fork)?;
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

    /// Has the command join the cgroup and the namespace, treat signals as usual and drop privileges before it runs,
    /// and end with the thread that starts it.
    /// The standard library has already given it an empty signal mask.
    pub(crate) fn apply(self, command: &mut Command) {
        withhold_sockets();
        let enter = move || {
            join(self.procs.as_fd())?;
            move_into_link_name_space(self.netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            default_signals();
            self.credentials.assume()?;
            // A change of user would have reset it.
            set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        };
        // SAFETY: system calls on descriptors and memory prepared before, no allocation, no lock.
        unsafe { command.pre_exec(enter) };
    }
}

/// Keeps sockets that this process has inherited from going on to the command: a socket stays in the cgroup in which it
/// was made, and no program would see what it sends. The standard ones are the caller's wish.
fn withhold_sockets() {
    let entries = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let numbers = entries
        .filter(|entry| {
            fs::read_link(entry.path())
                .is_ok_and(|link| link.to_string_lossy().starts_with("socket:"))
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    for number in numbers.filter(|number| *number > libc::STDERR_FILENO) {
        // SAFETY: sets a flag; at worst of another descriptor that has taken the number meanwhile, which then does not
        // go on either.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// What is ignored stays ignored over exec, and what a supervisor ignores is not the command's business.
fn default_signals() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: sets no handler. KILL, STOP and those that the C library keeps for itself are refused.
        unsafe { libc::signal(number, libc::SIG_DFL) };
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

/// Moves the calling process into a cgroup. Async-signal-safe.
pub(super) fn join(procs: BorrowedFd<'_>) -> io::Result<()> {
    // 0 stands for the process that writes it (cgroups(7)).
    retry_on_intr(|| write(procs, b"0"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::fixtures::ScratchCgroup;

    async fn run(cgroup: &Cgroup, network: Network, script: &str) -> String {
        let nobody = Credentials::of("nobody").unwrap();
        let holder = Holder::start(cgroup, network, &nobody).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let place = Confinement::new(cgroup, holder.netns(), nobody).unwrap();
        place.apply(&mut command);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[tokio::test]
    async fn kernel_a_command_has_no_privileges_and_cannot_gain_any() {
        let cgroup = ScratchCgroup::new("confined");
        let status = run(&cgroup, Network::Own, "cat /proc/self/status").await;
        let field = |name: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.unwrap().trim().to_owned()
        };
        let nobody = Credentials::of("nobody").unwrap().uid();
        assert_eq!(field("Uid"), [nobody.to_string().as_str(); 4].join("\t"));
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        assert_eq!(field("NoNewPrivs"), "1");
        assert!(!field("Groups").split(' ').any(|group| group == "0"));
        // The C library keeps two for itself and does not touch their dispositions.
        let ignored = u64::from_str_radix(&field("SigIgn"), 16).unwrap();
        assert_eq!(ignored & !(0b11 << 31), 0, "{ignored:x}");
    }

    #[tokio::test]
    async fn kernel_a_command_is_in_its_cgroup_and_sees_no_device_but_lo() {
        let cgroup = ScratchCgroup::new("placed");
        let script = "cat /proc/self/cgroup; tail -n +3 /proc/net/dev";
        let seen = run(&cgroup, Network::Own, script).await;
        let name = cgroup.path().file_name().unwrap().to_str().unwrap();
        assert!(seen.contains(&format!("0::/{name}\n")), "{seen}");
        let devices = seen.lines().filter(|line| line.contains(": ")).count();
        assert_eq!(devices, 1, "{seen}");
        assert!(seen.contains("lo:"), "{seen}");
        assert_eq!(cgroup.processes().unwrap(), [0_u32; 0]);
    }

    #[tokio::test]
    async fn kernel_a_command_may_stay_in_the_namespace_of_the_host() {
        let cgroup = ScratchCgroup::new("host");
        let seen = run(&cgroup, Network::Host, "readlink /proc/self/ns/net").await;
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(seen.trim(), own.to_str().unwrap());
    }
}

//! One captured connection, end to end, before any sandbox is trusted to the programs.
//!
//! In a scratch cgroup and with maps of its own, a child connects over loopback. If the daemon cannot tell from what
//! arrives who connected and where to, the programs and the daemon do not speak the same language, and it must not run.

pub(super) mod probe;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::Path,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use self::probe::Probe;
use super::{
    cgroup::{CgroupError, Claim, Hierarchy},
    links::LinkError,
    listeners::{Listeners, ListenersError, Pair, Transport},
    maps::{MapsError, NetnsEntry, NetnsState},
    netns::{Netns, NetnsError},
    programs::Programs,
};
use crate::{
    address::{NetnsCookie, SandboxId},
    config::Exemptions,
    error::chain,
};

/// Far longer than loopback takes, also under emulation.
const DEADLINE: Duration = Duration::from_secs(5);
/// Port of the discard service: where it exists, it is harmless.
const PORT: u16 = 9;
/// What the names of scratch cgroups begin with.
const SCRATCH: &str = "interceptor-selftest-";
const SANDBOX: SandboxId = SandboxId(u32::MAX);

/// Why the capture is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelfTestError {
    #[error("self-test: cannot set it up")]
    Cgroup(#[from] CgroupError),
    #[error("self-test: cannot set it up")]
    Link(#[from] LinkError),
    #[error("self-test: cannot set it up")]
    Maps(#[from] MapsError),
    #[error("self-test: cannot set it up")]
    Netns(#[from] NetnsError),
    #[error("self-test: cannot set it up")]
    Listeners(#[from] ListenersError),
    #[error("self-test: cannot run a child process")]
    Child(#[source] io::Error),
    #[error("self-test: a connect to {0} from the scratch cgroup was not captured")]
    NotCaptured(SocketAddr, #[source] io::Error),
    #[error("self-test: a captured client sees {seen} as its peer instead of {asked}")]
    Peer { asked: SocketAddr, seen: String },
    #[error("self-test: a captured connection to {0} came without a flow record")]
    NoFlow(SocketAddr),
    #[error("self-test: the flow record of a connection to {asked} says {said}")]
    WrongFlow { asked: SocketAddr, said: String },
    #[error("self-test: cannot listen on loopback")]
    Server(#[source] io::Error),
    #[error("self-test: a connect to {0}, which is exempt, was captured")]
    Captured(SocketAddr, #[source] io::Error),
    #[error("self-test: a datagram that is not DNS left a captured socket")]
    Datagram,
}

/// Runs it; takes a few milliseconds. `programs` are a [trial](Programs::trial): nothing that it leaves is pinned.
/// Answers whether sockets of other families are refused, or why they cannot be.
pub(crate) fn self_test(
    programs: &Programs,
    hierarchy: &Hierarchy,
) -> Result<Result<(), String>, SelfTestError> {
    let scratch = Scratch::create(hierarchy)?;
    let cgroup = &scratch.0.cgroup;
    let listeners = Listeners::open(&Netns::current()?, 0)?;
    let entry = NetnsEntry {
        state: NetnsState::Ready,
        port: listeners.port,
        has_v6: listeners.v6.is_some(),
        // Loopback is captured, as in every namespace that is shared.
        private: false,
    };
    programs.mark_listeners(&listeners)?;
    programs.set_netns(listeners.netns, entry)?;
    let server = exempt_server(programs)?;
    let links = programs.link_all(SANDBOX, cgroup)?;
    let watched = programs.try_families(cgroup);

    let mut rounds = vec![(
        &listeners.v4,
        SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), PORT)),
    )];
    if let Some(pair) = &listeners.v6 {
        rounds.push((pair, SocketAddr::from((Ipv6Addr::LOCALHOST, PORT))));
    }
    let exempt = server.local_addr().map_err(SelfTestError::Server)?;
    let mut asked: Vec<_> = rounds.iter().map(|(_, asked)| *asked).collect();
    asked.push(exempt);
    let probe =
        Probe::start(cgroup, &asked, Instant::now() + DEADLINE).map_err(SelfTestError::Child)?;
    for (index, (pair, asked)) in rounds.into_iter().enumerate() {
        check_client(&probe, index, asked)?;
        check_flow(programs, listeners.netns, pair, asked, probe.pid())?;
    }
    check_client(&probe, asked.len() - 1, exempt)?;
    server
        .accept()
        .map_err(|error| SelfTestError::Captured(exempt, error))?;
    if probe.datagram != Err(libc::EPERM) {
        return Err(SelfTestError::Datagram);
    }
    drop(links);
    Ok(match watched {
        Err(error) => Err(chain(&error)),
        Ok(Some(_link)) if probe.family == Err(libc::EAFNOSUPPORT) => Ok(()),
        Ok(Some(_without_effect)) => Err("the kernel does not run BPF programs of security modules: bpf is not in its parameter lsm=".to_owned()),
        Ok(None) => programs.families().map_err(str::to_owned),
    })
}

/// A server that the client may reach past the daemon.
fn exempt_server(programs: &Programs) -> Result<TcpListener, SelfTestError> {
    let server =
        TcpListener::bind((Ipv4Addr::new(127, 0, 0, 3), 0)).map_err(SelfTestError::Server)?;
    server
        .set_nonblocking(true)
        .map_err(SelfTestError::Server)?;
    let exemptions = Exemptions {
        tcp: vec![server.local_addr().map_err(SelfTestError::Server)?],
        ..Exemptions::default()
    };
    programs.exempt(SANDBOX, &exemptions)?;
    Ok(server)
}

fn check_client(probe: &Probe, index: usize, asked: SocketAddr) -> Result<(), SelfTestError> {
    match probe.connects.get(index) {
        Some(Ok(seen)) if *seen == asked => Ok(()),
        Some(Ok(seen)) => Err(SelfTestError::Peer {
            asked,
            seen: seen.to_string(),
        }),
        Some(Err(code)) => Err(SelfTestError::NotCaptured(
            asked,
            io::Error::from_raw_os_error(*code),
        )),
        None => Err(SelfTestError::NotCaptured(
            asked,
            io::ErrorKind::UnexpectedEof.into(),
        )),
    }
}

/// The client's connect has returned, so that the connection waits to be accepted.
fn check_flow(
    programs: &Programs,
    netns: NetnsCookie,
    pair: &Pair,
    asked: SocketAddr,
    pid: u32,
) -> Result<(), SelfTestError> {
    let (_, peer) = pair
        .tcp
        .accept()
        .map_err(|error| SelfTestError::NotCaptured(asked, error))?;
    let origin = programs
        .take_flow(netns, peer, Transport::Tcp)
        .ok_or(SelfTestError::NoFlow(asked))?;
    let right = origin.sandbox == SANDBOX
        && origin.netns == netns
        && origin.process.tgid == pid
        && origin.original.0 == asked;
    if right {
        return Ok(());
    }
    Err(SelfTestError::WrongFlow {
        asked,
        said: format!(
            "sandbox {}, namespace {}, process {}, destination {}; expected {SANDBOX}, {netns}, {pid}, {asked}",
            origin.sandbox, origin.netns, origin.process.tgid, origin.original
        ),
    })
}

/// A cgroup that goes with the test, whatever comes of it.
struct Scratch(Claim);

impl Scratch {
    fn create(hierarchy: &Hierarchy) -> Result<Self, CgroupError> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Relaxed);
        hierarchy.clear(Path::new(""), SCRATCH);
        let name = format!("{SCRATCH}{}-{run}", std::process::id());
        hierarchy.claim(Path::new(&name)).map(Self)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let cgroup = &self.0.cgroup;
        let removed = cgroup.kill().and_then(|()| cgroup.remove());
        if let Err(error) = removed {
            tracing::warn!(path = %cgroup.path().display(), error = chain(&error), "cannot remove the self-test's cgroup");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_the_self_test_passes_and_leaves_nothing() {
        let hierarchy = Hierarchy::find().unwrap();
        let programs = Programs::trial().unwrap();
        let families = self_test(&programs, &hierarchy).unwrap();
        let counters: std::collections::HashMap<_, _> = programs.counters().into_iter().collect();
        assert!(counters["connects"] >= 2, "{counters:?}");
        assert!(counters["denials"] >= 1, "{counters:?}");
        let known = std::env::var("KERNEL_HAS").is_ok_and(|has| has.contains("lsm_cgroup"));
        assert!(families.is_ok() || !known, "{families:?}");
        let name = format!("interceptor-selftest-{}", std::process::id());
        let root = hierarchy.cgroup(Path::new("/")).unwrap();
        let left = || {
            let entries = std::fs::read_dir(root.path()).unwrap();
            let mut names = entries.map(|entry| entry.unwrap().file_name());
            names.any(|found| found.to_string_lossy().starts_with(&name))
        };
        // Other tests of this process run it too.
        let deadline = Instant::now() + DEADLINE;
        while left() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

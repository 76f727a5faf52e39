//! The cgroup programs: loading them, all or none.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::MapError,
    programs::{Program, ProgramError},
};

use interceptor_ebpf::socket::LISTENER;

use super::{
    bpf::AttachType,
    bpffs::{Pins, PinsError},
    devices,
    events::Events,
    family,
    features::{self, Missing},
    listeners::{Listeners, Transport},
    maps::{Maps, MapsError, NetnsEntry},
    text_log,
};
use crate::{
    address::{CgroupId, NetnsCookie, SandboxId},
    error::chain,
    flow::Origin,
};

/// The object built by `cargo xtask build-ebpf`: little-endian bytecode, the same for every architecture.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/interceptor.bpf.o"));

/// One program of the object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hook {
    pub(super) name: &'static str,
    pub(super) attach_type: AttachType,
    /// For an operator whose kernel lacks it.
    feature: &'static str,
}

/// In the order of attaching. The fence comes first and closes everything, sock_create last: until it gives sockets
/// an owner, every connect is refused, so that nothing is open in between. Detaching goes the other way.
pub(super) const HOOKS: [Hook; 13] = [
    Hook {
        name: "egress",
        attach_type: AttachType::Egress,
        feature: "cgroup_skb/egress programs with socket storage (Linux 5.9)",
    },
    Hook {
        name: "connect4",
        attach_type: AttachType::Connect4,
        feature: "cgroup/connect4 programs with socket storage and netns cookies (Linux 5.7)",
    },
    Hook {
        name: "connect6",
        attach_type: AttachType::Connect6,
        feature: "cgroup/connect6 programs with socket storage and netns cookies (Linux 5.7)",
    },
    Hook {
        name: "sendmsg4",
        attach_type: AttachType::Sendmsg4,
        feature: "cgroup/sendmsg4 programs with socket storage and netns cookies (Linux 5.7)",
    },
    Hook {
        name: "sendmsg6",
        attach_type: AttachType::Sendmsg6,
        feature: "cgroup/sendmsg6 programs with socket storage and netns cookies (Linux 5.7)",
    },
    Hook {
        name: "recvmsg4",
        attach_type: AttachType::Recvmsg4,
        feature: "cgroup/recvmsg4 programs (Linux 5.2)",
    },
    Hook {
        name: "recvmsg6",
        attach_type: AttachType::Recvmsg6,
        feature: "cgroup/recvmsg6 programs (Linux 5.2)",
    },
    Hook {
        name: "getpeername4",
        attach_type: AttachType::Getpeername4,
        feature: "cgroup/getpeername4 programs (Linux 5.8)",
    },
    Hook {
        name: "getpeername6",
        attach_type: AttachType::Getpeername6,
        feature: "cgroup/getpeername6 programs (Linux 5.8)",
    },
    Hook {
        name: "tcp_events",
        attach_type: AttachType::SockOps,
        feature: "sock_ops programs with socket storage and netns cookies (Linux 5.14)",
    },
    Hook {
        name: "setsockopt",
        attach_type: AttachType::Setsockopt,
        feature: "cgroup/setsockopt programs with socket storage (Linux 5.12)",
    },
    Hook {
        name: "sock_release",
        attach_type: AttachType::SockRelease,
        feature: "cgroup/sock_release programs with socket storage (Linux 5.9)",
    },
    Hook {
        name: "sock_create",
        attach_type: AttachType::SockCreate,
        feature: "cgroup/sock_create programs with socket storage and bpf_set_retval (Linux 5.18)",
    },
];

/// Why the programs are not in the kernel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("loading cgroup programs needs root")]
    NotRoot,
    #[error(
        "the cgroup v1 controller {0} is mounted, which takes sockets out of their cgroup2 before Linux 5.15: \
         boot with cgroup_no_v1={0}"
    )]
    MixedCgroups(&'static str),
    #[error("{0}: refusing to run half-protected")]
    Missing(Missing),
    #[error("cannot load the BPF object")]
    Object(#[source] EbpfError),
    #[error("the BPF object has no program {0}: it is not of this release")]
    Absent(&'static str),
    #[error(transparent)]
    Maps(#[from] MapsError),
    #[error(transparent)]
    Pins(#[from] PinsError),
}

/// The loaded programs and their maps. Dropping them leaves what is pinned in force.
pub(crate) struct Programs {
    object: Ebpf,
    maps: Maps,
    pins: Option<Pins>,
    /// Whether the kernel takes the program over socket families, or why not.
    families: Result<(), String>,
}

impl Programs {
    /// Loads everything with maps of its own and pins nothing: shows whether the kernel takes it.
    pub(crate) fn trial() -> Result<Self, LoadError> {
        check_kernel()?;
        Self::load(None)
    }

    /// Loads the programs onto the pinned maps under `bpf_dir`, which are made where they are missing.
    pub(crate) fn pinned(bpf_dir: &Path) -> Result<Self, LoadError> {
        check_kernel()?;
        Self::load(Some(Pins::open(bpf_dir)?))
    }

    /// The same beside a daemon that shares its lock: nothing changes for it.
    pub(crate) fn shared(bpf_dir: &Path, lock: OwnedFd) -> Result<Self, LoadError> {
        check_kernel()?;
        Self::load(Some(Pins::share(bpf_dir, lock)?))
    }

    fn load(pins: Option<Pins>) -> Result<Self, LoadError> {
        let mut loader = EbpfLoader::new();
        if let Some(pins) = &pins {
            let directory = pins.maps();
            Maps::check_pins(&directory)?;
            for name in Maps::PINNED {
                loader.map_pin_path(name, directory.join(name));
            }
        }
        let mut object = loader.load(OBJECT).map_err(object_error)?;
        load_hooks(&mut object)?;
        let families = family::load(&mut object);
        load_device_fence(&mut object)?;
        if pins.is_some()
            && let Err(error) = text_log::follow(&mut object)
        {
            tracing::warn!(%error, "the programs' text is not followed");
        }
        let maps = Maps::take(&mut object)?;
        Ok(Self {
            object,
            maps,
            pins,
            families,
        })
    }

    /// The ring buffer's reader, once. To be called inside a runtime.
    pub(crate) fn events(&self) -> Option<io::Result<Events>> {
        let ring = self.maps.take_events()?;
        Some(ring.map_err(io::Error::other).and_then(Events::new))
    }

    /// Who is at the other end; see [`Transport`]. `None`: it did not come from a sandbox.
    pub(crate) fn take_flow(
        &self,
        netns: NetnsCookie,
        peer: std::net::SocketAddr,
        transport: Transport,
    ) -> Option<Origin> {
        self.maps.take_flow(netns, peer, transport)
    }

    pub(crate) fn set_netns(
        &self,
        cookie: NetnsCookie,
        entry: NetnsEntry,
    ) -> Result<(), MapsError> {
        self.maps.set_netns(cookie, entry)
    }

    /// Removes flow records that nobody will ask for.
    pub(crate) fn expire_flows(&self) {
        self.maps.expire_flows();
    }

    pub(crate) fn remove_netns(&self, cookie: NetnsCookie) -> Result<(), MapsError> {
        self.maps.remove_netns(cookie)
    }

    /// What the programs know of a namespace.
    pub(crate) fn netns_entry(&self, cookie: NetnsCookie) -> Option<NetnsEntry> {
        self.maps.netns_entry(cookie)
    }

    /// All namespaces that the programs know, with the time since each was announced.
    pub(crate) fn netns(&self) -> Vec<(NetnsCookie, NetnsEntry, std::time::Duration)> {
        self.maps.netns()
    }

    /// All cgroups that the programs know as sandboxes.
    pub(crate) fn sandboxes(&self) -> Vec<(CgroupId, SandboxId)> {
        self.maps.sandboxes()
    }

    /// What the programs have counted, by name, over all sandboxes and since the maps were made.
    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        self.maps.counters()
    }

    /// The lock on the pins, to be shared.
    pub(crate) fn lock(&self) -> Option<BorrowedFd<'_>> {
        self.pins.as_ref().map(Pins::lock)
    }

    #[cfg(test)]
    pub(crate) fn fill_flows(&self, sandbox: SandboxId) -> Vec<interceptor_ebpf::flow::FlowKey> {
        self.maps.fill_flows(sandbox)
    }

    #[cfg(test)]
    pub(crate) fn drain_flows(&self, keys: Vec<interceptor_ebpf::flow::FlowKey>) {
        self.maps.drain_flows(keys);
    }

    /// Enters cgroups that there are not, until the table is full.
    #[cfg(test)]
    pub(crate) fn fill_sandboxes(&self) -> Vec<(CgroupId, SandboxId)> {
        let numbers = (1..=interceptor_ebpf::sandbox::MAX_SANDBOXES).map(|number| {
            let (cgroup, id) = (CgroupId(u64::from(number) << 40), SandboxId(number));
            ((cgroup, id), self.maps.enter_sandbox(cgroup, id))
        });
        let entered = numbers.take_while(|(_, entered)| entered.is_ok());
        entered.map(|(filler, _)| filler).collect()
    }

    #[cfg(test)]
    pub(crate) fn drain_sandboxes(&self, fillers: Vec<(CgroupId, SandboxId)>) {
        for (cgroup, id) in fillers {
            self.maps.remove_sandbox(id, cgroup).unwrap();
        }
    }

    /// Enters namespaces that there are not, until the table is full.
    #[cfg(test)]
    pub(crate) fn fill_netns(&self) {
        let entry = NetnsEntry {
            state: super::maps::NetnsState::Pending,
            port: 1,
            has_v6: false,
            private: false,
        };
        let cookies = (1..=u64::from(interceptor_ebpf::netns::MAX_NETNS)).map(|n| n << 40);
        for cookie in cookies {
            if self.maps.set_netns(NetnsCookie(cookie), entry).is_err() {
                return;
            }
        }
    }

    /// What the programs have refused a sandbox since it was attached.
    pub(crate) fn denials(&self, id: SandboxId) -> u64 {
        self.maps.tally(id).denials
    }

    pub(super) fn maps(&self) -> &Maps {
        &self.maps
    }

    pub(super) fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// By which links tell their program.
    pub(super) fn number(&self, hook: &Hook) -> io::Result<u32> {
        let program = self
            .object
            .program(hook.name)
            .ok_or(io::ErrorKind::NotFound)?;
        let info = program.info().map_err(io::Error::other)?;
        Ok(info.id())
    }

    /// Takes what a [self-test](super::self_test) has seen for what this kernel does.
    pub(crate) fn with_families(mut self, seen: Result<(), String>) -> Self {
        self.families = self.families.and(seen);
        self
    }

    /// Marks the daemon's sockets: nobody else gets what is captured.
    pub(crate) fn mark_listeners(&self, listeners: &Listeners) -> Result<(), MapsError> {
        listeners
            .handles()
            .try_for_each(|socket| self.maps.mark_socket(socket, LISTENER))
    }

    /// Whether sockets of families that the other programs do not see are refused, or why they cannot be.
    pub(crate) fn families(&self) -> Result<(), &str> {
        self.families.as_ref().copied().map_err(String::as_str)
    }

    pub(super) fn program(&self, hook: &Hook) -> io::Result<BorrowedFd<'_>> {
        self.program_named(hook.name)
    }

    pub(super) fn program_named(&self, name: &str) -> io::Result<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        let program = self.object.program(name).ok_or(io::ErrorKind::NotFound)?;
        program.fd().map(AsFd::as_fd).map_err(io::Error::other)
    }
}

fn check_kernel() -> Result<(), LoadError> {
    if !rustix::process::geteuid().is_root() {
        return Err(LoadError::NotRoot);
    }
    if let Some(controller) = features::spoiler() {
        return Err(LoadError::MixedCgroups(controller));
    }
    Ok(())
}

fn load_hooks(object: &mut Ebpf) -> Result<(), LoadError> {
    let mut missing = Vec::new();
    for hook in &HOOKS {
        let program = object
            .program_mut(hook.name)
            .ok_or(LoadError::Absent(hook.name))?;
        let Err(error) = load_hook(program) else {
            continue;
        };
        tracing::debug!(
            program = hook.name,
            error = chain(&error),
            "the kernel refuses a program"
        );
        match error {
            ProgramError::LoadError { io_error, .. } => missing.push((hook.feature, io_error)),
            other => return Err(LoadError::Object(other.into())),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(LoadError::Missing(Missing::new(missing)))
}

/// The program is of a kind that every kernel takes; only newer ones let it be put on devices by links.
fn load_device_fence(object: &mut Ebpf) -> Result<(), LoadError> {
    let Some(Program::SchedClassifier(program)) = object.program_mut(devices::PROGRAM) else {
        return Err(LoadError::Absent(devices::PROGRAM));
    };
    program
        .load()
        .map_err(|error| LoadError::Object(error.into()))
}

fn load_hook(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::CgroupSkb(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSockopt(program) => program.load(),
        Program::SockOps(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn object_error(error: EbpfError) -> LoadError {
    let EbpfError::MapError(MapError::CreateError { name, io_error }) = error else {
        return LoadError::Object(error);
    };
    let feature = match name.as_str() {
        "SOCKETS" => "socket storage (Linux 5.2, with BTF)",
        "EVENTS" => "ring buffers (Linux 5.8)",
        _ => "a hash or array map",
    };
    LoadError::Missing(Missing::new(vec![(feature, io_error)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_all_programs_load_and_count_from_zero() {
        let programs = Programs::trial().unwrap();
        for hook in &HOOKS {
            programs.program(hook).unwrap();
        }
        assert!(programs.counters().iter().all(|(_, value)| *value == 0));
        assert_eq!(programs.counters().len(), 10);
    }
}

//! The maps that programs and daemon share.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, MapInfo, PerCpuArray, RingBuf, SkStorage},
};
use interceptor_ebpf::{
    DEFAULT_PORT, counter,
    flow::{Flow, FlowKey, TCP, UDP},
    netns,
    permit::{Destination, Process},
    sandbox::{Config, MAX_SANDBOXES, Sandbox},
    socket::Socket,
    tally::{Taken, Tally},
};

use super::{
    abi::{self, Abi},
    bpffs::{maps_in, versioned},
    clock,
    listeners::Transport,
    permits::Permits,
    tallies::Tallies,
};
use crate::{
    address::{CgroupId, NetnsCookie, SandboxId},
    flow::Origin,
};

/// The entry is made, or the call fails: linux/bpf.h.
const BPF_NOEXIST: u64 = 1;

/// Longer than a connect is held, or waits to be accepted.
const ABANDONED: Duration = Duration::from_secs(60);

/// Why a map cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MapsError {
    #[error("the BPF object has no map {0}: it is not of this release")]
    Absent(&'static str),
    #[error(
        "map {name} at {path} has another layout than this release: detach all sandboxes with the release that \
         attached them, then remove the pin"
    )]
    Layout { name: &'static str, path: PathBuf },
    #[error("there are {MAX_SANDBOXES} sandboxes, and no room for another one: detach one")]
    Crowded,
    #[error("cannot hold map {name} open")]
    Descriptor {
        name: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot use map {name}")]
    Use {
        name: &'static str,
        #[source]
        source: MapError,
    },
}

/// How a namespace stands in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetnsState {
    /// Connects are held.
    Pending,
    /// Connects are steered to `port`.
    Ready,
    /// Connects are denied.
    Refused,
}

/// What the programs know of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NetnsEntry {
    pub(crate) state: NetnsState,
    pub(crate) port: u16,
    pub(crate) has_v6: bool,
    /// Only the sandbox lives there: its loopback is left alone.
    pub(crate) private: bool,
}

type Table<K, V> = Mutex<HashMap<MapData, K, Abi<V>>>;

/// All maps of the object.
pub(super) struct Maps {
    sandboxes: Table<u64, Sandbox>,
    netns: Table<u64, netns::Netns>,
    flows: Mutex<HashMap<MapData, Abi<FlowKey>, Abi<Flow>>>,
    permits: Permits,
    tallies: Tallies,
    counters: PerCpuArray<MapData, u64>,
    /// Not read yet: a reader goes on from where the last one stood when it was made.
    events: Mutex<Option<Map>>,
    sockets: Mutex<SkStorage<MapData, Abi<Socket>>>,
    storage: OwnedFd,
}

impl Maps {
    /// Every map of the object, each pinned by name.
    pub(super) const PINNED: [&str; 11] = [
        "CONFIG",
        "SANDBOXES",
        "NETNS",
        "FLOWS",
        "DESTINATIONS",
        "PROCESSES",
        "TALLIES",
        "TAKEN",
        "SOCKETS",
        "EVENTS",
        "COUNTERS",
    ];

    /// Refuses pinned maps whose keys or values have other sizes: reading them would give nonsense, and nonsense opens.
    pub(super) fn check_pins(directory: &Path) -> Result<(), MapsError> {
        let sizes = [
            ("CONFIG", size_of::<u32>(), size_of::<Config>()),
            ("SANDBOXES", size_of::<u64>(), size_of::<Sandbox>()),
            ("NETNS", size_of::<u64>(), size_of::<netns::Netns>()),
            ("FLOWS", size_of::<FlowKey>(), size_of::<Flow>()),
            ("DESTINATIONS", size_of::<Destination>(), size_of::<u64>()),
            ("PROCESSES", size_of::<Process>(), size_of::<u64>()),
            ("TALLIES", size_of::<u32>(), size_of::<Tally>()),
            ("TAKEN", size_of::<u32>(), size_of::<Taken>()),
            ("SOCKETS", size_of::<u32>(), size_of::<Socket>()),
            ("COUNTERS", size_of::<u32>(), size_of::<u64>()),
        ];
        for (name, key, value) in sizes {
            let path = directory.join(name);
            if !path.exists() {
                continue;
            }
            let info = MapInfo::from_pin(&path).map_err(using(name))?;
            if (info.key_size() as usize, info.value_size() as usize) != (key, value) {
                return Err(MapsError::Layout { name, path });
            }
        }
        Ok(())
    }

    /// Takes the maps out of a loaded object and writes `CONFIG`.
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, MapsError> {
        let mut config: Array<_, Abi<Config>> = typed(object, "CONFIG")?;
        let settings = Config {
            hold_rto_jiffies: clock::hold_jiffies(),
            port: DEFAULT_PORT,
            reserved: 0,
        };
        config.set(0, Abi(settings), 0).map_err(using("CONFIG"))?;
        let sockets = object
            .take_map("SOCKETS")
            .ok_or(MapsError::Absent("SOCKETS"))?;
        let storage = storage_fd(&sockets)?;
        let sockets = SkStorage::try_from(sockets).map_err(using("SOCKETS"))?;
        Ok(Self {
            sandboxes: Mutex::new(typed(object, "SANDBOXES")?),
            netns: Mutex::new(typed(object, "NETNS")?),
            flows: Mutex::new(typed(object, "FLOWS")?),
            permits: Permits::take(object)?,
            tallies: Tallies::take(object)?,
            counters: typed(object, "COUNTERS")?,
            events: Mutex::new(Some(taken(object, "EVENTS")?)),
            sockets: Mutex::new(sockets),
            storage,
        })
    }

    /// The ring buffer; it has one reader, so the second call gives `None`.
    pub(super) fn take_events(&self) -> Option<Result<RingBuf<MapData>, MapError>> {
        locked(&self.events).take().map(RingBuf::try_from)
    }

    pub(super) fn enter_sandbox(&self, cgroup: CgroupId, id: SandboxId) -> Result<(), MapsError> {
        let entry = Sandbox {
            id: id.0,
            reserved: 0,
        };
        self.tallies.open(id)?;
        locked(&self.sandboxes)
            .insert(cgroup.0, Abi(entry), 0)
            .map_err(entering("SANDBOXES"))
    }

    pub(super) fn remove_sandbox(&self, id: SandboxId, cgroup: CgroupId) -> Result<(), MapsError> {
        absent_is_fine(locked(&self.sandboxes).remove(&cgroup.0)).map_err(using("SANDBOXES"))?;
        // No program is left that would take them back with their sockets.
        self.drop_flows(|_, flow| flow.owner.sandbox == id.0);
        self.permits.remove(id)?;
        self.tallies.close(id)
    }

    pub(super) fn permits(&self) -> &Permits {
        &self.permits
    }

    pub(super) fn tally(&self, id: SandboxId) -> Tally {
        self.tallies.of(id)
    }

    /// All entries of `SANDBOXES`.
    pub(super) fn sandboxes(&self) -> Vec<(CgroupId, SandboxId)> {
        entries(&locked(&self.sandboxes))
    }

    pub(super) fn set_netns(
        &self,
        cookie: NetnsCookie,
        entry: NetnsEntry,
    ) -> Result<(), MapsError> {
        let mut netns = locked(&self.netns);
        let replaced = |netns: &HashMap<_, _, Abi<netns::Netns>>| match netns.get(&cookie.0, 0) {
            Ok(Abi(known)) => Ok(Some(known.sandbox)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error),
        };
        // The programs make entries too, which stay of the share of whom they were made for.
        let mut sandbox = replaced(&netns).map_err(using("NETNS"))?;
        if sandbox.is_none() {
            let made = netns.insert(cookie.0, Abi(entry.into()), BPF_NOEXIST);
            if made.is_ok() {
                return Ok(());
            }
            sandbox = replaced(&netns).map_err(using("NETNS"))?;
        }
        let entry = netns::Netns {
            sandbox: sandbox.unwrap_or_default(),
            ..entry.into()
        };
        netns
            .insert(cookie.0, Abi(entry), 0)
            .map_err(using("NETNS"))
    }

    pub(super) fn remove_netns(&self, cookie: NetnsCookie) -> Result<(), MapsError> {
        let mut netns = locked(&self.netns);
        let Ok(Abi(known)) = netns.get(&cookie.0, 0) else {
            return Ok(());
        };
        netns.remove(&cookie.0).map_err(using("NETNS"))?;
        self.tallies.took(known.sandbox, |taken| taken.netns += 1);
        Ok(())
    }

    /// One entry of `NETNS`.
    pub(super) fn netns_entry(&self, cookie: NetnsCookie) -> Option<NetnsEntry> {
        let Abi(entry) = locked(&self.netns).get(&cookie.0, 0).ok()?;
        Some(entry.into())
    }

    /// All entries of `NETNS`, with the time since each was announced.
    pub(super) fn netns(&self) -> Vec<(NetnsCookie, NetnsEntry, Duration)> {
        locked(&self.netns)
            .iter()
            .flatten()
            .map(|(cookie, Abi(entry))| {
                (
                    NetnsCookie(cookie),
                    entry.into(),
                    clock::age(entry.announced_ns),
                )
            })
            .collect()
    }

    /// Who is at the other end of a connection that a listener in `netns` accepted, or of a datagram that it received.
    ///
    /// A TCP record is handed over once. A UDP record stays: later datagrams come from the same socket.
    pub(super) fn take_flow(
        &self,
        netns: NetnsCookie,
        peer: SocketAddr,
        transport: Transport,
    ) -> Option<Origin> {
        let key = Abi(FlowKey {
            netns: netns.0,
            ip: abi::mapped(peer.ip()),
            port: peer.port(),
            protocol: match transport {
                Transport::Tcp => TCP,
                Transport::Udp => UDP,
            },
            reserved: 0,
        });
        let mut flows = locked(&self.flows);
        let Abi(flow) = flows.get(&key, 0).ok()?;
        if transport == Transport::Tcp {
            // The socket's release may have removed it since.
            match flows.remove(&key) {
                Ok(()) => self
                    .tallies
                    .took(flow.owner.sandbox, |taken| taken.flows += 1),
                Err(error) => {
                    if let Err(error) = absent_is_fine(Err(error)) {
                        tracing::warn!(%error, "cannot remove a flow record");
                    }
                }
            }
        }
        Some(abi::origin(&flow))
    }

    /// Removes records of TCP connections that nobody has accepted for [`ABANDONED`]: clients that went while theirs waited to be
    /// accepted by a daemon that ended.
    pub(super) fn expire_flows(&self) {
        self.drop_flows(|key, flow| {
            key.protocol == TCP && clock::age(flow.owner.time_ns) > ABANDONED
        });
    }

    fn drop_flows(&self, goes: impl Fn(&FlowKey, &Flow) -> bool) {
        let mut flows = locked(&self.flows);
        let found: Vec<_> = flows
            .iter()
            .flatten()
            .filter(|(Abi(key), Abi(flow))| goes(key, flow))
            .collect();
        for (key, Abi(flow)) in found {
            // Its socket may have taken it back since.
            if flows.remove(&key).is_ok() {
                self.tallies
                    .took(flow.owner.sandbox, |taken| taken.flows += 1);
            }
        }
    }

    /// What the programs know of a socket that we have a descriptor of.
    pub(super) fn socket(&self, socket: &OwnedFd) -> Option<Socket> {
        let Abi(facts) = locked(&self.sockets).get(socket, 0).ok()?;
        Some(facts)
    }

    /// Marks a socket without owner: as [`KEPT`](interceptor_ebpf::socket::KEPT),
    /// [`EXEMPT`](interceptor_ebpf::socket::EXEMPT) or [`LISTENER`](interceptor_ebpf::socket::LISTENER).
    pub(super) fn mark_socket(&self, socket: BorrowedFd<'_>, flags: u32) -> Result<(), MapsError> {
        let facts = Socket {
            flags,
            ..Socket::default()
        };
        locked(&self.sockets)
            .insert(&socket, Abi(facts), 0)
            .map_err(using("SOCKETS"))
    }

    /// The map of the sockets' storage.
    pub(super) fn storage(&self) -> BorrowedFd<'_> {
        self.storage.as_fd()
    }

    #[cfg(test)]
    pub(super) fn fill_flows(&self, sandbox: SandboxId) -> Vec<FlowKey> {
        let mut flows = locked(&self.flows);
        let keys = (1..=interceptor_ebpf::flow::MAX_FLOWS).map(|number| FlowKey {
            netns: number.into(),
            port: 1,
            protocol: TCP,
            reserved: sandbox.0,
            ..FlowKey::default()
        });
        let owner = interceptor_ebpf::flow::Owner {
            sandbox: sandbox.0,
            // Never old.
            time_ns: u64::MAX,
            ..Default::default()
        };
        let entered = keys.take_while(|key| {
            let flow = Abi(Flow {
                owner,
                ..Flow::default()
            });
            flows.insert(Abi(*key), flow, 0).is_ok()
        });
        entered.collect()
    }

    #[cfg(test)]
    pub(super) fn drain_flows(&self, keys: Vec<FlowKey>) {
        let mut flows = locked(&self.flows);
        for key in keys {
            flows.remove(&Abi(key)).unwrap();
        }
    }

    /// Sums over all CPUs, by name.
    pub(super) fn counters(&self) -> Vec<(&'static str, u64)> {
        let value = |index| {
            self.counters
                .get(&index, 0)
                .map_or(0, |values| values.iter().sum())
        };
        counter::NAMES.into_iter().zip((0..).map(value)).collect()
    }
}

impl From<NetnsEntry> for netns::Netns {
    fn from(entry: NetnsEntry) -> Self {
        let flag = |set, flag| if set { flag } else { 0 };
        Self {
            state: match entry.state {
                NetnsState::Pending => netns::PENDING,
                NetnsState::Ready => netns::READY,
                NetnsState::Refused => netns::REFUSED,
            },
            port: entry.port,
            flags: flag(entry.has_v6, netns::HAS_V6) | flag(entry.private, netns::PRIVATE),
            // Long ago: the next socket may announce the namespace at once.
            announced_ns: 0,
            sandbox: 0,
            reserved: 0,
        }
    }
}

impl From<netns::Netns> for NetnsEntry {
    fn from(entry: netns::Netns) -> Self {
        Self {
            state: match entry.state {
                netns::PENDING => NetnsState::Pending,
                netns::READY => NetnsState::Ready,
                _ => NetnsState::Refused,
            },
            port: entry.port,
            has_v6: entry.flags & netns::HAS_V6 != 0,
            private: entry.flags & netns::PRIVATE != 0,
        }
    }
}

pub(super) fn typed<M: TryFrom<Map, Error = MapError>>(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<M, MapsError> {
    M::try_from(taken(object, name)?).map_err(using(name))
}

fn taken(object: &mut Ebpf, name: &'static str) -> Result<Map, MapsError> {
    object.take_map(name).ok_or(MapsError::Absent(name))
}

fn storage_fd(sockets: &Map) -> Result<OwnedFd, MapsError> {
    let Map::SkStorage(data) = sockets else {
        return Err(MapsError::Absent("SOCKETS"));
    };
    let fd = data.fd().as_fd().try_clone_to_owned();
    fd.map_err(|source| MapsError::Descriptor {
        name: "SOCKETS",
        source,
    })
}

/// For maps that have room for [`MAX_SANDBOXES`].
pub(super) fn entering(name: &'static str) -> impl FnOnce(MapError) -> MapsError {
    move |source| match source {
        MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::E2BIG) => {
            MapsError::Crowded
        }
        source => using(name)(source),
    }
}

/// All entries of `SANDBOXES` that lie pinned under `bpf_dir`, whoever has the maps.
pub(crate) fn pinned_sandboxes(bpf_dir: &Path) -> Result<Vec<(CgroupId, SandboxId)>, MapsError> {
    const NAME: &str = "SANDBOXES";
    let pin = maps_in(&versioned(bpf_dir)).join(NAME);
    let data = MapData::from_pin(pin).map_err(using(NAME))?;
    let map = HashMap::try_from(Map::HashMap(data)).map_err(using(NAME))?;
    Ok(entries(&map))
}

fn entries(sandboxes: &HashMap<MapData, u64, Abi<Sandbox>>) -> Vec<(CgroupId, SandboxId)> {
    let entries = sandboxes.iter().flatten();
    entries
        .map(|(cgroup, entry)| (CgroupId(cgroup), SandboxId(entry.0.id)))
        .collect()
}

pub(super) fn using(name: &'static str) -> impl FnOnce(MapError) -> MapsError {
    move |source| MapsError::Use { name, source }
}

pub(super) fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        result => result,
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Programs;

    #[test]
    fn kernel_flow_records_of_a_sandbox_go_with_it() {
        let programs = Programs::trial().unwrap();
        let entered = programs.fill_flows(SandboxId(7)).len();
        assert!(programs.fill_flows(SandboxId(8)).is_empty());
        let maps = programs.maps();
        maps.remove_sandbox(SandboxId(7), CgroupId(1)).unwrap();
        assert_eq!(programs.fill_flows(SandboxId(8)).len(), entered);
    }
}

//! Ways past the daemon that the configuration grants, as the programs look them up.

use std::{fmt, net::SocketAddr, sync::Mutex};

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use interceptor_ebpf::{
    flow::{AF_INET6, Address, TCP, UDP},
    permit::{Destination, Process},
};

use super::{
    abi::{self, Abi},
    maps::{MapsError, absent_is_fine, locked, typed, using},
    netns::{Netns, NetnsError},
    programs::Programs,
};
use crate::{
    address::{NetnsCookie, SandboxId},
    config::{ExemptProcess, Exemptions, NetnsPlace},
    error::chain,
};

const DESTINATIONS: &str = "DESTINATIONS";
const PROCESSES: &str = "PROCESSES";

/// One way past the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    Udp(SocketAddr),
    Tcp(SocketAddr),
    Process { netns: NetnsCookie, uid: u32 },
}

/// The maps of them.
pub(super) struct Permits {
    destinations: Mutex<HashMap<MapData, Abi<Destination>, u64>>,
    processes: Mutex<HashMap<MapData, Abi<Process>, u64>>,
}

impl Permits {
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, MapsError> {
        Ok(Self {
            destinations: Mutex::new(typed(object, DESTINATIONS)?),
            processes: Mutex::new(typed(object, PROCESSES)?),
        })
    }

    /// Makes these, and no others, a sandbox's. What stays keeps its count.
    ///
    /// # Errors
    /// A map is full. What could not be entered is refused by the programs, as if it were not configured.
    fn set(&self, id: SandboxId, permits: &[Permit]) -> Result<(), MapsError> {
        let destinations = permits.iter().filter_map(|permit| destination(id, *permit));
        replace(
            &mut locked(&self.destinations),
            destinations.collect(),
            |key| key.sandbox == id.0,
        )
        .map_err(using(DESTINATIONS))?;
        let processes = permits.iter().filter_map(|permit| process(id, *permit));
        replace(&mut locked(&self.processes), processes.collect(), |key| {
            key.sandbox == id.0
        })
        .map_err(using(PROCESSES))
    }

    pub(super) fn remove(&self, id: SandboxId) -> Result<(), MapsError> {
        self.set(id, &[])
    }

    /// What a sandbox has, and how often each was used.
    fn of(&self, id: SandboxId) -> Vec<(Permit, u64)> {
        let mut found = Vec::new();
        for (Abi(key), uses) in locked(&self.destinations).iter().flatten() {
            if key.sandbox == id.0 {
                let address = address(&key);
                let permit = if key.protocol == TCP {
                    Permit::Tcp(address)
                } else {
                    Permit::Udp(address)
                };
                found.push((permit, uses));
            }
        }
        for (Abi(key), uses) in locked(&self.processes).iter().flatten() {
            if key.sandbox == id.0 {
                let (netns, uid) = (NetnsCookie(key.netns), key.uid);
                found.push((Permit::Process { netns, uid }, uses));
            }
        }
        found.sort_by_key(|(permit, _)| permit.to_string());
        found
    }
}

impl Programs {
    /// Makes the exemptions of the configuration hold for a sandbox's sockets from now on, and no others. A namespace
    /// that cannot be found is exempt of nothing, and the log tells.
    pub(crate) fn exempt(&self, id: SandboxId, exemptions: &Exemptions) -> Result<(), MapsError> {
        let udp = exemptions.udp.iter().copied().map(Permit::Udp);
        let tcp = exemptions.tcp.iter().copied().map(Permit::Tcp);
        let processes = exemptions.processes.iter().filter_map(|process| {
            let ExemptProcess { netns, uid } = process;
            let found = match netns {
                NetnsPlace::Host => Netns::current(),
                NetnsPlace::Path(path) => Netns::open(path),
            };
            resolved(id, *uid, found)
        });
        let permits: Vec<_> = udp.chain(tcp).chain(processes).collect();
        self.maps().permits().set(id, &permits)
    }

    /// The exemptions of a sandbox that hold, and how often each was used.
    pub(crate) fn exemptions(&self, id: SandboxId) -> Vec<(Permit, u64)> {
        self.maps().permits().of(id)
    }
}

fn resolved(id: SandboxId, uid: u32, found: Result<Netns, NetnsError>) -> Option<Permit> {
    match found {
        Ok(netns) => Some(Permit::Process {
            netns: netns.cookie(),
            uid,
        }),
        Err(error) => {
            tracing::warn!(
                sandbox = %id, uid, error = chain(&error),
                "no process is exempt by a network namespace that is not there: reload when it is"
            );
            None
        }
    }
}

fn replace<K>(
    map: &mut HashMap<MapData, Abi<K>, u64>,
    wanted: Vec<K>,
    owned: impl Fn(&K) -> bool,
) -> Result<(), aya::maps::MapError>
where
    K: interceptor_ebpf::Plain + PartialEq,
{
    let present: Vec<K> = map
        .keys()
        .flatten()
        .map(|Abi(key)| key)
        .filter(owned)
        .collect();
    for key in present.iter().filter(|key| !wanted.contains(key)) {
        absent_is_fine(map.remove(&Abi(*key)))?;
    }
    for key in wanted.iter().filter(|key| !present.contains(key)) {
        map.insert(Abi(*key), 0, 0)?;
    }
    Ok(())
}

fn destination(id: SandboxId, permit: Permit) -> Option<Destination> {
    let (protocol, address) = match permit {
        Permit::Udp(address) => (UDP, address),
        Permit::Tcp(address) => (TCP, address),
        Permit::Process { .. } => return None,
    };
    Some(Destination {
        sandbox: id.0,
        protocol,
        port: address.port(),
        ip: abi::mapped(address.ip()),
    })
}

fn process(id: SandboxId, permit: Permit) -> Option<Process> {
    let Permit::Process { netns, uid } = permit else {
        return None;
    };
    Some(Process {
        netns: netns.0,
        sandbox: id.0,
        uid,
    })
}

fn address(key: &Destination) -> SocketAddr {
    abi::unmapped(&Address {
        ip: key.ip,
        port: key.port,
        family: AF_INET6,
        reserved: 0,
    })
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "UDP to {address}"),
            Self::Tcp(address) => write!(f, "TCP to {address}"),
            Self::Process { netns, uid } => {
                write!(f, "processes of user {uid} in network namespace {netns}")
            }
        }
    }
}

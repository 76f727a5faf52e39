//! Sockets that a sandbox's processes have without their having been made there: from before it was a sandbox, brought
//! along by a process that was moved into it, passed in by one that is outside.
//!
//! Those of the sandbox's own cgroup the fence stops. Those of other cgroups no program sees: they are found among the
//! descriptors of the sandbox's processes, and made useless.

mod cut;
mod diag;
mod holders;

use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry},
    fmt, fs, io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use interceptor_ebpf::socket::{EXEMPT, INBOUND, KEPT, Socket};
use rustix::net::{
    AddressFamily, ipproto,
    sockopt::{socket_domain, socket_protocol},
};

use self::{
    diag::{Diag, Listed, State},
    holders::{HOLDERS, Held, sockets_of},
};
use super::{
    cgroup::Cgroup,
    netns::{Netns, NetnsError},
    permits::Permit,
    process::{Task, is_exhausted},
    programs::Programs,
};
use crate::{
    address::{NetnsCookie, SandboxId},
    config::Existing,
};

/// Families whose sockets reach no other host. AF_ALG is 38 (linux/socket.h).
const HARMLESS: [AddressFamily; 3] = [
    AddressFamily::UNIX,
    AddressFamily::NETLINK,
    AddressFamily::from_raw(38),
];

/// What has become of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Whoever uses it gets an error, and nothing leaves by it.
    Destroyed,
    /// It is there, and the fence lets nothing of it pass.
    Fenced,
    /// It goes on, as the operator wants it.
    Kept,
    /// It could not be stopped.
    Loose,
}

/// A process that has a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketHolder {
    pub(crate) task: Task,
    pub(crate) uid: u32,
    pub(crate) comm: Box<str>,
    pub(crate) descriptor: i32,
}

/// A socket that no program has seen being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnownedSocket {
    /// `tcp`, `udp`, or the family by its number.
    pub(crate) protocol: Box<str>,
    pub(crate) listens: bool,
    /// Unknown of one that has no address, or is of another family.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) netns: Option<NetnsCookie>,
    /// Of the sandbox's processes; none: nobody of it has it, or it waits to be accepted.
    pub(crate) holders: Vec<SocketHolder>,
    pub(crate) fate: Fate,
}

/// Watches the sockets of one sandbox.
#[derive(Debug)]
pub(crate) struct SocketWatch {
    id: SandboxId,
    cgroup: Cgroup,
    existing: Existing,
    state: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Inodes of sockets that have been judged and are still held.
    judged: HashSet<u64>,
    standing: BTreeMap<u64, UnownedSocket>,
}

/// The sockets of one network namespace.
struct Place {
    diag: Diag,
    sockets: Vec<Listed>,
}

/// A socket without owner, and a descriptor of ours for it.
struct Suspect<'a> {
    inode: u64,
    socket: OwnedFd,
    family: AddressFamily,
    netns: Option<NetnsCookie>,
    holders: &'a [Held],
}

impl SocketWatch {
    pub(crate) fn new(id: SandboxId, cgroup: Cgroup, existing: Existing) -> Self {
        Self {
            id,
            cgroup,
            existing,
            state: Mutex::default(),
        }
    }

    pub(crate) fn existing(&self) -> Existing {
        self.existing
    }

    /// Sockets without owner that were kept or could not be stopped, as long as they are held.
    pub(crate) fn standing(&self) -> Vec<UnownedSocket> {
        self.seen().standing.values().cloned().collect()
    }

    /// After attach: deals with all that is from before, in the namespaces that the sandbox's processes are in and
    /// among their descriptors.
    ///
    /// # Errors
    /// No descriptor is free, or no memory. The fence stops what is from before all the same.
    pub(crate) fn first_look(&self, programs: &Programs) -> io::Result<Vec<UnownedSocket>> {
        let tasks = Task::by_netns(&self.cgroup.processes()?)?.into_values();
        let mut places = BTreeMap::new();
        for netns in tasks.filter_map(|task| Netns::of_task(task).ok()) {
            let place = netns.within(|| Place::survey(programs));
            if let Some(place) = told(place) {
                places.insert(netns.cookie(), place);
            }
        }
        self.judge(programs, places, true)
    }

    /// Deals with what has come since the last look. Costs a readlink(2) for each descriptor of the sandbox.
    ///
    /// # Errors
    /// As those of [`Self::first_look`]; the next look finds what this one did not.
    pub(crate) fn look(&self, programs: &Programs) -> io::Result<Vec<UnownedSocket>> {
        self.judge(programs, BTreeMap::new(), false)
    }

    fn judge(
        &self,
        programs: &Programs,
        mut places: BTreeMap<NetnsCookie, Place>,
        strays_too: bool,
    ) -> io::Result<Vec<UnownedSocket>> {
        let held = sockets_of(&self.cgroup.processes()?)?;
        let mut seen = self.seen();
        seen.judged.retain(|inode| held.contains_key(inode));
        seen.standing.retain(|inode, _| held.contains_key(inode));
        let owners = owners(programs);
        if !owners.contains(&self.id.0) {
            // Detached meanwhile: its sockets are nobody's business.
            return Ok(Vec::new());
        }
        let exempt = exempt(programs, self.id);
        let mut found = Vec::new();
        for (inode, holders) in &held {
            if seen.judged.contains(inode) {
                continue;
            }
            let socket = match borrow(*inode, holders) {
                Ok(socket) => socket,
                // It will be met again, or is gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound || is_exhausted(&error) => {
                    continue;
                }
                Err(error) => {
                    tracing::debug!(%error, "a descriptor in a sandbox cannot be looked at");
                    seen.judged.insert(*inode);
                    seen.standing.insert(*inode, unseen(holders));
                    found.push(unseen(holders));
                    continue;
                }
            };
            seen.judged.insert(*inode);
            let Some(suspect) = suspect(programs, &owners, *inode, socket, holders) else {
                continue;
            };
            if suspect.is_exempt(&exempt) {
                if let Err(error) = programs.maps().mark_socket(suspect.socket.as_fd(), EXEMPT) {
                    tracing::warn!(%error, "a socket of an exempt process stays fenced");
                }
                continue;
            }
            let unowned = self.deal_with(&suspect, programs, &mut places);
            if matches!(unowned.fate, Fate::Kept | Fate::Loose) {
                seen.standing.insert(*inode, unowned.clone());
            }
            found.push(unowned);
        }
        if strays_too {
            let cgroups = self.cgroup.ids();
            for (netns, place) in &places {
                let strays = place.sockets.iter().filter(|socket| {
                    !held.contains_key(&socket.inode)
                        && socket.cgroup.is_some_and(|id| cgroups.contains(&id))
                        && !is_owned(socket.facts.as_ref(), &owners)
                });
                found.extend(strays.map(|stray| self.deal_with_stray(*netns, place, stray)));
            }
        }
        Ok(found)
    }

    fn deal_with(
        &self,
        suspect: &Suspect<'_>,
        programs: &Programs,
        places: &mut BTreeMap<NetnsCookie, Place>,
    ) -> UnownedSocket {
        let is_inet = matches!(suspect.family, AddressFamily::INET | AddressFamily::INET6);
        let place = suspect
            .netns
            .filter(|_| is_inet)
            .and_then(|netns| suspect.place(netns, programs, places));
        let listed = place.and_then(|place| {
            let mut sockets = place.sockets.iter();
            sockets.find(|socket| socket.inode == suspect.inode)
        });
        let protocol = suspect.protocol();
        let fate = match self.existing {
            Existing::Keep => match programs.maps().mark_socket(suspect.socket.as_fd(), KEPT) {
                Ok(()) => Fate::Kept,
                Err(error) => {
                    tracing::warn!(%error, "a socket cannot be kept");
                    Fate::Fenced
                }
            },
            Existing::Destroy if !is_inet => Fate::Loose,
            Existing::Destroy => {
                let inside = listed
                    .and_then(|listed| listed.cgroup)
                    .is_some_and(|id| self.cgroup.ids().contains(&id));
                let cut = if inside {
                    Err(io::ErrorKind::PermissionDenied.into())
                } else {
                    cut::off(suspect.socket.as_fd(), protocol == "tcp")
                };
                // After that, so that its last word (RST) goes to lo too.
                let ended = place.zip(listed).map(|(place, listed)| match cut {
                    Ok(()) => place.diag.destroy(&listed.on_lo()),
                    Err(_) => place.diag.destroy(listed),
                });
                match (cut, ended) {
                    (Ok(()), _) => Fate::Destroyed,
                    (Err(_), Some(Ok(()))) if inside => Fate::Destroyed,
                    // The programs refuse that a socket is bound to a device: it is one of theirs.
                    (Err(error), _) if error.kind() == io::ErrorKind::PermissionDenied => {
                        Fate::Fenced
                    }
                    (Err(error), _) => {
                        tracing::error!(%error, "a socket that no program sees cannot be stopped");
                        Fate::Loose
                    }
                }
            }
        };
        UnownedSocket {
            protocol: protocol.into(),
            listens: listed.is_some_and(|listed| listed.state == State::Listening),
            local: listed.map(|listed| listed.local),
            remote: listed.and_then(|listed| listed.remote),
            netns: suspect.netns,
            holders: suspect.holders.iter().map(SocketHolder::of).collect(),
            fate,
        }
    }

    fn deal_with_stray(&self, netns: NetnsCookie, place: &Place, stray: &Listed) -> UnownedSocket {
        let destroyed = self.existing == Existing::Destroy
            && match place.diag.destroy(stray) {
                Ok(()) => true,
                Err(error) => {
                    tracing::debug!(%error, "a socket cannot be destroyed, which the fence stops");
                    false
                }
            };
        UnownedSocket {
            protocol: name(stray.protocol.into()).into(),
            listens: stray.state == State::Listening,
            local: Some(stray.local),
            remote: stray.remote,
            netns: Some(netns),
            holders: Vec::new(),
            fate: if destroyed {
                Fate::Destroyed
            } else {
                Fate::Fenced
            },
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// In the network namespace of the calling thread.
    fn survey(programs: &Programs) -> io::Result<Self> {
        let diag = Diag::open()?;
        let sockets = diag.list(programs.maps().storage())?;
        Ok(Self { diag, sockets })
    }
}

impl Suspect<'_> {
    /// Its namespace, which may be none that the sandbox's processes are in.
    fn place<'p>(
        &self,
        netns: NetnsCookie,
        programs: &Programs,
        places: &'p mut BTreeMap<NetnsCookie, Place>,
    ) -> Option<&'p Place> {
        Some(match places.entry(netns) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let netns = Netns::of_socket(self.socket.as_fd()).ok()?;
                let place = netns.within(|| Place::survey(programs));
                unknown.insert(told(place)?)
            }
        })
    }

    /// Whether only processes have it that the configuration exempts.
    fn is_exempt(&self, exempt: &[(NetnsCookie, u32)]) -> bool {
        // Beyond those that are kept there may be others.
        let all_known = self.holders.len() < HOLDERS;
        let mut users = self.holders.iter().map(|held| held.uid());
        self.netns.is_some_and(|netns| {
            all_known
                && !exempt.is_empty()
                && users.all(|uid| uid.is_some_and(|uid| exempt.contains(&(netns, uid))))
        })
    }

    fn protocol(&self) -> String {
        let protocol = socket_protocol(&self.socket).ok().flatten();
        match (self.family, protocol) {
            (AddressFamily::INET | AddressFamily::INET6, Some(protocol)) => {
                name(protocol.as_raw().get())
            }
            _ => format!("family {}", self.family.as_raw()),
        }
    }
}

impl SocketHolder {
    fn of(held: &Held) -> Self {
        let comm = fs::read_to_string(format!("/proc/{}/comm", held.task.tgid)).unwrap_or_default();
        Self {
            task: held.task,
            uid: held.uid().unwrap_or_default(),
            comm: comm.trim_end().into(),
            descriptor: held.fd,
        }
    }
}

impl fmt::Display for UnownedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} socket", self.protocol)?;
        if let Some(local) = self.local {
            let verb = if self.listens { " listening on" } else { "" };
            write!(f, "{verb} {local}")?;
        }
        if let Some(remote) = self.remote {
            write!(f, " to {remote}")?;
        }
        match self.holders.split_first() {
            None => f.write_str(", which nobody in the sandbox holds"),
            Some((first, others)) => {
                write!(
                    f,
                    " of process {} ({}), descriptor {}",
                    first.task.tgid, first.comm, first.descriptor
                )?;
                if others.is_empty() {
                    return Ok(());
                }
                write!(f, ", and {} more", others.len())
            }
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Destroyed => "destroyed",
            Self::Fenced => "fenced",
            Self::Kept => "kept",
            Self::Loose => "loose",
        })
    }
}

/// Sandboxes that stand: the sockets of others nobody watches over.
fn owners(programs: &Programs) -> HashSet<u32> {
    let sandboxes = programs.sandboxes().into_iter();
    sandboxes.map(|(_, id)| id.0).collect()
}

/// Processes of a sandbox that are let go, by namespace and user.
fn exempt(programs: &Programs, id: SandboxId) -> Vec<(NetnsCookie, u32)> {
    let permits = programs.exemptions(id).into_iter();
    permits
        .filter_map(|(permit, _)| match permit {
            Permit::Process { netns, uid } => Some((netns, uid)),
            Permit::Udp(_) | Permit::Tcp(_) => None,
        })
        .collect()
}

fn is_owned(facts: Option<&Socket>, owners: &HashSet<u32>) -> bool {
    facts.is_some_and(|facts| {
        owners.contains(&facts.flow.owner.sandbox) || facts.flags & (INBOUND | KEPT | EXEMPT) != 0
    })
}

/// By whichever holder still has it.
fn borrow(inode: u64, holders: &[Held]) -> io::Result<OwnedFd> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for held in holders {
        match held.borrow(inode) {
            Ok(socket) => return Ok(socket),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn suspect<'a>(
    programs: &Programs,
    owners: &HashSet<u32>,
    inode: u64,
    socket: OwnedFd,
    holders: &'a [Held],
) -> Option<Suspect<'a>> {
    let family = socket_domain(&socket).ok()?;
    if HARMLESS.contains(&family) {
        return None;
    }
    let facts = programs.maps().socket(&socket);
    // One that was kept before the daemon began anew is kept again, and so is listed.
    let kept = facts.as_ref().is_some_and(|facts| facts.flags & KEPT != 0);
    if !kept && is_owned(facts.as_ref(), owners) {
        return None;
    }
    Some(Suspect {
        inode,
        netns: super::netns::cookie_of(socket.as_fd()).ok(),
        socket,
        family,
        holders,
    })
}

/// One that could not be looked at.
fn unseen(holders: &[Held]) -> UnownedSocket {
    UnownedSocket {
        protocol: "unreadable".into(),
        listens: false,
        local: None,
        remote: None,
        netns: None,
        holders: holders.iter().map(SocketHolder::of).collect(),
        fate: Fate::Loose,
    }
}

fn name(protocol: u32) -> String {
    if protocol == ipproto::TCP.as_raw().get() {
        "tcp".to_owned()
    } else if protocol == ipproto::UDP.as_raw().get() {
        "udp".to_owned()
    } else {
        format!("protocol {protocol}")
    }
}

fn told(place: Result<io::Result<Place>, NetnsError>) -> Option<Place> {
    match place {
        Ok(Ok(place)) => Some(place),
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot list the sockets of a network namespace (inet_diag, tcp_diag, udp_diag)");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "cannot enter a network namespace to list its sockets");
            None
        }
    }
}

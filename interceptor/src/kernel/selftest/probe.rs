//! The child of the self-test: a process in the scratch cgroup that connects and says what it saw.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, connect, getpeername, netlink, sendto,
    socket_with,
};

use crate::kernel::{
    abi,
    cgroup::Cgroup,
    child::{Child, Tether},
    launch,
};

/// A child in a cgroup that has connected, and holds its connections as long as this lives.
#[derive(Debug)]
pub(super) struct Probe {
    child: Child,
    /// Per destination: the peer's address, or the number of the error.
    pub(super) connects: Vec<Result<SocketAddr, i32>>,
    /// What sending a datagram to the first destination gave.
    pub(super) datagram: Result<SocketAddr, i32>,
    /// What a socket gave that only the program over families refuses; the address says nothing.
    pub(super) family: Result<SocketAddr, i32>,
}

/// Most destinations of one probe.
const DESTINATIONS: usize = 3;
/// One report: an error's number, and a peer's address in 16 bytes and port.
pub(in crate::kernel) const RECORD: usize = 4 + 16 + 2;

impl Probe {
    /// Connects to each of `destinations` by TCP, and sends the first one a datagram.
    pub(super) fn start(
        cgroup: &Cgroup,
        destinations: &[SocketAddr],
        deadline: Instant,
    ) -> io::Result<Self> {
        let procs = cgroup.open_procs().map_err(io::Error::other)?;
        let body = |tether: &Tether| visit(procs.as_fd(), tether, destinations);
        // SAFETY: `visit` makes system calls on descriptors and memory that stand, and allocates nothing.
        let child = unsafe { Child::fork(&[procs.as_fd()], body) }?;
        let receive = || child.report(deadline).map(|record| parse(&record));
        Ok(Self {
            connects: destinations
                .iter()
                .map(|_| receive())
                .collect::<io::Result<_>>()?,
            datagram: receive()?,
            family: receive()?,
            child,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }
}

/// Runs in the child: async-signal-safe.
fn visit(procs: BorrowedFd<'_>, tether: &Tether, destinations: &[SocketAddr]) -> io::Result<()> {
    launch::join(procs)?;
    // A socket that is closed takes its flow record with it.
    let mut sockets = [const { None }; DESTINATIONS];
    for (destination, kept) in destinations.iter().zip(&mut sockets) {
        let connected = connect_to(*destination);
        send_record(tether, connected.as_ref().map(|(_, peer)| *peer))?;
        *kept = connected.ok();
    }
    if let Some(destination) = destinations.first() {
        send_record(tether, send_to(*destination).as_ref().copied())?;
        let other = generic_netlink().map(|_socket| *destination);
        send_record(tether, other.as_ref().copied())?;
    }
    tether.wait()
}

pub(in crate::kernel) fn connect_to(destination: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = socket(destination, SocketType::STREAM)?;
    connect(&socket, &destination)?;
    let peer = getpeername(&socket)?.ok_or(io::ErrorKind::NotConnected)?;
    Ok((socket, SocketAddr::try_from(peer)?))
}

/// Every kernel has it, and grants it to everybody.
fn generic_netlink() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let protocol = Some(netlink::GENERIC);
    Ok(socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags,
        protocol,
    )?)
}

fn send_to(destination: SocketAddr) -> io::Result<SocketAddr> {
    let socket = datagram_socket(destination)?;
    sendto(&socket, b"interceptor", SendFlags::empty(), &destination)?;
    Ok(destination)
}

/// Async-signal-safe.
pub(in crate::kernel) fn datagram_socket(destination: SocketAddr) -> io::Result<OwnedFd> {
    socket(destination, SocketType::DGRAM)
}

fn socket(destination: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = match destination.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

pub(in crate::kernel) fn send_record(
    tether: &Tether,
    result: Result<SocketAddr, &io::Error>,
) -> io::Result<()> {
    let mut record = [0_u8; RECORD];
    let (code, rest) = record.split_at_mut(4);
    let (ip, port) = rest.split_at_mut(16);
    match result {
        Ok(peer) => {
            ip.copy_from_slice(&abi::mapped(peer.ip()));
            port.copy_from_slice(&peer.port().to_ne_bytes());
        }
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(libc::EIO);
            code.copy_from_slice(&number.to_ne_bytes());
        }
    }
    tether.report(&record)
}

pub(in crate::kernel) fn parse(record: &[u8; RECORD]) -> Result<SocketAddr, i32> {
    let [c0, c1, c2, c3, ip @ .., p0, p1] = *record;
    match i32::from_ne_bytes([c0, c1, c2, c3]) {
        0 => {
            let ip = Ipv6Addr::from(ip).to_canonical();
            Ok(SocketAddr::new(ip, u16::from_ne_bytes([p0, p1])))
        }
        code => Err(code),
    }
}

//! The daemon's listening sockets inside a sandbox's network namespace.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, listen, socket_with,
    sockopt::{set_ipv6_v6only, set_socket_reuseaddr},
};

use super::{
    loopback,
    netns::{Netns, NetnsError},
};
use crate::address::NetnsCookie;

/// Connections that wait to be accepted, per listener; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// Tries at a port that is free for both protocols on both families.
const ATTEMPTS: usize = 64;

/// Why there are no listeners.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenersError {
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error("the listeners that were handed over are not those that were announced")]
    Inherited,
    #[error("cannot bring lo up in the network namespace")]
    Loopback(#[source] io::Error),
    #[error("cannot listen on {address}")]
    Socket {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// Which record of `FLOWS` a peer's address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// TCP and UDP sockets on one port of 127.0.0.1, and of ::1 where the namespace has IPv6. Non-blocking.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) netns: NetnsCookie,
    pub(crate) port: u16,
    pub(crate) v4: Pair,
    pub(crate) v6: Option<Pair>,
}

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) tcp: TcpListener,
    pub(crate) udp: UdpSocket,
}

impl Listeners {
    /// Opens them on port `wanted`, or where that is taken on another.
    ///
    /// No SO_REUSEPORT: nobody may share the port. Takes under a millisecond, on a thread of its own.
    pub(crate) fn open(netns: &Netns, wanted: u16) -> Result<Self, ListenersError> {
        let (port, v4, v6) = netns.within(|| {
            if loopback::bring_up().map_err(ListenersError::Loopback)? {
                tracing::warn!(netns = %netns.cookie(), "lo was down, and was brought up for the listeners");
            }
            open_pairs(wanted)
        })??;
        Ok(Self {
            netns: netns.cookie(),
            port,
            v4,
            v6,
        })
    }
}

impl Listeners {
    /// TCP and UDP of each family.
    pub(super) fn handles(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let pairs = [Some(&self.v4), self.v6.as_ref()].into_iter().flatten();
        pairs.flat_map(|pair| [pair.tcp.as_fd(), pair.udp.as_fd()])
    }

    /// Those that another daemon has opened, in the order of [`Self::v4`] and [`Self::v6`], TCP first.
    pub(crate) fn inherit(
        netns: NetnsCookie,
        port: u16,
        sockets: Vec<OwnedFd>,
    ) -> Result<Self, ListenersError> {
        let mut sockets = sockets.into_iter();
        let mut pairs = Vec::new();
        while let Some(tcp) = sockets.next() {
            let udp = sockets.next().ok_or(ListenersError::Inherited)?;
            let (tcp, udp) = (TcpListener::from(tcp), UdpSocket::from(udp));
            let ports = [tcp.local_addr(), udp.local_addr()];
            if !ports.iter().flatten().all(|own| own.port() == port) {
                return Err(ListenersError::Inherited);
            }
            pairs.push(Pair { tcp, udp });
        }
        let mut pairs = pairs.into_iter();
        let (v4, v6) = (pairs.next().ok_or(ListenersError::Inherited)?, pairs.next());
        Ok(Self {
            netns,
            port,
            v4,
            v6,
        })
    }
}

type Pairs = (u16, Pair, Option<Pair>);

fn open_pairs(wanted: u16) -> Result<Pairs, ListenersError> {
    let mut port = wanted;
    for _ in 0..ATTEMPTS {
        match pairs_on(port) {
            Err(ListenersError::Socket { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                // 0: the next port that is free for TCP on IPv4, tried on the other three.
                port = 0;
            }
            result => return result,
        }
    }
    pairs_on(0)
}

fn pairs_on(port: u16) -> Result<Pairs, ListenersError> {
    let tcp = stream(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let port = local_port(&tcp)?;
    let udp = datagram(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let v4 = Pair { tcp, udp };
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let v6 = match stream(address) {
        Ok(tcp) => Some(Pair {
            tcp,
            udp: datagram(address)?,
        }),
        Err(ListenersError::Socket { source, .. }) if is_without_v6(&source) => None,
        Err(error) => return Err(error),
    };
    Ok((port, v4, v6))
}

/// No IPv6 in the kernel, or none on `lo`.
fn is_without_v6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

fn stream(address: SocketAddr) -> Result<TcpListener, ListenersError> {
    let open = || {
        let socket = bound(address, SocketType::STREAM)?;
        listen(&socket, BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    open().map_err(failed(address))
}

fn datagram(address: SocketAddr) -> Result<UdpSocket, ListenersError> {
    let socket = bound(address, SocketType::DGRAM).map_err(failed(address))?;
    Ok(UdpSocket::from(socket))
}

fn bound(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, kind, flags, None)?;
    if kind == SocketType::STREAM {
        // A new daemon takes the port over while connections of the old one linger on it. For TCP this does not let
        // two sockets listen; for UDP it would let anybody take the port, so there it stays off.
        set_socket_reuseaddr(&socket, true)?;
    }
    if family == AddressFamily::INET6 {
        set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

fn local_port(listener: &TcpListener) -> Result<u16, ListenersError> {
    let unspecified = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = listener.local_addr().map_err(failed(unspecified))?;
    Ok(address.port())
}

fn failed(address: SocketAddr) -> impl FnOnce(io::Error) -> ListenersError {
    move |source| ListenersError::Socket { address, source }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::kernel::fixtures::Isolated;

    #[test]
    fn kernel_listeners_take_the_wanted_port_on_both_families_with_lo_down() {
        let place = Isolated::bare();
        let listeners = Listeners::open(place.netns(), 61913).unwrap();
        assert_eq!(listeners.port, 61913);
        let v6 = listeners.v6.unwrap();
        for (pair, ip) in [(&listeners.v4, "127.0.0.1"), (&v6, "::1")] {
            let address = SocketAddr::new(ip.parse().unwrap(), 61913);
            assert_eq!(pair.tcp.local_addr().unwrap(), address);
            assert_eq!(pair.udp.local_addr().unwrap(), address);
        }
    }

    #[test]
    fn kernel_a_namespace_without_ipv6_gets_listeners_on_ipv4_alone() {
        let place = Isolated::new();
        place.disable_v6();
        let listeners = Listeners::open(place.netns(), 61913).unwrap();
        assert_eq!(listeners.port, 61913);
        assert!(listeners.v6.is_none());
    }

    #[test]
    fn kernel_a_port_taken_in_any_of_the_four_ways_is_not_taken() {
        for (ip, tcp) in [
            ("127.0.0.1", true),
            ("127.0.0.1", false),
            ("::1", true),
            ("::1", false),
        ] {
            let place = Isolated::new();
            let address = SocketAddr::new(ip.parse().unwrap(), 61913);
            let squatter = place
                .netns()
                .within(|| {
                    if tcp {
                        OwnedFd::from(TcpListener::bind(address).unwrap())
                    } else {
                        OwnedFd::from(UdpSocket::bind(address).unwrap())
                    }
                })
                .unwrap();
            let listeners = Listeners::open(place.netns(), 61913).unwrap();
            assert_ne!(listeners.port, 61913, "{address} tcp {tcp}");
            assert!(listeners.v6.is_some());
            drop(squatter);
        }
    }

    #[test]
    fn kernel_a_port_is_taken_over_while_connections_linger_on_it() {
        let place = Isolated::new();
        let first = Listeners::open(place.netns(), 61913).unwrap();
        let client = place
            .netns()
            .within(|| TcpStream::connect((Ipv4Addr::LOCALHOST, 61913)).unwrap())
            .unwrap();
        let (server, _) = first.v4.tcp.accept().unwrap();
        drop(first);
        let second = Listeners::open(place.netns(), 61913).unwrap();
        assert_eq!(second.port, 61913);
        drop((client, server));
    }
}

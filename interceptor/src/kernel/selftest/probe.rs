//! The child of the self-test: a process in the scratch cgroup that connects and says what it saw.

use std::{
    fs::File,
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

use rustix::{
    io::{retry_on_intr, write},
    net::{
        AddressFamily, SendFlags, SocketFlags, SocketType, connect, getpeername, sendto,
        socket_with,
    },
    pipe::{PipeFlags, pipe_with},
};

use crate::kernel::{abi, cgroup::Cgroup, child::Child};

/// What the child saw.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) pid: u32,
    /// Per destination: the peer's address, or the number of the error.
    pub(super) connects: Vec<Result<SocketAddr, i32>>,
    /// What sending a datagram to the first destination gave.
    pub(super) datagram: io::Error,
}

/// One line of the child's report: an error's number, and a peer's address in 16 bytes and port.
const RECORD: usize = 4 + 16 + 2;

pub(super) struct Probe;

impl Probe {
    /// Connects to each of `destinations` by TCP, and sends the first one a datagram.
    pub(super) fn run(
        cgroup: &Cgroup,
        destinations: &[SocketAddr],
        deadline: Instant,
    ) -> io::Result<Outcome> {
        let procs = cgroup.open_procs().map_err(io::Error::other)?;
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let body = || u8::from(report(procs.as_fd(), &writer, destinations).is_err());
        // SAFETY: `report` makes system calls on descriptors and memory that stand, and allocates nothing.
        let mut child = unsafe { Child::fork(body) }?;
        if child.wait(deadline)?.is_none() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        drop(writer);
        let mut text = Vec::new();
        File::from(reader).read_to_end(&mut text)?;
        let mut records = text.chunks_exact(RECORD).filter_map(parse);
        let connects = records.by_ref().take(destinations.len()).collect();
        let datagram = match records.next() {
            Some(Err(code)) => io::Error::from_raw_os_error(code),
            _ => io::ErrorKind::UnexpectedEof.into(),
        };
        Ok(Outcome {
            pid: child.pid(),
            connects,
            datagram,
        })
    }
}

/// Runs in the child: async-signal-safe.
fn report(
    procs: std::os::fd::BorrowedFd<'_>,
    pipe: &OwnedFd,
    destinations: &[SocketAddr],
) -> io::Result<()> {
    retry_on_intr(|| write(procs, b"0"))?;
    for destination in destinations {
        send_record(pipe, connect_to(*destination))?;
    }
    if let Some(destination) = destinations.first() {
        send_record(pipe, send_to(*destination))?;
    }
    Ok(())
}

fn connect_to(destination: SocketAddr) -> io::Result<SocketAddr> {
    let socket = socket(destination, SocketType::STREAM)?;
    connect(&socket, &destination)?;
    let peer = getpeername(&socket)?.ok_or(io::ErrorKind::NotConnected)?;
    Ok(SocketAddr::try_from(peer)?)
}

fn send_to(destination: SocketAddr) -> io::Result<SocketAddr> {
    let socket = socket(destination, SocketType::DGRAM)?;
    sendto(&socket, b"interceptor", SendFlags::empty(), &destination)?;
    Ok(destination)
}

fn socket(destination: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = match destination.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

fn send_record(pipe: &OwnedFd, result: io::Result<SocketAddr>) -> io::Result<()> {
    let mut record = [0_u8; RECORD];
    let (code, peer) = match result {
        Ok(peer) => (0, Some(peer)),
        Err(error) => (error.raw_os_error().unwrap_or(libc::EIO), None),
    };
    let (code_bytes, rest) = record.split_at_mut(4);
    let (ip, port) = rest.split_at_mut(16);
    code_bytes.copy_from_slice(&code.to_ne_bytes());
    if let Some(peer) = peer {
        ip.copy_from_slice(&abi::mapped(peer.ip()));
        port.copy_from_slice(&peer.port().to_ne_bytes());
    }
    retry_on_intr(|| write(pipe, &record))?;
    Ok(())
}

fn parse(record: &[u8]) -> Option<Result<SocketAddr, i32>> {
    let (code, rest) = record.split_first_chunk::<4>()?;
    let (ip, rest) = rest.split_first_chunk::<16>()?;
    let port = rest.first_chunk::<2>()?;
    Some(match i32::from_ne_bytes(*code) {
        0 => {
            let ip = std::net::Ipv6Addr::from(*ip).to_canonical();
            Ok(SocketAddr::new(ip, u16::from_ne_bytes(*port)))
        }
        code => Err(code),
    })
}

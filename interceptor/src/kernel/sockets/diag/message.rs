//! Messages of sock_diag(7), in netlink's framing (RFC 3549 §2.3.2, linux/inet_diag.h).

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Deref,
    os::fd::RawFd,
};

use interceptor_ebpf::socket::Socket;

use crate::{address::CgroupId, kernel::abi};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;

const NESTED: u16 = 0x8000;
/// The two high bits of an attribute's type are flags.
const TYPE: u16 = 0x3fff;
const REQ_SK_BPF_STORAGES: u16 = 2;
const REQ_STORAGE_MAP_FD: u16 = 1;
const SK_BPF_STORAGES: u16 = 20;
const CGROUP_ID: u16 = 21;
const STORAGE: u16 = 1;
const STORAGE_MAP_VALUE: u16 = 3;

/// Every state (`TCP_ESTABLISHED` and so on) but those without a full socket: NEW_SYN_RECV and TIME_WAIT.
const FULL_SOCKETS: u32 = !(1 << 12 | 1 << 6);
const TCP_ESTABLISHED: u8 = 1;
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;

const HEADER: usize = 16;
/// `struct inet_diag_sockid`
const ID: usize = 48;
/// `idiag_if` in it.
const DEVICE: std::ops::Range<usize> = 36..40;

/// What a socket does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel::sockets) enum State {
    Listening,
    /// Or on its way to be, or from it.
    Connected,
    /// Neither listens nor has a peer.
    Idle,
}

/// One socket, as the kernel lists it.
#[derive(Clone, Debug)]
pub(in crate::kernel::sockets) struct Listed {
    family: u8,
    pub(in crate::kernel::sockets) protocol: u8,
    pub(in crate::kernel::sockets) state: State,
    pub(in crate::kernel::sockets) local: SocketAddr,
    /// `None`: it has no peer.
    pub(in crate::kernel::sockets) remote: Option<SocketAddr>,
    /// 0 for a connection that waits to be accepted, and for one that nobody holds any more.
    pub(in crate::kernel::sockets) inode: u64,
    /// In which it was made.
    pub(in crate::kernel::sockets) cgroup: Option<CgroupId>,
    pub(in crate::kernel::sockets) facts: Option<Socket>,
    /// By which the kernel finds it again, and no other that has the same addresses by then.
    id: [u8; ID],
}

impl Listed {
    /// The same socket after it was bound to lo, which is device 1 everywhere.
    pub(in crate::kernel::sockets) fn on_lo(&self) -> Self {
        let mut bound = self.clone();
        if let Some(device) = bound.id.get_mut(DEVICE) {
            device.copy_from_slice(&1_u32.to_ne_bytes());
        }
        bound
    }
}

/// A message to the kernel.
pub(super) struct Question(Vec<u8>);

impl Deref for Question {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Question {
    /// For all sockets of a family and a protocol.
    pub(super) fn list(family: u8, protocol: u8, storage: RawFd) -> Self {
        let mut body = request(family, protocol, FULL_SOCKETS, &[0; ID]);
        let map = attribute(REQ_STORAGE_MAP_FD, &storage.to_ne_bytes());
        body.extend(attribute(REQ_SK_BPF_STORAGES | NESTED, &map));
        Self::framed(SOCK_DIAG_BY_FAMILY, REQUEST | DUMP, &body)
    }

    pub(super) fn destroy(socket: &Listed) -> Self {
        let body = request(socket.family, socket.protocol, u32::MAX, &socket.id);
        Self::framed(SOCK_DESTROY, REQUEST | ACKNOWLEDGE, &body)
    }

    fn framed(kind: u16, flags: u16, body: &[u8]) -> Self {
        // Our messages have some 80 bytes.
        let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        // Sequence number and sender, which a kernel with one question at a time needs not.
        bytes.extend([0; 8]);
        bytes.extend(body);
        Self(bytes)
    }
}

/// `struct inet_diag_req_v2`
fn request(family: u8, protocol: u8, states: u32, id: &[u8; ID]) -> Vec<u8> {
    let mut bytes = vec![family, protocol, 0, 0];
    bytes.extend(states.to_ne_bytes());
    bytes.extend(id);
    bytes
}

/// Values here are multiples of four bytes, so that none needs padding.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes
}

/// Reads one datagram of the kernel's. The answer: the last one was in it, and how it ended.
pub(super) fn read(
    mut datagram: &[u8],
    protocol: u8,
    listed: &mut Vec<Listed>,
) -> Option<io::Result<()>> {
    while let Some((kind, body, rest)) = split_message(datagram) {
        match kind {
            NLMSG_DONE | NLMSG_ERROR => return Some(outcome(body)),
            SOCK_DIAG_BY_FAMILY => listed.extend(parse(body, protocol)),
            _ => {}
        }
        datagram = rest;
    }
    (!datagram.is_empty()).then(|| Err(io::Error::other("the kernel's answer is cut")))
}

fn outcome(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().copied().map(i32::from_ne_bytes) {
        Some(code @ ..0) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Ok(()),
    }
}

/// Kind and body of the first message, and what follows.
fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?);
    let length = usize::try_from(length).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, aligned_rest(bytes, length)))
}

/// Type and value of the first attribute, and what follows.
fn split_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
    let value = bytes.get(4..length)?;
    Some((kind & TYPE, value, aligned_rest(bytes, length)))
}

fn aligned_rest(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(4)..).unwrap_or_default()
}

/// The value of the first attribute of a type.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some((kind, value, rest)) = split_attribute(attributes) {
        if kind == wanted {
            return Some(value);
        }
        attributes = rest;
    }
    None
}

/// `struct inet_diag_msg` with its attributes.
fn parse(body: &[u8], protocol: u8) -> Option<Listed> {
    let ([family, state, _, _], rest) = body.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk::<ID>()?;
    // Timer, queues and owner are of no use here.
    let (_, rest) = rest.split_first_chunk::<16>()?;
    let (inode, attributes) = rest.split_first_chunk()?;
    let (local, remote) = addresses(*family, id)?;
    let facts = find(attributes, SK_BPF_STORAGES)
        .and_then(|storages| find(storages, STORAGE))
        .and_then(|storage| find(storage, STORAGE_MAP_VALUE));
    let cgroup = find(attributes, CGROUP_ID).and_then(|id| id.first_chunk());
    Some(Listed {
        family: *family,
        protocol,
        state: match *state {
            TCP_LISTEN => State::Listening,
            // A UDP socket with a peer is in the first of them.
            TCP_CLOSE => State::Idle,
            TCP_ESTABLISHED.. => State::Connected,
            0 => State::Idle,
        },
        local,
        remote: (remote.port() != 0).then_some(remote),
        inode: u32::from_ne_bytes(*inode).into(),
        cgroup: cgroup.map(|id| CgroupId(u64::from_ne_bytes(*id))),
        facts: facts.and_then(abi::read),
        id: *id,
    })
}

fn addresses(family: u8, id: &[u8; ID]) -> Option<(SocketAddr, SocketAddr)> {
    let (local_port, rest) = id.split_first_chunk()?;
    let (remote_port, rest) = rest.split_first_chunk()?;
    let (local, rest) = rest.split_first_chunk::<16>()?;
    let (remote, _) = rest.split_first_chunk::<16>()?;
    let address = |ip: &[u8; 16], port: &[u8; 2]| {
        let port = u16::from_be_bytes(*port);
        if libc::c_int::from(family) == libc::AF_INET {
            let [a, b, c, d, ..] = *ip;
            return SocketAddr::from((Ipv4Addr::new(a, b, c, d), port));
        }
        SocketAddr::new(Ipv6Addr::from(*ip).to_canonical(), port)
    };
    Some((address(local, local_port), address(remote, remote_port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TCP: u8 = 6;

    /// One TCP connection from 192.0.2.1:1234 to 192.0.2.2:443, made in cgroup 4711.
    fn answer() -> Vec<u8> {
        let mut id = [0; ID];
        id[..4].copy_from_slice(&[0x04, 0xd2, 0x01, 0xbb]);
        id[4..8].copy_from_slice(&[192, 0, 2, 1]);
        id[20..24].copy_from_slice(&[192, 0, 2, 2]);
        let mut body = vec![libc::AF_INET as u8, TCP_ESTABLISHED, 0, 0];
        body.extend(id);
        body.extend([0; 12]);
        body.extend(1000_u32.to_ne_bytes());
        body.extend(99_u32.to_ne_bytes());
        // Of one byte, and padding.
        body.extend([5, 0, 10, 0, 7, 0, 0, 0]);
        body.extend(attribute(CGROUP_ID, &4711_u64.to_ne_bytes()));
        let mut bytes = Question::framed(SOCK_DIAG_BY_FAMILY, 2, &body).to_vec();
        bytes.extend(&*Question::framed(NLMSG_DONE, 2, &[0; 4]));
        bytes
    }

    #[test]
    fn a_socket_is_read_with_its_addresses_and_its_cgroup() {
        let mut listed = Vec::new();
        assert!(matches!(read(&answer(), TCP, &mut listed), Some(Ok(()))));
        let [socket] = &listed[..] else {
            panic!("{listed:?}");
        };
        assert_eq!(socket.local, "192.0.2.1:1234".parse().unwrap());
        assert_eq!(socket.remote, Some("192.0.2.2:443".parse().unwrap()));
        assert_eq!(socket.cgroup, Some(CgroupId(4711)));
        assert_eq!(socket.inode, 99);
        assert_eq!(socket.state, State::Connected);
        assert!(socket.facts.is_none());
    }

    #[test]
    fn an_answer_that_is_cut_at_any_byte_is_not_taken_for_a_whole_one() {
        let whole = answer();
        for end in 0..whole.len() {
            let mut listed = Vec::new();
            let end = read(&whole[..end], TCP, &mut listed);
            assert!(!matches!(end, Some(Ok(()))));
            assert!(listed.len() <= 1);
        }
    }

    #[test]
    fn an_error_of_the_kernel_is_told() {
        let refused = Question::framed(NLMSG_ERROR, 0, &(-libc::ENOENT).to_ne_bytes());
        let end = read(&refused, TCP, &mut Vec::new()).unwrap();
        assert_eq!(end.unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_fall_over(bytes: Vec<u8>, at in 0_usize..200, with: u8) {
            drop(read(&bytes, TCP, &mut Vec::new()));
            let mut bent = answer();
            let at = at % bent.len();
            bent[at] = with;
            drop(read(&bent, TCP, &mut Vec::new()));
        }
    }
}

//! rtnetlink(7), as far as devices that come and go.

use std::{io, os::fd::OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink,
    recv, send, socket_with,
};

/// What has happened to a device, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is there. Said of old ones too, and whenever anything about them changes.
    Present(u32),
    Gone(u32),
    /// The list that was asked for has ended.
    Listed,
}

/// What a read takes; the kernel splits lists at 32 KiB (`netlink_dump`).
const BUFFER: usize = 32 * 1024;

/// Numbers of linux/netlink.h and linux/rtnetlink.h.
const GROUP_LINK: u32 = 1;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;

/// `struct nlmsghdr`, `struct ifinfomsg`.
const HEADER: usize = 16;
const LINK: usize = 16;

/// A socket that hears of the devices of the calling thread's network namespace. Non-blocking.
pub(super) fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUP_LINK))?;
    Ok(socket)
}

/// Asks for all devices, which come among the changes.
pub(super) fn list(socket: &OwnedFd) -> io::Result<()> {
    let length = (HEADER + LINK) as u32;
    let mut request = [0_u8; HEADER + LINK];
    let fields = length
        .to_ne_bytes()
        .into_iter()
        .chain(GET_LINK.to_ne_bytes())
        .chain((REQUEST | DUMP).to_ne_bytes());
    for (byte, value) in request.iter_mut().zip(fields) {
        *byte = value;
    }
    send(socket, &request, SendFlags::empty())?;
    Ok(())
}

/// What has happened since the last call.
///
/// # Errors
/// `WouldBlock`: nothing. `ENOBUFS`: changes were lost, [`list`] tells what there is.
pub(super) fn changes(socket: &OwnedFd) -> io::Result<Vec<Change>> {
    let mut buffer = vec![0; BUFFER];
    let (length, _) = recv(socket, buffer.as_mut_slice(), RecvFlags::empty())?;
    Ok(parse(buffer.get(..length).unwrap_or_default()))
}

/// Reads whole messages; what is cut off or of other kinds is passed over.
fn parse(mut bytes: &[u8]) -> Vec<Change> {
    let mut found = Vec::new();
    while let Some(length) = field(bytes, 0).map(u32::from_ne_bytes) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(message) = bytes.get(..length).filter(|_| length >= HEADER) else {
            break;
        };
        found.extend(change(message));
        // Messages begin at multiples of 4 (NLMSG_ALIGNTO).
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn change(message: &[u8]) -> Option<Change> {
    let kind = u16::from_ne_bytes(field(message, 4)?);
    if kind == DONE {
        return Some(Change::Listed);
    }
    // A bridge tells of its ports under its own family: one that leaves it is not gone.
    let [family] = field(message, HEADER)?;
    let index = u32::from_ne_bytes(field(message, HEADER + 4)?);
    match kind {
        NEW_LINK => Some(Change::Present(index)),
        DELETED_LINK if i32::from(family) == libc::AF_UNSPEC => Some(Change::Gone(index)),
        _ => None,
    }
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, family: u8, index: u32) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + LINK + 2];
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[HEADER] = family;
        bytes[HEADER + 4..HEADER + 8].copy_from_slice(&index.to_ne_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    #[test]
    fn devices_that_come_and_go_are_told_from_ports_of_bridges() {
        let bridge = u8::try_from(libc::AF_BRIDGE).unwrap();
        let bytes = [
            message(NEW_LINK, 0, 7),
            message(DELETED_LINK, bridge, 7),
            message(20, 0, 7),
            message(DELETED_LINK, 0, 8),
            message(DONE, 0, 0),
        ]
        .concat();
        assert_eq!(
            parse(&bytes),
            [Change::Present(7), Change::Gone(8), Change::Listed]
        );
    }

    #[test]
    fn nothing_is_read_beyond_what_came() {
        let bytes = [message(NEW_LINK, 0, 7), message(NEW_LINK, 0, 8)].concat();
        // The last two bytes fill up.
        for length in 0..bytes.len() - 2 {
            assert!(parse(&bytes[..length]).len() <= 1, "{length}");
        }
        let mut endless = message(NEW_LINK, 0, 7);
        endless[..4].fill(0);
        assert_eq!(parse(&endless), []);
    }
}

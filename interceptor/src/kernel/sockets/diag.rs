//! sock_diag(7): which sockets a network namespace has, and ending one.

mod message;

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

pub(super) use self::message::{Listed, State};
use self::message::{Question, read};

/// For the kernel's next answer; it gives them at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// The kernel fills what it is given up to 32 KiB (`netlink_recvmsg`).
const ANSWER_BYTES: usize = 64 * 1024;

/// What is listed: (family, protocol).
const LISTS: [(u8, u8); 4] = [
    (libc::AF_INET as u8, libc::IPPROTO_TCP as u8),
    (libc::AF_INET6 as u8, libc::IPPROTO_TCP as u8),
    (libc::AF_INET as u8, libc::IPPROTO_UDP as u8),
    (libc::AF_INET6 as u8, libc::IPPROTO_UDP as u8),
];

/// A way to ask about the sockets of one network namespace.
#[derive(Debug)]
pub(super) struct Diag(OwnedFd);

impl Diag {
    /// In the network namespace of the calling thread, for which it stays.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// All TCP and UDP sockets, with what `storage`, a map of socket storage, holds of each. What the kernel keeps of
    /// connections that ended is not among them.
    pub(super) fn list(&self, storage: BorrowedFd<'_>) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for (family, protocol) in LISTS {
            let question = Question::list(family, protocol, storage.as_raw_fd());
            self.ask(&question, protocol, &mut listed)?;
        }
        Ok(listed)
    }

    /// Ends a socket: whoever holds it gets ECONNABORTED (`SOCK_DESTROY`).
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the kernel was built without `CONFIG_INET_DIAG_DESTROY`, `ENOENT` when it is gone.
    pub(super) fn destroy(&self, socket: &Listed) -> io::Result<()> {
        self.ask(&Question::destroy(socket), socket.protocol, &mut Vec::new())
    }

    fn ask(&self, question: &[u8], protocol: u8, listed: &mut Vec<Listed>) -> io::Result<()> {
        send(&self.0, question, SendFlags::empty())?;
        let mut buffer = vec![0; ANSWER_BYTES];
        loop {
            let (_, length) = recv(&self.0, &mut buffer[..], RecvFlags::TRUNC)?;
            let answer = buffer
                .get(..length)
                .ok_or_else(|| io::Error::other("the kernel's answer does not fit"))?;
            if let Some(end) = read(answer, protocol, listed) {
                return end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::kernel::{fixtures::Isolated, programs::Programs};

    #[test]
    fn kernel_a_namespace_lists_its_sockets_and_no_others() {
        let programs = Programs::trial().unwrap();
        let (place, other) = (Isolated::new(), Isolated::new());
        let _elsewhere = other.listen(7001);
        let listener = place.listen(7000);
        let udp = place
            .netns()
            .within(|| UdpSocket::bind("[::1]:7002"))
            .unwrap()
            .unwrap();
        let diag = place.netns().within(Diag::open).unwrap().unwrap();
        let mut seen = diag.list(programs.maps().storage()).unwrap();
        seen.sort_by_key(|socket| socket.local.port());
        let addresses: Vec<_> = seen.iter().map(|socket| socket.local).collect();
        assert_eq!(
            addresses,
            [listener.local_addr().unwrap(), udp.local_addr().unwrap()]
        );
        assert_eq!(seen[0].state, State::Listening);
        assert!(seen.iter().all(|socket| socket.facts.is_none()));
        assert!(seen.iter().all(|socket| socket.cgroup.is_some()));
    }

    #[test]
    fn kernel_a_socket_that_is_ended_is_gone() {
        let programs = Programs::trial().unwrap();
        let place = Isolated::new();
        let listener: TcpListener = place.listen(7000);
        let diag = place.netns().within(Diag::open).unwrap().unwrap();
        let seen = diag.list(programs.maps().storage()).unwrap();
        diag.destroy(&seen[0]).unwrap();
        // The port stays taken until it is closed.
        let left = diag.list(programs.maps().storage()).unwrap();
        assert!(left.iter().all(|socket| socket.state == State::Idle));
        let again = diag.destroy(&seen[0]).unwrap_err();
        assert_eq!(again.raw_os_error(), Some(libc::ENOENT));
        drop(listener);
    }
}

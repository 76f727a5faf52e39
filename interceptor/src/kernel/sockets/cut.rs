//! Making a socket useless that no program sees: it belongs to a cgroup without programs.
//!
//! Ending it is not enough. A TCP socket that was ended can be connected once more, a UDP one is merely disconnected.

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::net::{Shutdown, shutdown};

/// Returns from a filter of classic BPF with a length of 0: the packet is dropped.
const DROP_ALL: libc::sock_filter = libc::sock_filter {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: 0,
};

/// Nothing comes in any more. What goes out of a TCP socket goes to lo, which takes CAP_NET_RAW to undo; other ones send
/// nothing.
///
/// # Errors
/// The socket may still send.
pub(super) fn off(socket: BorrowedFd<'_>, is_tcp: bool) -> io::Result<()> {
    // A program can have locked a filter of its own: then what comes in passes, and is not answered.
    if let Err(error) = shut_in(socket) {
        tracing::debug!(%error, "a socket keeps the filter that it has");
    }
    if is_tcp {
        return set(socket, libc::SO_BINDTODEVICE, b"lo\0");
    }
    // Of what sends datagrams, this is for good (`sock_alloc_send_pskb`), while its device is forgotten at the next
    // connect(AF_UNSPEC).
    match shutdown(socket, Shutdown::Both) {
        // So it is answered without a peer, after it was done (`inet_shutdown`).
        Err(rustix::io::Errno::NOTCONN) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn shut_in(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut filter = [DROP_ALL];
    let program = libc::sock_fprog {
        len: 1,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel reads the structure and the one instruction that it points to, which outlive the call.
    unsafe {
        set_raw(
            socket,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&program).cast(),
            mem::size_of_val(&program),
        )
    }?;
    set(socket, libc::SO_LOCK_FILTER, &1_i32.to_ne_bytes())
}

fn set(socket: BorrowedFd<'_>, option: libc::c_int, value: &[u8]) -> io::Result<()> {
    // SAFETY: the value is as long as said, and holds no pointer.
    unsafe { set_raw(socket, option, value.as_ptr().cast(), value.len()) }
}

/// # Safety
/// `value` points to `length` bytes that are what the option takes.
unsafe fn set_raw(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
    value: *const libc::c_void,
    length: usize,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(length).map_err(io::Error::other)?;
    // SAFETY: by the caller's promise.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
        os::fd::AsFd as _,
        time::Duration,
    };

    use super::*;

    #[test]
    fn kernel_a_connection_that_was_cut_off_carries_nothing() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"before").unwrap();
        client.read_exact(&mut [0; 6]).unwrap();
        off(client.as_fd(), true).unwrap();
        server.write_all(b"after").unwrap();
        let wait = Some(Duration::from_millis(200));
        client.set_read_timeout(wait).unwrap();
        client.read_exact(&mut [0; 1]).unwrap_err();
    }

    #[test]
    fn kernel_a_socket_for_datagrams_that_was_cut_off_sends_none_to_anybody() {
        let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.send_to(b"before", to).unwrap();
        off(client.as_fd(), false).unwrap();
        let refused = client.send_to(b"after", to).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPIPE));
        client.connect(to).unwrap();
        let refused = client.send(b"after").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPIPE));
    }
}

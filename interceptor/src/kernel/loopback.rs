//! The loopback device.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// Brings `lo` up in the calling thread's network namespace. Tells whether it was down. Async-signal-safe.
pub(super) fn bring_up() -> io::Result<bool> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut request = Request {
        name: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        flags: 0,
        rest: [0; 22],
    };
    ioctl(&socket, libc::SIOCGIFFLAGS, &mut request)?;
    let up = libc::IFF_UP as libc::c_short;
    let was_down = request.flags & up == 0;
    if was_down {
        request.flags |= up;
        ioctl(&socket, libc::SIOCSIFFLAGS, &mut request)?;
    }
    Ok(was_down)
}

/// `struct ifreq` of netdevice(7) with the flags as the member of its union.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>());

fn ioctl(socket: impl AsFd, code: libc::Ioctl, request: &mut Request) -> io::Result<()> {
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: both codes take a `struct ifreq`, which `Request` is as long as.
    let result = unsafe { libc::ioctl(socket, code as _, std::ptr::from_mut(request)) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

//! bpf(2) on links, which aya creates and pins but cannot update.

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use crate::address::CgroupId;

// enum bpf_cmd in linux/bpf.h.
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;

/// Where in the life of a socket a program runs: `enum bpf_attach_type` in linux/bpf.h.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum AttachType {
    Egress = 1,
    SockCreate = 2,
    SockOps = 3,
    Connect4 = 10,
    Connect6 = 11,
    Sendmsg4 = 14,
    Sendmsg6 = 15,
    Recvmsg4 = 19,
    Recvmsg6 = 20,
    Setsockopt = 22,
    Getpeername4 = 29,
    Getpeername6 = 30,
    SockRelease = 34,
    LsmCgroup = 43,
    TcxEgress = 47,
}

/// The members of `union bpf_attr` that are used here; the kernel takes what is shorter than the union as padded with zeros.
#[repr(C)]
struct LinkCreate {
    program: RawFd,
    /// Of the cgroup, or the device's index.
    target: RawFd,
    attach_type: u32,
    /// 0: cgroup links are always of the "multi" kind, other flags are EINVAL.
    flags: u32,
}

/// Before all other programs on the device: what they let pass is not looked at any more.
const BEFORE: u32 = 1 << 3;

#[repr(C)]
struct LinkUpdate {
    link: RawFd,
    program: RawFd,
    flags: u32,
    old_program: u32,
}

#[repr(C)]
struct LinkDetach {
    link: RawFd,
}

#[repr(C)]
struct Object {
    path: u64,
    fd: RawFd,
    flags: u32,
}

#[repr(C)]
struct GetInfo {
    object: RawFd,
    length: u32,
    info: u64,
}

/// The head of `struct bpf_link_info`, with what the union's members for cgroups and for devices begin with.
#[derive(Default)]
#[repr(C)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    reserved: u32,
    /// A cgroup's id, low half first as on every machine that the programs are for; or a device's index and the attach type.
    place: [u32; 2],
}

/// A program on a cgroup, or on a device. It is there as long as this, or a pin of it, is.
#[derive(Debug)]
pub(super) struct CgroupLink(OwnedFd);

impl CgroupLink {
    pub(super) fn create(
        program: BorrowedFd<'_>,
        cgroup: BorrowedFd<'_>,
        attach_type: AttachType,
    ) -> io::Result<Self> {
        let attributes = LinkCreate {
            program: program.as_raw_fd(),
            target: cgroup.as_raw_fd(),
            attach_type: attach_type as u32,
            flags: 0,
        };
        // SAFETY: both descriptors are open for the call.
        let fd = unsafe { bpf(LINK_CREATE, &attributes) }?;
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// On what leaves by a device of the calling thread's network namespace.
    pub(super) fn create_on_device(program: BorrowedFd<'_>, index: u32) -> io::Result<Self> {
        let attributes = LinkCreate {
            program: program.as_raw_fd(),
            target: RawFd::try_from(index).map_err(io::Error::other)?,
            attach_type: AttachType::TcxEgress as u32,
            flags: BEFORE,
        };
        // SAFETY: the descriptor is open for the call.
        let fd = unsafe { bpf(LINK_CREATE, &attributes) }?;
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Opens a pin.
    pub(super) fn open(pin: &Path) -> io::Result<Self> {
        let path = c_path(pin)?;
        let attributes = Object {
            path: path.as_ptr() as u64,
            fd: 0,
            flags: 0,
        };
        // SAFETY: the path is NUL-terminated and outlives the call.
        let fd = unsafe { bpf(OBJ_GET, &attributes) }?;
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(super) fn pin(&self, pin: &Path) -> io::Result<()> {
        let path = c_path(pin)?;
        let attributes = Object {
            path: path.as_ptr() as u64,
            fd: self.0.as_raw_fd(),
            flags: 0,
        };
        // SAFETY: the path is NUL-terminated and outlives the call, the descriptor is open.
        unsafe { bpf(OBJ_PIN, &attributes) }.map(drop)
    }

    /// The cgroup that the program is on. `None`: it was detached, or the cgroup is gone.
    pub(super) fn cgroup(&self) -> io::Result<Option<CgroupId>> {
        self.info().map(|(cgroup, _)| cgroup)
    }

    /// The same, and the program's number.
    pub(super) fn info(&self) -> io::Result<(Option<CgroupId>, u32)> {
        let LinkInfo { place, program, .. } = self.look()?;
        let [low, high] = place;
        let id = u64::from(high) << 32 | u64::from(low);
        Ok(((id != 0).then_some(CgroupId(id)), program))
    }

    /// The index of the device that the program is on. `None`: it was detached, or the device is gone.
    pub(super) fn device(&self) -> io::Result<Option<u32>> {
        let [index, _attach_type] = self.look()?.place;
        Ok((index != 0).then_some(index))
    }

    fn look(&self) -> io::Result<LinkInfo> {
        let mut info = LinkInfo::default();
        let attributes = GetInfo {
            object: self.0.as_raw_fd(),
            length: u32::try_from(mem::size_of::<LinkInfo>()).map_err(io::Error::other)?,
            info: std::ptr::from_mut(&mut info) as u64,
        };
        // SAFETY: the descriptor is open, and the kernel writes at most `length` bytes, the size of `info`.
        unsafe { bpf(OBJ_GET_INFO_BY_FD, &attributes) }?;
        Ok(info)
    }

    /// Puts another program into the link; no packet and no call falls between the two.
    ///
    /// # Errors
    /// `ENOLINK` when the cgroup is gone.
    pub(super) fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let attributes = LinkUpdate {
            link: self.0.as_raw_fd(),
            program: program.as_raw_fd(),
            flags: 0,
            old_program: 0,
        };
        // SAFETY: both descriptors are open for the call.
        unsafe { bpf(LINK_UPDATE, &attributes) }.map(drop)
    }

    /// Takes the program off now. Dropping the last reference would leave that to a work queue.
    pub(super) fn detach(self) -> io::Result<()> {
        let attributes = LinkDetach {
            link: self.0.as_raw_fd(),
        };
        // SAFETY: the descriptor is open for the call.
        unsafe { bpf(LINK_DETACH, &attributes) }.map(drop)
    }
}

impl AsFd for CgroupLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

/// # Safety
/// `attributes` is the member of `union bpf_attr` that belongs to `command`, and what it points to is alive.
unsafe fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: by the caller's promise; the size is that of what the pointer points to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            mem::size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}

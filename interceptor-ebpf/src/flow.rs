//! Who connected, and where to.

use crate::plain;

/// An address as the program in the sandbox gave it, in 16-byte form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Address {
    pub ip: [u8; 16],
    pub port: u16,
    /// `AF_INET` (2) or `AF_INET6` (10): the call's family, also for v4-mapped addresses.
    pub family: u16,
    pub reserved: u32,
}

plain!(Address, size 24, { ip @ 0, port @ 16, family @ 18, reserved @ 20 });

pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;

/// Who called connect() or sendmsg().
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Owner {
    /// From the cgroup in which the socket was made, at sock_create.
    pub sandbox: u32,
    pub uid: u32,
    pub tgid: u32,
    pub tid: u32,
    pub netns: u64,
    pub time_ns: u64,
    /// NUL-padded.
    pub comm: [u8; 16],
}

plain!(Owner, size 48, { sandbox @ 0, uid @ 4, tgid @ 8, tid @ 12, netns @ 16, time_ns @ 24, comm @ 32 });

/// Key of `FLOWS`: what the daemon knows of a connection that it accepted, or of a datagram that it received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowKey {
    pub netns: u64,
    /// Source address as the packet has it, v4-mapped for IPv4.
    pub ip: [u8; 16],
    pub port: u16,
    /// [`TCP`] or [`UDP`].
    pub protocol: u16,
    pub reserved: u32,
}

plain!(FlowKey, size 32, { netns @ 0, ip @ 8, port @ 24, protocol @ 26, reserved @ 28 });

pub const TCP: u16 = 6;
pub const UDP: u16 = 17;

/// Value of `FLOWS`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Flow {
    pub owner: Owner,
    pub original: Address,
}

plain!(Flow, size 72, { owner @ 0, original @ 48 });

/// Capacity of `FLOWS`.
pub const MAX_FLOWS: u32 = 64 * 1024;

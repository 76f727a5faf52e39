//! Ways past the daemon that the configuration grants a sandbox: destinations, and processes in it.

use crate::plain;

/// Key of `DESTINATIONS`: where a sandbox may go directly. The value (`u64`) counts connects over TCP, datagrams over UDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Destination {
    pub sandbox: u32,
    /// [`TCP`](crate::flow::TCP) or [`UDP`](crate::flow::UDP).
    pub protocol: u16,
    pub port: u16,
    /// IPv4 in its v4-mapped form.
    pub ip: [u8; 16],
}

plain!(Destination, size 24, { sandbox @ 0, protocol @ 4, port @ 6, ip @ 8 });

/// Key of `PROCESSES`: who may go directly. The value (`u64`) counts sockets that were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Process {
    pub netns: u64,
    pub sandbox: u32,
    /// In the initial user namespace.
    pub uid: u32,
}

plain!(Process, size 16, { netns @ 0, sandbox @ 8, uid @ 12 });

/// Capacity of `DESTINATIONS`, of all sandboxes.
pub const MAX_DESTINATIONS: u32 = 16 * 1024;
/// Capacity of `PROCESSES`, of all sandboxes.
pub const MAX_PROCESSES: u32 = 4096;

//! Indices of the per-CPU array `COUNTERS` (`u64` each).

/// TCP connects steered to a listener.
pub const CONNECTS: u32 = 0;
/// Of these, held because the listener was not ready.
pub const HELD: u32 = 1;
/// Datagrams steered to the resolver.
pub const DATAGRAMS: u32 = 2;
/// Denials, all reasons together; each is also an event.
pub const DENIALS: u32 = 3;
/// Events that found the ring buffer full.
pub const EVENTS_LOST: u32 = 4;
/// Connections that others opened into the sandbox.
pub const INBOUND: u32 = 5;
/// Packets dropped by the fence, held SYNs included.
pub const FENCED: u32 = 6;

/// Connects and datagrams that went past the daemon, to destinations that the configuration grants.
pub const DIRECT: u32 = 7;
/// Sockets of exempt processes.
pub const EXEMPT: u32 = 8;
/// Packets dropped at a device.
pub const DEVICE_DROPS: u32 = 9;

/// Capacity of `COUNTERS`.
pub const COUNT: u32 = 10;
/// Names in index order, for people and metrics.
pub const NAMES: [&str; COUNT as usize] = [
    "connects",
    "held",
    "datagrams",
    "denials",
    "events_lost",
    "inbound",
    "fenced",
    "direct",
    "exempt",
    "device_drops",
];

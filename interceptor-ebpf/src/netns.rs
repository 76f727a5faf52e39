//! Network namespaces and the listeners in them.

use crate::plain;

/// Value of `NETNS`, keyed by netns cookie (`u64`).
///
/// The programs insert it as [`PENDING`] when a sandbox's socket appears in a namespace that nobody knows yet, and
/// announce that by an event; the daemon replaces it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Netns {
    /// [`PENDING`], [`READY`] or [`REFUSED`].
    pub state: u32,
    /// Port of the TCP and UDP listeners.
    pub port: u16,
    /// [`HAS_V6`] | [`PRIVATE`].
    pub flags: u16,
    /// When the namespace was last announced by an event; repeated at most once a second while pending.
    pub announced_ns: u64,
    /// Of whose share it is: 0 where the daemon was first.
    pub sandbox: u32,
    pub reserved: u32,
}

plain!(Netns, size 24, { state @ 0, port @ 4, flags @ 6, announced_ns @ 8, sandbox @ 16, reserved @ 20 });

/// Listeners are being made: connects are held.
pub const PENDING: u32 = 0;
/// Listeners are open on `port`.
pub const READY: u32 = 1;
/// There will be no listener (limit reached, port taken while connects were held): connects are denied.
pub const REFUSED: u32 = 2;

/// There is a listener on `::1` as well; otherwise IPv6 connects go to `::ffff:127.0.0.1`.
pub const HAS_V6: u16 = 1;
/// Only this sandbox lives in the namespace: its loopback traffic (but port 53) is left alone.
pub const PRIVATE: u16 = 2;

/// Capacity of `NETNS`.
pub const MAX_NETNS: u32 = 16 * 1024;

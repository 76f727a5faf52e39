//! Which cgroups are sandboxes.

use crate::plain;

/// Value of `SANDBOXES`, keyed by cgroup id (`u64`): what the programs know of a sandbox.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Sandbox {
    /// The daemon's number for it, never 0.
    pub id: u32,
    pub reserved: u32,
}

plain!(Sandbox, size 8, { id @ 0, reserved @ 4 });

/// Value of the one-element array `CONFIG`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Config {
    /// First time-out of a held connect, in jiffies of this kernel (about 40 ms).
    pub hold_rto_jiffies: u32,
    /// Port that a netns without an entry will get.
    pub port: u16,
    pub reserved: u16,
}

plain!(Config, size 8, { hold_rto_jiffies @ 0, port @ 4, reserved @ 6 });

/// Most ancestors of a cgroup that are looked at for a sandbox.
pub const CGROUP_DEPTH: i32 = 32;
/// Capacity of `SANDBOXES`.
pub const MAX_SANDBOXES: u32 = 1024;

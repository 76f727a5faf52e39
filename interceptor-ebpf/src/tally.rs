//! What one sandbox has counted, so that it takes no more than its share of what all of them use.

use crate::plain;

/// Value of `TALLIES`, keyed by the sandbox's number (`u32`). Made by the daemon, written by the programs alone, and
/// only ever added to.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Tally {
    /// Entries of `FLOWS` that were made.
    pub flows_published: u64,
    /// Of these, taken out again by the programs.
    pub flows_withdrawn: u64,
    /// Entries of `NETNS` that were made.
    pub netns_met: u64,
    pub denials: u64,
}

plain!(Tally, size 32, { flows_published @ 0, flows_withdrawn @ 8, netns_met @ 16, denials @ 24 });

/// Value of `TAKEN`, keyed like `TALLIES` and written by the daemon alone: the system call cannot add.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Taken {
    /// Entries of `FLOWS` that the daemon took out.
    pub flows: u64,
    /// Entries of `NETNS` that the daemon took out.
    pub netns: u64,
}

plain!(Taken, size 16, { flows @ 0, netns @ 8 });

/// Entries of `FLOWS` that one sandbox may have at a time: connections that wait to be accepted, and UDP sockets that
/// have asked the resolver.
pub const FLOWS_SHARE: u64 = 4096;
/// Entries of `NETNS` that one sandbox may have made. The daemon lets 16 have listeners; more come and go while it
/// looks.
pub const NETNS_SHARE: u64 = 256;

//! Everything that the programs share with the daemon.

use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf, SkStorage},
    macros::btf_map,
};
use interceptor_ebpf::{
    counter,
    event::{self, Event},
    flow::{Flow, FlowKey, MAX_FLOWS},
    netns::{MAX_NETNS, Netns},
    permit::{Destination, MAX_DESTINATIONS, MAX_PROCESSES, Process},
    sandbox::{Config, MAX_SANDBOXES, Sandbox},
    socket::Socket,
    tally::{Taken, Tally},
};

#[btf_map]
pub(super) static CONFIG: Array<Config, 1> = Array::new();

#[btf_map]
pub(super) static SANDBOXES: HashMap<u64, Sandbox, { MAX_SANDBOXES as usize }> = HashMap::new();

#[btf_map]
pub(super) static NETNS: HashMap<u64, Netns, { MAX_NETNS as usize }> = HashMap::new();

#[btf_map]
pub(super) static FLOWS: HashMap<FlowKey, Flow, { MAX_FLOWS as usize }> = HashMap::new();

#[btf_map]
pub(super) static DESTINATIONS: HashMap<Destination, u64, { MAX_DESTINATIONS as usize }> =
    HashMap::new();

#[btf_map]
pub(super) static PROCESSES: HashMap<Process, u64, { MAX_PROCESSES as usize }> = HashMap::new();

#[btf_map]
pub(super) static TALLIES: HashMap<u32, Tally, { MAX_SANDBOXES as usize }> = HashMap::new();

#[btf_map]
pub(super) static TAKEN: HashMap<u32, Taken, { MAX_SANDBOXES as usize }> = HashMap::new();

#[btf_map]
pub(super) static SOCKETS: SkStorage<Socket> = SkStorage::new();

#[btf_map]
pub(super) static EVENTS: RingBuf<Event, { event::RING_BYTES as usize }> = RingBuf::new();

#[btf_map]
pub(super) static COUNTERS: PerCpuArray<u64, { counter::COUNT as usize }> = PerCpuArray::new();

/// Adds one to a counter of this CPU.
#[inline(always)]
pub(super) fn count(index: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: the slot belongs to this CPU. A program that interrupts this one there may cost a count.
        unsafe { *counter += 1 };
    }
}

/// The daemon's settings; zeroes until it has written them.
#[inline(always)]
pub(super) fn config() -> Config {
    CONFIG.get(0).copied().unwrap_or_default()
}

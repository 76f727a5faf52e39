//! Ways past the daemon that the configuration grants.

use interceptor_ebpf::{
    counter,
    flow::{Address, Owner},
    permit::{Destination, Process},
};

use super::{
    maps::{self, DESTINATIONS, PROCESSES},
    tallies::add,
};

/// Whether a new socket is of an exempt process, by its user and its namespace at this moment; counts it.
#[inline(always)]
pub(super) fn exempts(owner: &Owner) -> bool {
    let key = Process {
        netns: owner.netns,
        sandbox: owner.sandbox,
        uid: owner.uid,
    };
    let Some(uses) = PROCESSES.get_ptr_mut(key) else {
        return false;
    };
    add(uses);
    maps::count(counter::EXEMPT);
    true
}

/// Whether a sandbox may go to an address directly.
#[inline(always)]
pub(super) fn grants(sandbox: u32, protocol: u16, address: &Address) -> bool {
    DESTINATIONS
        .get_ptr_mut(destination(sandbox, protocol, address))
        .is_some()
}

/// The same, and counts it.
#[inline(always)]
pub(super) fn spend(sandbox: u32, protocol: u16, address: &Address) -> bool {
    let Some(uses) = DESTINATIONS.get_ptr_mut(destination(sandbox, protocol, address)) else {
        return false;
    };
    add(uses);
    maps::count(counter::DIRECT);
    true
}

#[inline(always)]
const fn destination(sandbox: u32, protocol: u16, address: &Address) -> Destination {
    Destination {
        sandbox,
        protocol,
        port: address.port,
        ip: address.ip,
    }
}

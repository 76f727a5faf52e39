//! Network namespaces: which of them have listeners, and telling the daemon of those that have none.

use aya_ebpf::bindings::BPF_NOEXIST;
use interceptor_ebpf::{
    flow::Owner,
    netns::{Netns, PENDING},
};

use super::{
    maps::{NETNS, config},
    report, tallies,
};

/// A namespace that stays without listeners is announced again after this long, should the event have been lost.
const REPEAT_NS: u64 = 1_000_000_000;

/// The entry of a namespace, as it is now.
#[inline(always)]
pub(super) fn find(cookie: u64) -> Option<Netns> {
    // SAFETY: the entry is copied at once and not kept.
    unsafe { NETNS.get(cookie) }.copied()
}

/// The entry of the owner's namespace; makes and announces it when it is new. None when the table, or the
/// sandbox's share of it, is full.
#[inline(always)]
pub(super) fn meet(owner: &Owner) -> Option<Netns> {
    let Some(known) = NETNS.get_ptr_mut(owner.netns) else {
        return announce(owner);
    };
    // SAFETY: map memory outlives the program, and the entry is copied at once.
    let netns = unsafe { *known };
    if netns.state == PENDING && owner.time_ns.wrapping_sub(netns.announced_ns) > REPEAT_NS {
        // SAFETY: as above. Two programs at once announce twice; if the daemon has replaced the entry meanwhile, the
        // time is lost or goes to another's, and an announcement is repeated or late by a second.
        unsafe { (*known).announced_ns = owner.time_ns };
        report::netns_appeared(owner);
    }
    Some(netns)
}

#[inline(always)]
fn announce(owner: &Owner) -> Option<Netns> {
    let netns = Netns {
        state: PENDING,
        port: config().port,
        flags: 0,
        announced_ns: owner.time_ns,
        sandbox: owner.sandbox,
        reserved: 0,
    };
    if !tallies::may_meet_netns(owner.sandbox) {
        return None;
    }
    if NETNS
        .insert(owner.netns, netns, u64::from(BPF_NOEXIST))
        .is_err()
    {
        // Another socket was first, or the table is full.
        return find(owner.netns);
    }
    tallies::met_netns(owner.sandbox);
    report::netns_appeared(owner);
    Some(netns)
}

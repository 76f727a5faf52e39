//! What each sandbox has counted, and its share of the tables that all of them use.

use core::arch::asm;

use interceptor_ebpf::tally::{FLOWS_SHARE, NETNS_SHARE, Taken, Tally};

use super::maps::{TAKEN, TALLIES};

/// Adds one, whatever other CPUs do meanwhile. `counter` points into a map's value.
///
/// The target has no compare-and-swap for the compiler, which then keeps back all of `AtomicU64` but loads and stores.
#[inline(always)]
pub(super) fn add(counter: *mut u64) {
    // SAFETY: map memory outlives the program and is aligned; the verifier checks the access.
    unsafe {
        asm!(
            "lock *(u64 *)({counter} + 0) += {one}",
            counter = in(reg) counter,
            one = in(reg) 1_u64,
            options(nostack),
        )
    };
}

/// Counts a denial; those of sockets without owner belong to nobody.
#[inline(always)]
pub(super) fn denied(sandbox: u32) {
    if let Some(tally) = TALLIES.get_ptr_mut(sandbox) {
        // SAFETY: a field of what the map holds.
        add(unsafe { &raw mut (*tally).denials });
    }
}

/// Takes one entry of `FLOWS` out of a sandbox's share. Programs on several CPUs may overdraw it by one each.
#[inline(always)]
pub(super) fn reserve_flow(sandbox: u32) -> bool {
    let Some(tally) = TALLIES.get_ptr_mut(sandbox) else {
        return false;
    };
    // SAFETY: the entry is copied at once and not kept.
    let now: Tally = unsafe { *tally };
    let taken = taken(sandbox).flows;
    let used = now
        .flows_published
        .wrapping_sub(now.flows_withdrawn.wrapping_add(taken));
    if !fits(used, FLOWS_SHARE) {
        return false;
    }
    // SAFETY: a field of what the map holds.
    add(unsafe { &raw mut (*tally).flows_published });
    true
}

/// Puts it back.
#[inline(always)]
pub(super) fn return_flow(sandbox: u32) {
    if let Some(tally) = TALLIES.get_ptr_mut(sandbox) {
        // SAFETY: a field of what the map holds.
        add(unsafe { &raw mut (*tally).flows_withdrawn });
    }
}

/// Whether a sandbox may make one more entry of `NETNS`.
#[inline(always)]
pub(super) fn may_meet_netns(sandbox: u32) -> bool {
    let Some(tally) = TALLIES.get_ptr_mut(sandbox) else {
        return false;
    };
    // SAFETY: read at once.
    let met = unsafe { (*tally).netns_met };
    fits(met.wrapping_sub(taken(sandbox).netns), NETNS_SHARE)
}

/// Counts an entry of `NETNS` that was made.
#[inline(always)]
pub(super) fn met_netns(sandbox: u32) {
    if let Some(tally) = TALLIES.get_ptr_mut(sandbox) {
        // SAFETY: a field of what the map holds.
        add(unsafe { &raw mut (*tally).netns_met });
    }
}

#[inline(always)]
fn taken(sandbox: u32) -> Taken {
    // SAFETY: the entry is copied at once and not kept.
    unsafe { TAKEN.get(sandbox) }.copied().unwrap_or_default()
}

/// The daemon may have counted what it took out before a program has counted that it was made: that is less than none.
#[inline(always)]
const fn fits(used: u64, share: u64) -> bool {
    (used as i64) < share as i64
}

//! Events for the daemon.

use interceptor_ebpf::{
    counter,
    event::{Event, NETNS_APPEARED},
    flow::{Address, Owner},
};

use super::{
    maps::{EVENTS, count},
    owner, tallies,
};

/// Counts a denial and reports it with its reason.
#[inline(always)]
pub(super) fn denial(kind: u32, protocol: u32, owner: &Owner, address: &Address) {
    repeated(owner.sandbox);
    emit(kind, protocol, owner, address);
}

/// The same in a system call, where a socket without an owner is laid to the sandbox of whoever makes the call.
#[inline(always)]
pub(super) fn denied_call(kind: u32, protocol: u32, mut owner: Owner, address: &Address) {
    if owner.sandbox == 0 {
        owner.sandbox = owner::sandbox_of_current().unwrap_or(0);
    }
    denial(kind, protocol, &owner, address);
}

/// Counts a denial like one that was reported.
#[inline(always)]
pub(super) fn repeated(sandbox: u32) {
    count(counter::DENIALS);
    tallies::denied(sandbox);
}

/// Tells that a sandbox has a socket in a namespace that has no listeners yet.
#[inline(always)]
pub(super) fn netns_appeared(owner: &Owner) {
    emit(NETNS_APPEARED, 0, owner, &Address::default());
}

#[inline(always)]
fn emit(kind: u32, protocol: u32, owner: &Owner, address: &Address) {
    #[cfg(feature = "log")]
    log(kind, protocol, owner.sandbox, owner.tgid, address.port);
    let Some(mut entry) = EVENTS.reserve(0) else {
        count(counter::EVENTS_LOST);
        return;
    };
    entry.write(Event {
        kind,
        protocol,
        owner: *owner,
        address: *address,
    });
    entry.submit(0);
}

/// A function of its own, because programs are short of stack; and it takes numbers, because a call has five registers.
#[cfg(feature = "log")]
#[inline(never)]
fn log(kind: u32, protocol: u32, sandbox: u32, tgid: u32, port: u16) {
    aya_log_ebpf::debug!(
        &(),
        "event {}, protocol {}, sandbox {}, pid {}, port {}",
        kind,
        protocol,
        sandbox,
        tgid,
        port
    );
}

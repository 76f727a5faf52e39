//! Events for the daemon.

use aya_ebpf::{
    bindings::BPF_RB_AVAIL_DATA,
    helpers::{bpf_ringbuf_query, bpf_skb_load_bytes},
    programs::SkBuffContext,
};
use interceptor_ebpf::{
    counter,
    event::{Event, NETNS_APPEARED, QUESTION_BYTES, Question, QuestionHead, RING_BYTES},
    flow::{Address, FlowKey, Owner},
};

use super::{
    context::read,
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

/// Hands the daemon a query, which begins at `offset` of a packet that goes no further. Half of the ring stays free for what
/// sandboxes cannot send at will.
#[inline(always)]
pub(super) fn question(context: &SkBuffContext, asker: &FlowKey, offset: u32) {
    let length = read!(context.skb.skb, len).wrapping_sub(offset);
    if length == 0 || length > QUESTION_BYTES {
        return;
    }
    // SAFETY: the ring is a map of this object.
    let used = unsafe {
        bpf_ringbuf_query(
            (&raw const EVENTS).cast_mut().cast(),
            u64::from(BPF_RB_AVAIL_DATA),
        )
    };
    if used > u64::from(RING_BYTES / 2) {
        count(counter::EVENTS_LOST);
        return;
    }
    let Some(mut entry) = EVENTS.reserve_untyped::<Question>(0) else {
        count(counter::EVENTS_LOST);
        return;
    };
    // Read anew and masked, since the compiler turns what was checked above into what the verifier does not understand.
    let last = read!(context.skb.skb, len).wrapping_sub(offset + 1) & (QUESTION_BYTES - 1);
    let length = last + 1;
    let head = QuestionHead {
        asker: *asker,
        length,
        reserved: 0,
    };
    let place = entry.as_mut_ptr();
    // SAFETY: the head is what the entry begins with.
    unsafe { place.cast::<QuestionHead>().write(head) };
    // SAFETY: the entry is as large as the struct.
    let message = unsafe { &raw mut (*place).message }.cast();
    // SAFETY: the length is no more than the field's.
    let loaded = unsafe { bpf_skb_load_bytes(context.skb.skb.cast(), offset, message, length) };
    if loaded == 0 {
        entry.submit(0);
    } else {
        entry.discard(0);
    }
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

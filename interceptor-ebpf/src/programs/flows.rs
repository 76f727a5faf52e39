//! The hand-over to the daemon: who is behind a source address.

use aya_ebpf::bindings::{BPF_EXIST, BPF_NOEXIST};
use interceptor_ebpf::flow::{Flow, FlowKey, UDP};

use super::{facts::Facts, maps::FLOWS, tallies};

/// Publishes the socket's flow under `key`; false if the table, or the sandbox's share of it, is full.
#[inline(always)]
pub(super) fn publish(facts: Facts, key: &FlowKey) -> bool {
    if facts.key() != *key {
        withdraw(facts);
    }
    if !renew(facts, key) && !enter(facts, key) {
        return false;
    }
    facts.set_key(key);
    true
}

/// Replaces an entry of the same sandbox. One of another is left over: its socket has the source no longer.
#[inline(always)]
fn renew(facts: Facts, key: &FlowKey) -> bool {
    // SAFETY: the entry is read at once and not kept.
    let Some(sandbox) = unsafe { FLOWS.get(key) }.map(|flow| flow.owner.sandbox) else {
        return false;
    };
    if sandbox == facts.sandbox() {
        // Fails when the daemon has taken it meanwhile.
        return FLOWS
            .insert(key, facts.flow(), u64::from(BPF_EXIST))
            .is_ok();
    }
    if FLOWS.remove(key).is_ok() {
        tallies::return_flow(sandbox);
    }
    false
}

#[inline(always)]
fn enter(facts: Facts, key: &FlowKey) -> bool {
    let sandbox = facts.sandbox();
    if !tallies::reserve_flow(sandbox) {
        return false;
    }
    let entered = FLOWS.insert(key, facts.flow(), u64::from(BPF_NOEXIST));
    if entered.is_err() {
        tallies::return_flow(sandbox);
    }
    entered.is_ok()
}

/// Takes back what the socket has published.
#[inline(always)]
pub(super) fn withdraw(facts: Facts) {
    let key = facts.key();
    if key.port == 0 {
        return;
    }
    // SAFETY: the entry is read at once and not kept.
    if unsafe { FLOWS.get(key) }.is_some_and(|flow| ours(facts, &key, flow))
        // Fails when the daemon has taken it meanwhile.
        && FLOWS.remove(key).is_ok()
    {
        tallies::return_flow(facts.sandbox());
    }
    facts.set_key(&FlowKey::default());
}

/// After a failed TCP connect the source port is free at once while the socket lives on, and its next holder may have
/// published under the same key. A UDP socket holds its port, but sends many datagrams under one key.
#[inline(always)]
fn ours(facts: Facts, key: &FlowKey, flow: &Flow) -> bool {
    flow.owner.sandbox == facts.sandbox()
        && (key.protocol == UDP || flow.owner.time_ns == facts.time_ns())
}

//! The hand-over to the daemon: who is behind a source address.

use aya_ebpf::bindings::BPF_ANY;
use interceptor_ebpf::flow::{Flow, FlowKey, UDP};

use super::{facts::Facts, maps::FLOWS};

/// Publishes the socket's flow under `key`; false if the table is full.
#[inline(always)]
pub(super) fn publish(facts: Facts, key: &FlowKey) -> bool {
    if facts.key() != *key {
        withdraw(facts);
    }
    if FLOWS.insert(key, facts.flow(), u64::from(BPF_ANY)).is_err() {
        return false;
    }
    facts.set_key(key);
    true
}

/// Takes back what the socket has published.
#[inline(always)]
pub(super) fn withdraw(facts: Facts) {
    let key = facts.key();
    if key.port == 0 {
        return;
    }
    // SAFETY: the entry is read at once and not kept.
    if unsafe { FLOWS.get(key) }.is_some_and(|flow| ours(facts, &key, flow)) {
        // Gone already when the daemon has taken it meanwhile.
        let _gone = FLOWS.remove(key);
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

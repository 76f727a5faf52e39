//! What happens to a TCP socket after connect(), through sock_ops.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RTO_CB, BPF_SOCK_OPS_RTO_CB_FLAG,
        BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TIMEOUT_INIT,
    },
    helpers::bpf_setsockopt,
    macros::sock_ops,
    programs::SockOpsContext,
};
use interceptor_ebpf::{
    counter,
    event::{DENIED_FLOW_TABLE, DENIED_HOLD_EXPIRED},
    flow::{AF_INET, Address, FlowKey, TCP},
    socket::{CAPTURED, DENIED, HELD, INBOUND},
};

use super::{
    address::{self, Words},
    context::read,
    facts::Facts,
    flows,
    maps::{self, config},
    owner, report,
};

/// When a held connect is given its last probe. From the first second on there is one every half second, so the
/// connect ends with ETIMEDOUT after 10 s.
const LAST_PROBE_NS: u64 = 9_500_000_000;

/// SYNs that a held connect may lose: more than there are probes.
const HELD_SYNS: i32 = 127;
/// What net.ipv4.tcp_syn_retries is everywhere, for a connect that is no longer held.
const USUAL_SYNS: i32 = 6;

const SOL_TCP: i32 = 6;
const TCP_SYNCNT: i32 = 7;

#[sock_ops]
fn tcp_events(context: SockOpsContext) -> u32 {
    let sk: *mut c_void = read!(context.ops, __bindgen_anon_2.sk).cast();
    // Request sockets, which are not full ones, show as null.
    if !sk.is_null() {
        match context.op() {
            BPF_SOCK_OPS_TCP_CONNECT_CB => connecting(&context, sk),
            BPF_SOCK_OPS_TIMEOUT_INIT => first_timeout(&context, sk),
            BPF_SOCK_OPS_RTO_CB => timed_out(&context, sk),
            BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(&context, sk),
            _ => {}
        }
    }
    1
}

/// Before the SYN, with the source address known.
#[inline(always)]
fn connecting(context: &SockOpsContext, sk: *mut c_void) {
    let Some(facts) = Facts::of(sk) else {
        return;
    };
    let flags = facts.flags();
    if flags & CAPTURED != 0 && !flows::publish(facts, &key(context, facts)) {
        // This hook cannot refuse: the fence drops the SYNs, and few are tried.
        facts.set(DENIED);
        let flow = facts.flow();
        report::denial(
            DENIED_FLOW_TABLE,
            u32::from(TCP),
            &flow.owner,
            &flow.original,
        );
        limit_syns(context, 1);
        return;
    }
    if flags & HELD != 0 {
        limit_syns(context, HELD_SYNS);
    }
    // The fence may deny it yet.
    watch_timeouts(context, true);
}

/// The first SYN of a held connect is lost for certain: the next one shall not take a second.
#[inline(always)]
fn first_timeout(context: &SockOpsContext, sk: *mut c_void) {
    if Facts::of(sk).is_some_and(|facts| facts.flags() & (HELD | DENIED) != 0) {
        context.set_reply(config().hold_rto_jiffies);
    }
}

/// A held SYN was dropped by the fence, and its time-out has come.
#[inline(always)]
fn timed_out(context: &SockOpsContext, sk: *mut c_void) {
    let Some(facts) = Facts::of(sk) else {
        return;
    };
    let flags = facts.flags();
    if flags & DENIED != 0 {
        limit_syns(context, 1);
    } else if flags & HELD == 0 {
        limit_syns(context, USUAL_SYNS);
        watch_timeouts(context, false);
    } else if expired(context) {
        facts.set(DENIED);
        let flow = facts.flow();
        report::denial(
            DENIED_HOLD_EXPIRED,
            u32::from(TCP),
            &flow.owner,
            &flow.original,
        );
    } else if owner::now().wrapping_sub(facts.time_ns()) >= LAST_PROBE_NS {
        limit_syns(context, 1);
    }
}

/// A connection that somebody opened into the sandbox, unless it is one of two that opened each other.
#[inline(always)]
fn accepted(context: &SockOpsContext, sk: *mut c_void) {
    if Facts::of(sk).is_some() {
        return;
    }
    // Read before the branch, as in `key`.
    let ip4 = read!(context.ops, remote_ip4);
    let ip6 = remote(context);
    let v4 = context.family() == u32::from(AF_INET);
    let peer = Address {
        ip: address::bytes(if v4 { address::mapped(ip4) } else { ip6 }),
        port: u32::from_be(read!(context.ops, remote_port)) as u16,
        ..Address::default()
    };
    // Without storage the fence drops its answers.
    if let Some(facts) = Facts::create(sk) {
        facts.set_original(&peer);
        facts.set(INBOUND);
        maps::count(counter::INBOUND);
    }
}

/// The source address as accept() will show it. A v4-mapped connection has an IPv4 source even if its socket is bound
/// to an IPv6 address.
#[inline(always)]
fn key(context: &SockOpsContext, facts: Facts) -> FlowKey {
    let ops = context.ops;
    let remote = remote(context);
    // Read before the branch: merged tails of two branches would read at a computed offset, which the verifier refuses.
    let ip4 = read!(ops, local_ip4);
    let ip6: Words = [
        read!(ops, local_ip6[0]),
        read!(ops, local_ip6[1]),
        read!(ops, local_ip6[2]),
        read!(ops, local_ip6[3]),
    ];
    let source = if context.family() == u32::from(AF_INET) || address::is_mapped(remote) {
        address::mapped(ip4)
    } else {
        ip6
    };
    FlowKey {
        netns: facts.netns(),
        ip: address::bytes(source),
        port: read!(ops, local_port) as u16,
        protocol: TCP,
        reserved: 0,
    }
}

/// Of a socket of family `AF_INET6`.
#[inline(always)]
fn remote(context: &SockOpsContext) -> Words {
    let ops = context.ops;
    [
        read!(ops, remote_ip6[0]),
        read!(ops, remote_ip6[1]),
        read!(ops, remote_ip6[2]),
        read!(ops, remote_ip6[3]),
    ]
}

/// Whether this time-out is the connect's last: third argument of `BPF_SOCK_OPS_RTO_CB`.
#[inline(always)]
fn expired(context: &SockOpsContext) -> bool {
    read!(context.ops, __bindgen_anon_1.args[2]) != 0
}

#[inline(always)]
fn limit_syns(context: &SockOpsContext, count: i32) {
    let mut count = count;
    // SAFETY: the value is on the stack, and its size is given. A failure leaves the usual time-out.
    unsafe {
        bpf_setsockopt(
            context.as_ptr(),
            SOL_TCP,
            TCP_SYNCNT,
            (&raw mut count).cast(),
            size_of::<i32>() as i32,
        )
    };
}

#[inline(always)]
fn watch_timeouts(context: &SockOpsContext, on: bool) {
    let flag = BPF_SOCK_OPS_RTO_CB_FLAG;
    let others = context.cb_flags() & !flag;
    let flags = if on { others | flag } else { others };
    // A kernel without the callback lets the hold end by SYN count alone.
    let _unwatched = context.set_cb_flags(flags as i32);
}

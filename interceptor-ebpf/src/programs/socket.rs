//! A socket's birth and death.

use aya_ebpf::{
    helpers::{bpf_get_netns_cookie, bpf_set_retval},
    macros::cgroup_sock,
    programs::SockContext,
};
use interceptor_ebpf::{
    event::{DENIED_INTERNAL, DENIED_MPTCP, DENIED_PROTOCOL, DENIED_UNKNOWN_SANDBOX},
    flow::{AF_INET, AF_INET6, Address, TCP, UDP},
    socket::EXEMPT,
};

use super::{ALLOW, DENY, context::read, facts::Facts, flows, netns, owner, permits, report};

const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const MPTCP: u32 = 262;
const TCP_SYN_SENT: u32 = 2;
const TCP_CLOSE: u32 = 7;
const EPROTONOSUPPORT: i32 = 93;

const STREAM_OF_TCP: (u32, u32) = (SOCK_STREAM, TCP as u32);
const DATAGRAMS_OF_UDP: (u32, u32) = (SOCK_DGRAM, UDP as u32);

/// Settles the owner, by the cgroup in which the socket is made: later the socket may be in other hands.
#[cgroup_sock(sock_create)]
fn sock_create(context: SockContext) -> i32 {
    let sock = context.sock;
    // SAFETY: the context is this program's own.
    let netns = unsafe { bpf_get_netns_cookie(sock.cast()) };
    let sandbox = owner::sandbox_of_current();
    let owner = owner::current(sandbox.unwrap_or(0), netns);
    let protocol = read!(sock, protocol);

    let refusal = match (read!(sock, type_), protocol) {
        _ if sandbox.is_none() => DENIED_UNKNOWN_SANDBOX,
        _ if !is_internet(read!(sock, family)) => DENIED_PROTOCOL,
        STREAM_OF_TCP | DATAGRAMS_OF_UDP => match Facts::create(sock.cast()) {
            Some(facts) => {
                facts.settle(&owner);
                if permits::exempts(&owner) {
                    facts.set(EXEMPT);
                    return ALLOW;
                }
                // A full table shows at connect, where there is something to deny.
                let _listeners = netns::meet(&owner);
                return ALLOW;
            }
            None => DENIED_INTERNAL,
        },
        (_, MPTCP) => {
            // What a kernel without MPTCP answers: programs then fall back to TCP.
            // SAFETY: takes a number.
            unsafe { bpf_set_retval(-EPROTONOSUPPORT) };
            DENIED_MPTCP
        }
        _ => DENIED_PROTOCOL,
    };
    report::denial(refusal, protocol, &owner, &Address::default());
    DENY
}

/// Takes back what the socket had published. The storage itself goes with the socket.
///
/// Not for a TCP connection that stands: it waits to be accepted with all that the client has sent, and the daemon takes
/// the record then.
#[cgroup_sock(sock_release)]
fn sock_release(context: SockContext) -> i32 {
    let sock = context.sock;
    let stands = read!(sock, protocol) == u32::from(TCP)
        && !matches!(read!(sock, state), TCP_SYN_SENT | TCP_CLOSE);
    if !stands && let Some(facts) = Facts::of(sock.cast()) {
        flows::withdraw(facts);
    }
    ALLOW
}

#[inline(always)]
fn is_internet(family: u32) -> bool {
    family == u32::from(AF_INET) || family == u32::from(AF_INET6)
}

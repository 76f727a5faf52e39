//! getpeername(): a program sees the address that it asked for.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use interceptor_ebpf::socket::{CAPTURED, DNS, MUTE};

use super::{
    ALLOW,
    address::{self, is_loopback},
    connect::MUTE_PORT,
    facts::Facts,
    steer::Call,
};

#[cgroup_sock_addr(getpeername4)]
fn getpeername4(context: SockAddrContext) -> i32 {
    restore(Call::v4(&context))
}

#[cgroup_sock_addr(getpeername6)]
fn getpeername6(context: SockAddrContext) -> i32 {
    restore(Call::v6(&context))
}

#[inline(always)]
fn restore(call: Call) -> i32 {
    let Some(facts) = Facts::of(call.sk()) else {
        return ALLOW;
    };
    let flags = facts.flags();
    let port = call.port();
    // The real peer is looked at, since a socket connected to one place may have sent DNS to another.
    let steered = flags & (CAPTURED | DNS) != 0 && port == facts.steered_port()
        || flags & MUTE != 0 && port == MUTE_PORT;
    if steered && is_loopback(call.ip()) {
        let original = facts.flow().original;
        call.replace(address::words(&original), original.port);
    }
    ALLOW
}

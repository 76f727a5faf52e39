//! setsockopt(): options that would lead round the hooks.

use core::ffi::c_void;

use aya_ebpf::{macros::cgroup_sockopt, programs::SockoptContext};
use interceptor_ebpf::{event::DENIED_SOCKOPT, flow::Address, netns::PENDING, socket::EXEMPT};

use super::{
    ALLOW, DENY,
    context::{read, write},
    facts::Facts,
    netns, owner, report,
};

const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;
const SO_BINDTOIFINDEX: i32 = 62;

const IPPROTO_IP: i32 = 0;
const IP_OPTIONS: i32 = 4;
const IP_RECVERR: i32 = 11;
const IP_FREEBIND: i32 = 15;
const IP_TRANSPARENT: i32 = 19;
const IP_ADD_MEMBERSHIP: i32 = 35;
const IP_ADD_SOURCE_MEMBERSHIP: i32 = 39;
const IP_MSFILTER: i32 = 41;

const IPPROTO_IPV6: i32 = 41;
const IPV6_2292PKTOPTIONS: i32 = 6;
const IPV6_ADD_MEMBERSHIP: i32 = 20;
const IPV6_RECVERR: i32 = 25;
const IPV6_JOIN_ANYCAST: i32 = 27;
const IPV6_RTHDR: i32 = 57;
const IPV6_TRANSPARENT: i32 = 75;
const IPV6_FREEBIND: i32 = 78;

// The same at both levels.
const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_JOIN_SOURCE_GROUP: i32 = 46;
const MCAST_MSFILTER: i32 = 48;

// Packet sockets, which no other program sees: PACKET_QDISC_BYPASS leads past the devices' fence, and AF_XDP sends
// nothing before its rings are set.
const SOL_PACKET: i32 = 263;
const SOL_XDP: i32 = 283;

/// What the kernel copies of an option's value for the programs, at least: a page.
const MAX_VALUE: i32 = 4096;
/// As a length: the kernel does nothing, and the caller is told that it is done.
const DONE: i32 = -1;

#[cgroup_sockopt(setsockopt)]
fn setsockopt(context: SockoptContext) -> i32 {
    let sockopt = context.sockopt;
    let level = read!(sockopt, level);
    let option = read!(sockopt, optname);
    if !leads_out(level, option) {
        if tells_of_drops(level, option) && is_early(read!(sockopt, __bindgen_anon_1.sk).cast()) {
            write!(sockopt, DONE, optlen);
        } else if read!(sockopt, optlen) > MAX_VALUE {
            // Otherwise a longer value fails with EFAULT; 0 tells the kernel to use the caller's own.
            write!(sockopt, 0, optlen);
        }
        return ALLOW;
    }
    let facts = Facts::of(read!(sockopt, __bindgen_anon_1.sk).cast());
    if facts.is_some_and(|facts| facts.flags() & EXEMPT != 0) {
        return ALLOW;
    }
    let owner = owner::current(
        facts.map_or(0, Facts::sandbox),
        facts.map_or(0, Facts::netns),
    );
    let address = Address {
        port: option as u16,
        ..Address::default()
    };
    report::denied_call(DENIED_SOCKOPT, level as u32, owner, &address);
    DENY
}

/// glibc's resolver asks to be told of errors at once, and gives up when the first question of a namespace, which the fence
/// keeps for the daemon, is told to have been dropped (ENOBUFS, `udp_send_skb`).
#[inline(always)]
const fn tells_of_drops(level: i32, option: i32) -> bool {
    matches!(
        (level, option),
        (IPPROTO_IP, IP_RECVERR) | (IPPROTO_IPV6, IPV6_RECVERR)
    )
}

/// Whether a socket was made before its namespace had listeners.
#[inline(always)]
fn is_early(sk: *mut c_void) -> bool {
    let Some(facts) = Facts::of(sk) else {
        return false;
    };
    facts.flags() & EXEMPT == 0
        && netns::find(facts.netns()).is_some_and(|netns| netns.state == PENDING)
}

/// Binding to a device overrules routing. A source route, which IPv6 grants to everybody, sends what a listener or an
/// accepted connection answers to an address of the sandbox's choice. Joining a group makes the kernel itself send IGMP or MLD, with an address of
/// the sandbox's choice and past every hook. A source that is not this machine's makes the kernel answer what comes from it
/// over loopback to wherever that is: Linux does not ask whether an IPv6 source is local.
#[inline(always)]
const fn leads_out(level: i32, option: i32) -> bool {
    match level {
        SOL_SOCKET => matches!(option, SO_BINDTODEVICE | SO_BINDTOIFINDEX),
        IPPROTO_IP => matches!(
            option,
            IP_OPTIONS
                | IP_FREEBIND
                | IP_TRANSPARENT
                | IP_ADD_MEMBERSHIP
                | IP_ADD_SOURCE_MEMBERSHIP
                | IP_MSFILTER
                | MCAST_JOIN_GROUP
                | MCAST_JOIN_SOURCE_GROUP
                | MCAST_MSFILTER
        ),
        IPPROTO_IPV6 => matches!(
            option,
            IPV6_2292PKTOPTIONS
                | IPV6_ADD_MEMBERSHIP
                | IPV6_JOIN_ANYCAST
                | IPV6_RTHDR
                | IPV6_TRANSPARENT
                | IPV6_FREEBIND
                | MCAST_JOIN_GROUP
                | MCAST_JOIN_SOURCE_GROUP
                | MCAST_MSFILTER
        ),
        SOL_PACKET | SOL_XDP => true,
        _ => false,
    }
}

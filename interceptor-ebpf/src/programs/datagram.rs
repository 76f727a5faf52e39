//! Datagrams of sockets that are not connected, and where answers seem to come from.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use interceptor_ebpf::{
    counter,
    event::{DENIED_DATAGRAM, DENIED_FAMILY, DENIED_NETNS, DENIED_UNOWNED},
    flow::{AF_INET, Address, Owner, UDP},
    netns::{HAS_V6, PENDING, PRIVATE, READY},
    socket::{DIRECT, DNS, EXEMPT, MUTE},
};

use super::{
    ALLOW, DENY, DNS_PORT,
    address::{self, LOOPBACK4, LOOPBACK6, is_loopback},
    connect::MUTE_PORT,
    facts::Facts,
    maps, netns, owner, permits, report,
    steer::Call,
};

/// State of a UDP socket that is connected.
const TCP_ESTABLISHED: u32 = 1;

/// Runs for v4-mapped destinations too.
#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(context: SockAddrContext) -> i32 {
    decide(Call::v4(&context))
}

#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(context: SockAddrContext) -> i32 {
    decide(Call::v6(&context))
}

#[cgroup_sock_addr(recvmsg4)]
fn recvmsg4(context: SockAddrContext) -> i32 {
    restore(Call::v4(&context))
}

/// Runs for every socket of family `AF_INET6`, v4-mapped sources included.
#[cgroup_sock_addr(recvmsg6)]
fn recvmsg6(context: SockAddrContext) -> i32 {
    restore(Call::v6(&context))
}

#[inline(always)]
fn decide(call: Call) -> i32 {
    let facts = Facts::of(call.sk());
    if facts.is_some_and(|facts| facts.flags() & EXEMPT != 0) {
        return ALLOW;
    }
    let owner = owner::current(
        facts.map_or(0, Facts::sandbox),
        facts.map_or(0, Facts::netns),
    );
    let mut wanted = call.address();
    let refusal = match facts {
        Some(facts) if owner.sandbox != 0 => {
            let verdict = match connected(call, facts) {
                Some(verdict) => {
                    wanted = facts.flow().original;
                    verdict
                }
                None => send(call, facts, &owner, &wanted),
            };
            match verdict {
                Ok(()) => return ALLOW,
                Err(refusal) if facts.first_report() => refusal,
                Err(_reported) => {
                    report::repeated(owner.sandbox);
                    return DENY;
                }
            }
        }
        _ => DENIED_UNOWNED,
    };
    report::denied_call(refusal, call.protocol(), owner, &wanted);
    DENY
}

/// What connect() has decided already: a send without address runs the hook too if the socket is of family `AF_INET6`
/// and its peer v4-mapped, as `udpv6_sendmsg` then hands the peer on as if it had been given.
#[inline(always)]
fn connected(call: Call, facts: Facts) -> Option<Result<(), u32>> {
    if call.state() != TCP_ESTABLISHED {
        // connect(AF_UNSPEC), which no hook sees, has dissolved the association if there was one.
        facts.clear(MUTE);
        return None;
    }
    if !is_loopback(call.ip()) {
        return None;
    }
    let flags = facts.flags();
    match call.port() {
        MUTE_PORT if flags & MUTE != 0 => Some(Err(DENIED_DATAGRAM)),
        port if flags & DNS != 0 && port == facts.steered_port() => Some(Ok(())),
        _ => None,
    }
}

#[inline(always)]
fn send(call: Call, facts: Facts, owner: &Owner, original: &Address) -> Result<(), u32> {
    if permits::grants(owner.sandbox, UDP, original) {
        facts.set(DIRECT);
        return Ok(());
    }
    let netns = netns::meet(owner).ok_or(DENIED_NETNS)?;
    if original.port != DNS_PORT {
        // While the namespace is pending the fence keeps it back.
        let local = netns.state == PENDING || netns.flags & PRIVATE != 0;
        return if local && is_loopback(address::words(original)) {
            Ok(())
        } else {
            Err(DENIED_DATAGRAM)
        };
    }
    if netns.state != READY && netns.state != PENDING {
        return Err(DENIED_NETNS);
    }
    // `udpv6_sendmsg` refuses an IPv6 address that a program made v4-mapped.
    if original.family == AF_INET {
        call.replace(address::mapped(LOOPBACK4), netns.port);
    } else if netns.flags & HAS_V6 != 0 || netns.state == PENDING {
        call.replace(LOOPBACK6, netns.port);
    } else {
        return Err(DENIED_FAMILY);
    }
    facts.begin(owner, original, netns.port);
    facts.set(DNS);
    maps::count(counter::DATAGRAMS);
    Ok(())
}

/// Lets an answer of our resolver come from the address that was asked. Libraries drop answers from others.
#[inline(always)]
fn restore(call: Call) -> i32 {
    if let Some(facts) = Facts::of(call.sk())
        && facts.flags() & DNS != 0
        && call.port() == facts.steered_port()
        && is_loopback(call.ip())
    {
        let original = facts.flow().original;
        call.replace(address::words(&original), original.port);
    }
    ALLOW
}

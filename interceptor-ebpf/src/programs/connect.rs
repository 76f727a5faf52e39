//! connect(), for TCP and UDP.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use interceptor_ebpf::{
    counter,
    event::{DENIED_INTERNAL, DENIED_NETNS, DENIED_UNOWNED},
    flow::{Address, Owner, TCP, UDP},
    netns::{Netns, PENDING, PRIVATE, READY},
    socket::{CAPTURED, DIRECT, DNS, EXEMPT, HELD, LOCAL, MUTE},
};

use super::{
    ALLOW, DENY, DNS_PORT,
    address::{self, is_loopback},
    facts::Facts,
    flows, maps, netns, owner, permits, report,
    steer::Call,
};

/// Where a UDP connect that is not DNS ends: the discard port (RFC 863). The fence knows such packets by it.
pub(super) const MUTE_PORT: u16 = 9;

#[cgroup_sock_addr(connect4)]
fn connect4(context: SockAddrContext) -> i32 {
    decide(Call::v4(&context))
}

#[cgroup_sock_addr(connect6)]
fn connect6(context: SockAddrContext) -> i32 {
    decide(Call::v6(&context))
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
    let original = call.address();
    let refusal = match facts {
        // Accepted connections have storage, but no sandbox: disconnected, they may not turn into outgoing ones.
        Some(facts) if owner.sandbox != 0 => match connect(call, facts, &owner, &original) {
            Ok(()) => return ALLOW,
            Err(refusal) => refusal,
        },
        _ => DENIED_UNOWNED,
    };
    report::denied_call(refusal, call.protocol(), owner, &original);
    DENY
}

#[inline(always)]
fn connect(call: Call, facts: Facts, owner: &Owner, original: &Address) -> Result<(), u32> {
    if grant(call, facts, owner, original) {
        return Ok(());
    }
    let netns = netns::meet(owner).ok_or(DENIED_NETNS)?;
    match call.protocol() as u16 {
        TCP => stream(call, facts, owner, original, &netns),
        UDP => datagrams(call, facts, owner, original, &netns),
        _ => Err(DENIED_INTERNAL),
    }
}

/// Over UDP a connect is none of the datagrams that are counted; the fence judges each.
#[inline(always)]
fn grant(call: Call, facts: Facts, owner: &Owner, original: &Address) -> bool {
    let granted = match call.protocol() as u16 {
        TCP => permits::spend(owner.sandbox, TCP, original),
        protocol => permits::grants(owner.sandbox, protocol, original),
    };
    if granted {
        flows::withdraw(facts);
        facts.begin(owner, original, 0);
        facts.set_flags(DIRECT);
    }
    granted
}

#[inline(always)]
fn stream(
    call: Call,
    facts: Facts,
    owner: &Owner,
    original: &Address,
    netns: &Netns,
) -> Result<(), u32> {
    let hold = match netns.state {
        READY => 0,
        PENDING => HELD,
        _ => return Err(DENIED_NETNS),
    };
    flows::withdraw(facts);
    if stays_local(original) && (hold != 0 || netns.flags & PRIVATE != 0) {
        // While it is held nobody knows whether the namespace is private. The fence will: it lets the connect go
        // where it wanted to, or refuses it.
        facts.begin(owner, original, 0);
        facts.set_flags(LOCAL | hold);
    } else {
        facts.begin(owner, original, netns.port);
        facts.set_flags(CAPTURED | hold);
        call.steer(netns, netns.port);
        maps::count(counter::CONNECTS);
    }
    if hold != 0 {
        maps::count(counter::HELD);
    }
    Ok(())
}

/// A UDP connect sends nothing. It succeeds even where there is no route, because libraries sort and probe addresses
/// by it; the fence judges what follows.
#[inline(always)]
fn datagrams(
    call: Call,
    facts: Facts,
    owner: &Owner,
    original: &Address,
    netns: &Netns,
) -> Result<(), u32> {
    if original.port == DNS_PORT {
        if netns.state != READY && netns.state != PENDING {
            return Err(DENIED_NETNS);
        }
        facts.begin(owner, original, netns.port);
        facts.set_flags(DNS);
        call.steer(netns, netns.port);
        maps::count(counter::DATAGRAMS);
    } else if stays_local(original) && (netns.state == PENDING || netns.flags & PRIVATE != 0) {
        facts.begin(owner, original, 0);
        facts.set_flags(LOCAL);
    } else {
        facts.begin(owner, original, 0);
        facts.set_flags(MUTE);
        call.steer(netns, MUTE_PORT);
    }
    Ok(())
}

/// Loopback is left alone in a private namespace, but for port 53: that may be a resolver with a way out.
#[inline(always)]
fn stays_local(original: &Address) -> bool {
    original.port != DNS_PORT && is_loopback(address::words(original))
}

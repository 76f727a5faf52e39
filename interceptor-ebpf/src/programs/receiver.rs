//! Who would get a packet that stays on loopback.
//!
//! An address does not tell: ports of a daemon that has died can be taken, and whoever is outside of the sandbox can leave a
//! socket in its namespace.

use aya_ebpf::{
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock_tuple},
    helpers::{bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release},
    programs::SkBuffContext,
};
use interceptor_ebpf::{
    flow::{AF_INET, TCP},
    socket::{KEPT, LISTENER},
};

use super::{address, facts::Facts, packet::Packet};

/// Whether it is the daemon, or nobody.
#[inline(always)]
pub(super) fn is_daemon(context: &SkBuffContext, packet: &Packet) -> bool {
    fits(context, packet, |facts| facts.flags() & LISTENER != 0)
}

/// Whether it is of the same sandbox, or nobody.
#[inline(always)]
pub(super) fn is_of(context: &SkBuffContext, packet: &Packet, sandbox: u32) -> bool {
    fits(context, packet, |facts| {
        facts.sandbox() == sandbox || facts.flags() & KEPT != 0
    })
}

/// True for nobody too: the kernel then refuses by itself.
#[inline(always)]
fn fits(context: &SkBuffContext, packet: &Packet, fits: impl Fn(Facts) -> bool) -> bool {
    let mut tuple = bpf_sock_tuple {
        // SAFETY: zeroes are an address.
        __bindgen_anon_1: unsafe { core::mem::zeroed() },
    };
    let destination = address::words(&packet.destination);
    let (source_port, port) = (packet.source_port.to_be(), packet.destination.port.to_be());
    let size = if packet.destination.family == AF_INET {
        // SAFETY: both members are numbers.
        let v4 = unsafe { &mut tuple.__bindgen_anon_1.ipv4 };
        (v4.saddr, v4.daddr) = (packet.source[3], destination[3]);
        (v4.sport, v4.dport) = (source_port, port);
        size_of_val(v4)
    } else {
        // SAFETY: both members are numbers.
        let v6 = unsafe { &mut tuple.__bindgen_anon_1.ipv6 };
        (v6.saddr, v6.daddr) = (packet.source, destination);
        (v6.sport, v6.dport) = (source_port, port);
        size_of_val(v6)
    };
    let (skb, tuple, size) = (context.skb.skb.cast(), &raw mut tuple, size as u32);
    let netns = BPF_F_CURRENT_NETNS as u64;
    let sk = if packet.protocol == TCP {
        // SAFETY: the tuple is as long as is said.
        unsafe { bpf_sk_lookup_tcp(skb, tuple, size, netns, 0) }
    } else {
        // SAFETY: as above.
        unsafe { bpf_sk_lookup_udp(skb, tuple, size, netns, 0) }
    };
    if sk.is_null() {
        return true;
    }
    let verdict = Facts::of(sk.cast()).is_some_and(fits);
    // SAFETY: it was looked up above, and is not used any more.
    unsafe { bpf_sk_release(sk.cast()) };
    verdict
}

//! The last fence, on the devices of a network namespace that a sandbox has to itself: what comes there past the socket
//! layer's programs. Packet sockets do, and what the kernel sends of itself.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::{bpf_sk_fullsock, bpf_skb_ancestor_cgroup_id, bpf_skb_load_bytes_relative},
    macros::classifier,
    programs::TcContext,
};
use interceptor_ebpf::{
    counter,
    event::DENIED_PACKET_EGRESS,
    flow::{AF_INET, AF_INET6, Address, Owner},
    socket::{DIRECT, EXEMPT, INBOUND, KEPT},
};

use super::{
    address::{Words, is_loopback, mapped},
    context::read,
    facts::Facts,
    maps, owner, report,
};

/// What other programs on the device say (`TCX_NEXT`).
const PASS: i32 = -1;
/// `TCX_DROP`.
const DROP: i32 = 2;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const IPPROTO_IGMP: u8 = 2;
const IPPROTO_HOPOPTS: u8 = 0;
/// `BPF_HDR_START_NET`: offsets count from the IP header, whatever stands before it.
const FROM_NETWORK_HEADER: u32 = 1;
const TCP_LISTEN: u32 = 10;

#[classifier]
fn device_egress(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    let sk = read!(skb, __bindgen_anon_2.sk);
    let passes = if sk.is_null() {
        is_of_this_host(skb) && !leads_astray(skb)
    } else {
        // SAFETY: checked for null.
        let full: *mut bpf_sock = unsafe { bpf_sk_fullsock(sk) };
        // What is no full socket is a connection that begins or has ended: TCP answers for it by itself.
        full.is_null() || of_socket(skb, full)
    };
    if passes {
        return PASS;
    }
    maps::count(counter::DEVICE_DROPS);
    DROP
}

/// Not forwarded, nor bridged from another device: a nested namespace's packet has lost its socket on the way.
#[inline(always)]
fn is_of_this_host(skb: *mut __sk_buff) -> bool {
    if read!(skb, ingress_ifindex) == 0 {
        return true;
    }
    refuse(skb, None);
    false
}

#[inline(always)]
fn of_socket(skb: *mut __sk_buff, sk: *mut bpf_sock) -> bool {
    let family = read!(sk, family) as u16;
    let internet = family == AF_INET || family == AF_INET6;
    let known = Facts::of(sk.cast());
    if internet {
        let flags = known.map_or(0, Facts::flags);
        if flags & (EXEMPT | KEPT | INBOUND | DIRECT) != 0 || read!(sk, state) == TCP_LISTEN {
            return true;
        }
        if sandbox_of(skb).is_none() {
            // The kernel's, such as what resets connections and finds neighbours, or that of a visitor.
            return !leads_astray(skb);
        }
    }
    refuse(skb, Some(sk.cast()));
    false
}

/// Whether the kernel sends to somebody of the sandbox's choice: a group, or whoever a packet on loopback claimed to be from.
#[inline(always)]
fn leads_astray(skb: *mut __sk_buff) -> bool {
    announces_group(skb) || is_from_loopback(skb)
}

/// Where nonlocal addresses can be bound, such as with `net.ipv6.ip_nonlocal_bind`.
#[inline(always)]
fn is_from_loopback(skb: *mut __sk_buff) -> bool {
    match u16::from_be(read!(skb, protocol) as u16) {
        ETH_P_IP => load::<u32>(skb, 12).is_none_or(|ip| is_here(mapped(ip))),
        ETH_P_IPV6 => load::<Words>(skb, 8).is_none_or(is_here),
        _ => false,
    }
}

/// IGMP, and MLD, which alone has a hop-by-hop header (RFC 3810 §5) among what the kernel sends of itself: they carry
/// groups of somebody's choice.
#[inline(always)]
fn announces_group(skb: *mut __sk_buff) -> bool {
    match u16::from_be(read!(skb, protocol) as u16) {
        ETH_P_IP => load(skb, 9) == Some(IPPROTO_IGMP),
        ETH_P_IPV6 => load(skb, 6) == Some(IPPROTO_HOPOPTS),
        _ => false,
    }
}

/// Neighbours are looked for from the unspecified address too.
#[inline(always)]
const fn is_here(ip: Words) -> bool {
    is_loopback(ip) && ip[3] != 0
}

#[inline(always)]
fn load<T: Copy + Default>(skb: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = T::default();
    // SAFETY: on the stack, and its size is given; only integers are loaded, which take every bit pattern.
    let result = unsafe {
        bpf_skb_load_bytes_relative(
            skb.cast::<c_void>(),
            offset,
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            FROM_NETWORK_HEADER,
        )
    };
    (result == 0).then_some(value)
}

#[inline(always)]
fn sandbox_of(skb: *mut __sk_buff) -> Option<u32> {
    // SAFETY: takes this program's context and a number, and answers 0 for a level below the socket's cgroup.
    owner::sandbox(|level| unsafe { bpf_skb_ancestor_cgroup_id(skb, level) })
}

/// Reports it, once for each socket.
#[inline(always)]
fn refuse(skb: *mut __sk_buff, sk: Option<*mut c_void>) {
    let sandbox = sandbox_of(skb).unwrap_or(0);
    let first = sk.and_then(Facts::create).is_none_or(Facts::first_report);
    if !first {
        report::repeated(sandbox);
        return;
    }
    let owner = Owner {
        sandbox,
        time_ns: owner::now(),
        ..Owner::default()
    };
    let ethertype = u16::from_be(read!(skb, protocol) as u16);
    report::denial(
        DENIED_PACKET_EGRESS,
        u32::from(ethertype),
        &owner,
        &Address::default(),
    );
}

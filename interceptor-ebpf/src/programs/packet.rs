//! Addresses of an outgoing packet.

use aya_ebpf::programs::SkBuffContext;
use interceptor_ebpf::flow::{AF_INET, AF_INET6, Address, TCP, UDP};

use super::address::{self, Words};

pub(super) struct Packet {
    pub(super) source: Words,
    pub(super) source_port: u16,
    pub(super) destination: Address,
    /// What follows the IP header.
    pub(super) protocol: u16,
    /// Bytes of the IP header.
    pub(super) header: u32,
}

/// RFC 791 §3.1, first 20 bytes.
#[repr(C)]
struct Ipv4 {
    version_and_length: u8,
    until_protocol: [u8; 8],
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}

/// RFC 8200 §3.
#[repr(C)]
struct Ipv6 {
    until_next_header: [u8; 6],
    next_header: u8,
    hop_limit: u8,
    source: Words,
    destination: Words,
}

const IPV6_HEADER: usize = size_of::<Ipv6>();

impl Packet {
    /// Reads a packet that begins with its IP header, as cgroup_skb programs see it. Ports are 0 where the transport
    /// header does not follow at once: extension headers need CAP_NET_RAW.
    #[inline(always)]
    pub(super) fn parse(context: &SkBuffContext) -> Option<Self> {
        match context.load::<u8>(0).ok()? >> 4 {
            4 => Self::v4(context),
            6 => Self::v6(context),
            _ => None,
        }
    }

    #[inline(always)]
    fn v4(context: &SkBuffContext) -> Option<Self> {
        let header: Ipv4 = context.load(0).ok()?;
        let length = usize::from(header.version_and_length & 0xf) * 4;
        let protocol = u16::from(header.protocol);
        let (source_port, port) = ports(context, protocol, length)?;
        Some(Self {
            source: address::mapped(header.source),
            source_port,
            destination: Address {
                ip: address::bytes(address::mapped(header.destination)),
                port,
                family: AF_INET,
                reserved: 0,
            },
            protocol,
            header: length as u32,
        })
    }

    #[inline(always)]
    fn v6(context: &SkBuffContext) -> Option<Self> {
        let header: Ipv6 = context.load(0).ok()?;
        let protocol = u16::from(header.next_header);
        let (source_port, port) = ports(context, protocol, IPV6_HEADER)?;
        Some(Self {
            source: header.source,
            source_port,
            destination: Address {
                ip: address::bytes(header.destination),
                port,
                family: AF_INET6,
                reserved: 0,
            },
            protocol,
            header: IPV6_HEADER as u32,
        })
    }
}

/// Source and destination port, which TCP (RFC 9293 §3.1) and UDP (RFC 768) have at the same place.
#[inline(always)]
fn ports(context: &SkBuffContext, protocol: u16, offset: usize) -> Option<(u16, u16)> {
    if protocol != TCP && protocol != UDP {
        return Some((0, 0));
    }
    let [source, destination] = context.load::<[u16; 2]>(offset).ok()?;
    Some((u16::from_be(source), u16::from_be(destination)))
}

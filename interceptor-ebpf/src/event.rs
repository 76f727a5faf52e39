//! What the programs report through the ring buffer `EVENTS`.

use crate::{
    flow::{Address, FlowKey, Owner},
    plain,
};

#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Event {
    /// [`NETNS_APPEARED`], or the reason of a denial.
    pub kind: u32,
    /// IP protocol number of the socket.
    pub protocol: u32,
    /// As at the time of the event; `sandbox` is 0 where the socket has no owner and whoever calls is in none.
    pub owner: Owner,
    /// Destination, where there is one.
    pub address: Address,
}

plain!(Event, size 80, { kind @ 0, protocol @ 4, owner @ 8, address @ 56 });

/// A sandbox has made a socket in a namespace without listeners.
pub const NETNS_APPEARED: u32 = 1;
/// A socket type or protocol that is neither TCP nor UDP.
pub const DENIED_PROTOCOL: u32 = 2;
/// MPTCP, answered with EPROTONOSUPPORT so that the program falls back to TCP.
pub const DENIED_MPTCP: u32 = 3;
/// A datagram that is not DNS.
pub const DENIED_DATAGRAM: u32 = 4;
/// SO_BINDTODEVICE, SO_BINDTOIFINDEX, a multicast join or a source route; `address.port` is the option, `protocol` its level.
pub const DENIED_SOCKOPT: u32 = 5;
/// connect() or send by a socket that has no owner: made before attach, or a subflow.
pub const DENIED_UNOWNED: u32 = 6;
/// The netns was refused listeners.
pub const DENIED_NETNS: u32 = 7;
/// A packet that would have left by a device other than lo.
pub const DENIED_EGRESS: u32 = 8;
/// The flow could not be published: `FLOWS` is full, or the sandbox's share of it.
pub const DENIED_FLOW_TABLE: u32 = 9;
/// A connect was held for 10 s and no listener came.
pub const DENIED_HOLD_EXPIRED: u32 = 10;
/// The sandbox's entry is gone from `SANDBOXES` while its links stand.
pub const DENIED_UNKNOWN_SANDBOX: u32 = 11;
/// IPv6 datagram to a resolver from a netns without an IPv6 listener (the kernel cannot send it to v4-mapped).
pub const DENIED_FAMILY: u32 = 12;
/// Anything that a program could not judge: a helper failed.
pub const DENIED_INTERNAL: u32 = 13;
/// A connect to loopback that was held, and then its netns turned out not to be private. The next one is captured.
pub const DENIED_LOOPBACK: u32 = 14;

/// A socket of a family that no other program could judge.
pub const DENIED_SOCKET_FAMILY: u32 = 15;
/// What reached a device past the socket layer's programs: a packet socket's, or the kernel's own for a group.
pub const DENIED_PACKET_EGRESS: u32 = 16;

/// A DNS query that came before its namespace had listeners: no packet is left of it but this.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Question {
    pub head: QuestionHead,
    /// Used as far as the head says; the rest is anything.
    pub message: [u8; QUESTION_BYTES as usize],
}

plain!(Question, size 552, { head @ 0, message @ 40 });

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct QuestionHead {
    /// From where it was asked, under which its flow is published.
    pub asker: FlowKey,
    /// Bytes of the message.
    pub length: u32,
    pub reserved: u32,
}

plain!(QuestionHead, size 40, { asker @ 0, length @ 32, reserved @ 36 });

/// Longest query that is kept: the longest that is sent without EDNS (RFC 1035 §4.2.1).
pub const QUESTION_BYTES: u32 = 512;

/// A socket on loopback that belongs neither to the sandbox nor to the daemon.
pub const DENIED_RECEIVER: u32 = 17;

/// Bytes of the ring buffer; a power of two and a multiple of every page size up to 64 KiB.
pub const RING_BYTES: u32 = 512 * 1024;

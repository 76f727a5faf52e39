//! Per-socket facts, in socket-local storage.

use crate::{
    flow::{Flow, FlowKey},
    plain,
};

/// Value of `SOCKETS` (`BPF_MAP_TYPE_SK_STORAGE`), made at sock_create and freed with the socket.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Socket {
    pub flow: Flow,
    /// Under which key `flow` was published, for sock_release; `port` is 0 when it was not.
    pub key: FlowKey,
    /// [`CAPTURED`] and so on.
    pub flags: u32,
    /// Loopback port to which the socket was steered, 0 when it was not.
    pub steered_port: u16,
    /// 1 once a refusal of what it sends has been reported: once per connect is enough.
    pub reported: u16,
}

plain!(Socket, size 112, { flow @ 0, key @ 72, flags @ 104, steered_port @ 108, reported @ 110 });

/// TCP, steered to the listener: getpeername shows `flow.original`.
pub const CAPTURED: u32 = 1;
/// The netns was not ready at connect: the fence drops the SYN until it is.
pub const HELD: u32 = 1 << 1;
/// The fence drops everything of this socket.
pub const DENIED: u32 = 1 << 2;
/// UDP, steered to the resolver.
pub const DNS: u32 = 1 << 3;
/// UDP, connected to something that is not DNS: succeeds, and the fence drops and reports what it sends.
pub const MUTE: u32 = 1 << 4;
/// An accepted connection: answers may leave by any device, to the peer that is `flow.original`.
pub const INBOUND: u32 = 1 << 5;
/// Loopback inside a private netns: left alone, held to device lo by the fence.
pub const LOCAL: u32 = 1 << 6;
/// Goes past the daemon to a destination that the configuration grants: to `flow.original` over TCP, over UDP to any
/// that is in `DESTINATIONS` when a datagram leaves.
pub const DIRECT: u32 = 1 << 7;
/// Made by an exempt process: no program minds it, in whosever hands it is later.
pub const EXEMPT: u32 = 1 << 8;
/// Made before the sandbox was one, and kept: what its peer is sent passes. It has no owner, so it gets no other peer.
pub const KEPT: u32 = 1 << 9;
/// One of the daemon's, which alone get what is captured.
pub const LISTENER: u32 = 1 << 10;

//! Addresses in `bpf_sock_addr` contexts: reading them, and putting others in their place.

use core::ffi::c_void;

use aya_ebpf::{bindings::bpf_sock_addr, programs::SockAddrContext};
use interceptor_ebpf::{
    flow::{AF_INET, AF_INET6, Address},
    netns::{HAS_V6, Netns},
};

use super::{
    address::{self, LOOPBACK4, LOOPBACK6, Words},
    context::{read, write},
};

/// A call that carries an address: connect, sendmsg, recvmsg, getpeername. `bpf_sock_addr` has no scope id, so the
/// scope of a link-local address is neither seen nor given back.
#[derive(Clone, Copy)]
pub(super) struct Call {
    context: *mut bpf_sock_addr,
    family: u16,
}

impl Call {
    /// For the hooks whose names end in 4.
    #[inline(always)]
    pub(super) fn v4(context: &SockAddrContext) -> Self {
        Self {
            context: context.sock_addr,
            family: AF_INET,
        }
    }

    /// For the hooks whose names end in 6.
    #[inline(always)]
    pub(super) fn v6(context: &SockAddrContext) -> Self {
        Self {
            context: context.sock_addr,
            family: AF_INET6,
        }
    }

    /// The socket, for helpers.
    #[inline(always)]
    pub(super) fn sk(self) -> *mut c_void {
        read!(self.context, __bindgen_anon_1.sk).cast()
    }

    /// `TCP_ESTABLISHED` and so on.
    #[inline(always)]
    pub(super) fn state(self) -> u32 {
        let sk = read!(self.context, __bindgen_anon_1.sk);
        read!(sk, state)
    }

    #[inline(always)]
    pub(super) fn protocol(self) -> u32 {
        read!(self.context, protocol)
    }

    /// The address as it stands in the call.
    #[inline(always)]
    pub(super) fn address(self) -> Address {
        Address {
            ip: address::bytes(self.ip()),
            port: self.port(),
            family: self.family,
            reserved: 0,
        }
    }

    #[inline(always)]
    pub(super) fn port(self) -> u16 {
        u16::from_be(read!(self.context, user_port) as u16)
    }

    #[inline(always)]
    pub(super) fn ip(self) -> Words {
        if self.family == AF_INET {
            return address::mapped(read!(self.context, user_ip4));
        }
        [
            read!(self.context, user_ip6[0]),
            read!(self.context, user_ip6[1]),
            read!(self.context, user_ip6[2]),
            read!(self.context, user_ip6[3]),
        ]
    }

    /// Puts another address in place. In a call of family 4 the address is v4-mapped.
    #[inline(always)]
    pub(super) fn replace(self, ip: Words, port: u16) {
        write!(self.context, u32::from(port.to_be()), user_port);
        if self.family == AF_INET {
            write!(self.context, ip[3], user_ip4);
            return;
        }
        write!(self.context, ip[0], user_ip6[0]);
        write!(self.context, ip[1], user_ip6[1]);
        write!(self.context, ip[2], user_ip6[2]);
        write!(self.context, ip[3], user_ip6[3]);
    }

    /// Sends a connect to `port` on loopback, where `netns` listens: IPv6 to `::1` if it listens there, else to
    /// `::ffff:127.0.0.1`, which sockets that are IPV6_V6ONLY cannot reach.
    #[inline(always)]
    pub(super) fn steer(self, netns: &Netns, port: u16) {
        if address::is_mapped(self.ip()) || netns.flags & HAS_V6 == 0 {
            self.replace(address::mapped(LOOPBACK4), port);
        } else {
            self.replace(LOOPBACK6, port);
        }
    }
}

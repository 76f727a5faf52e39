//! What the programs report, as it comes.

use std::{io, net::SocketAddr};

use aya::maps::{MapData, RingBuf};
use interceptor_ebpf::{event, flow::Address};
use tokio::io::{Interest, unix::AsyncFd};

use super::{abi, process::Task};
use crate::{
    address::{NetnsCookie, SandboxId},
    flow::KernelDenial,
};

/// A report by the programs.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    NetnsAppeared(NetnsAppeared),
    Denied(KernelDenial),
    Asked(Question),
}

/// A sandbox has made a socket in a namespace without listeners.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetnsAppeared {
    pub(crate) sandbox: SandboxId,
    pub(crate) netns: NetnsCookie,
    pub(crate) task: Task,
}

/// A DNS query of a socket in a namespace that had no listeners yet, whose packet has gone no further.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) netns: NetnsCookie,
    pub(crate) asker: SocketAddr,
    pub(crate) message: Box<[u8]>,
}

/// Reads the ring buffer. There is one per loaded object.
pub(crate) struct Events(AsyncFd<RingBuf<MapData>>);

impl Events {
    /// To be called inside a runtime.
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring owns its map's descriptor and always names that one.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self(ring?))
    }

    /// Waits for the next report. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<Event> {
        loop {
            let mut ready = self.0.readable_mut().await?;
            while let Some(record) = ready.get_inner_mut().next() {
                match parse(&record) {
                    Some(event) => return Ok(event),
                    None => tracing::error!(bytes = record.len(), "unreadable kernel event"),
                }
            }
            ready.clear_ready();
        }
    }
}

/// Records are told apart by their sizes.
fn parse(record: &[u8]) -> Option<Event> {
    if let Some(event) = abi::read(record) {
        return Some(typed(&event));
    }
    let question: event::Question = abi::read(record)?;
    let length = usize::try_from(question.head.length).ok()?;
    let asker = &question.head.asker;
    Some(Event::Asked(Question {
        netns: NetnsCookie(asker.netns),
        asker: abi::unmapped(&Address {
            ip: asker.ip,
            port: asker.port,
            ..Address::default()
        }),
        message: question.message.get(..length)?.into(),
    }))
}

fn typed(event: &event::Event) -> Event {
    let owner = &event.owner;
    let netns = NetnsCookie(owner.netns);
    if event.kind == event::NETNS_APPEARED {
        return Event::NetnsAppeared(NetnsAppeared {
            sandbox: SandboxId(owner.sandbox),
            netns,
            task: Task {
                tgid: owner.tgid,
                tid: owner.tid,
            },
        });
    }
    Event::Denied(KernelDenial {
        sandbox: (owner.sandbox != 0).then_some(SandboxId(owner.sandbox)),
        netns,
        process: abi::process(owner),
        destination: destination(event),
        code: code(event.kind),
        reason: if event.kind == event::DENIED_SOCKET_FAMILY {
            family(event.address.port.into())
        } else {
            reason(event.kind)
        },
    })
}

fn destination(event: &event::Event) -> Option<SocketAddr> {
    let has_one = event.address.family != 0 && event.kind != event::DENIED_SOCKOPT;
    has_one.then(|| abi::unmapped(&event.address))
}

/// What was asked for, of families that lead out or to other doors of the kernel.
fn family(number: i32) -> &'static str {
    match number {
        libc::AF_NETLINK => "a netlink socket other than NETLINK_ROUTE",
        libc::AF_PACKET => "a packet socket (AF_PACKET)",
        libc::AF_VSOCK => "a socket to the hypervisor (AF_VSOCK)",
        libc::AF_ALG => "a socket of the kernel's cryptography (AF_ALG)",
        libc::AF_XDP => "a socket that takes over a device's queue (AF_XDP)",
        AF_SMC => "a socket of shared memory (AF_SMC)",
        libc::AF_TIPC => "a socket of a cluster (AF_TIPC)",
        _ => reason(event::DENIED_SOCKET_FAMILY),
    }
}

/// linux/socket.h; libc has none.
const AF_SMC: i32 = 43;

/// One of a fixed set, by which denials are counted.
fn code(kind: u32) -> &'static str {
    match kind {
        event::DENIED_PROTOCOL | event::DENIED_MPTCP => "socket_protocol",
        event::DENIED_DATAGRAM => "datagram",
        event::DENIED_SOCKOPT => "socket_option",
        event::DENIED_UNOWNED => "socket_from_before",
        event::DENIED_NETNS => "no_listener",
        event::DENIED_EGRESS => "egress",
        event::DENIED_FLOW_TABLE => "flow_table_full",
        event::DENIED_HOLD_EXPIRED => "hold_expired",
        event::DENIED_UNKNOWN_SANDBOX => "detaching",
        event::DENIED_FAMILY => "no_ipv6",
        event::DENIED_LOOPBACK => "shared_loopback",
        event::DENIED_SOCKET_FAMILY => "socket_family",
        event::DENIED_PACKET_EGRESS => "packet_egress",
        event::DENIED_RECEIVER => "foreign_receiver",
        _ => "kernel",
    }
}

fn reason(kind: u32) -> &'static str {
    match kind {
        event::DENIED_PROTOCOL => "neither TCP nor UDP",
        event::DENIED_MPTCP => "MPTCP, which falls back to TCP",
        event::DENIED_DATAGRAM => "a datagram that is not DNS",
        event::DENIED_SOCKOPT => {
            "binding to a device or to an address of others, joining a multicast group, or a source route"
        }
        event::DENIED_UNOWNED => "a socket made before the sandbox was attached",
        event::DENIED_NETNS => "no listener in this network namespace, see the log",
        event::DENIED_EGRESS => "a packet on its way to a device other than lo",
        event::DENIED_FLOW_TABLE => {
            "too many connections of the sandbox, or of all, wait to be accepted"
        }
        event::DENIED_HOLD_EXPIRED => "no listener came within 10 s",
        event::DENIED_UNKNOWN_SANDBOX => "the sandbox is being detached",
        event::DENIED_FAMILY => "a DNS query over IPv6 in a network namespace without IPv6",
        event::DENIED_INTERNAL => "the kernel could not judge it",
        event::DENIED_LOOPBACK => "loopback of a network namespace that others share: try again",
        event::DENIED_SOCKET_FAMILY => "a socket of a family that nobody could watch",
        event::DENIED_PACKET_EGRESS => {
            "a packet that no program of the sandbox's sockets has let go, at a device"
        }
        event::DENIED_RECEIVER => {
            "who listens there on loopback is neither of the sandbox nor the daemon"
        }
        _ => "a reason that this release does not know",
    }
}

#[cfg(test)]
mod tests {
    use interceptor_ebpf::flow::{AF_INET, Owner};

    use super::*;

    #[test]
    fn a_denial_without_owner_or_destination_has_neither() {
        let bare = event::Event {
            kind: event::DENIED_UNOWNED,
            ..event::Event::default()
        };
        let Event::Denied(denial) = typed(&bare) else {
            unreachable!("not a denial");
        };
        assert_eq!(denial.sandbox, None);
        assert_eq!(denial.destination, None);
    }

    #[test]
    fn a_refused_socket_option_is_not_taken_for_a_destination() {
        let refused = event::Event {
            kind: event::DENIED_SOCKOPT,
            owner: Owner {
                sandbox: 3,
                ..Owner::default()
            },
            address: Address {
                port: 25,
                family: AF_INET,
                ..Address::default()
            },
            ..event::Event::default()
        };
        assert_eq!(destination(&refused), None);
    }

    #[test]
    fn every_denial_of_the_abi_has_words() {
        for kind in event::DENIED_PROTOCOL..=event::DENIED_RECEIVER {
            assert!(!reason(kind).contains("does not know"), "{kind}");
        }
    }
}

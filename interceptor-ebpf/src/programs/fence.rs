//! The fence: every packet that a sandbox's socket sends passes here, or does not pass.
//!
//! It judges by device, not by address: a socket bound to a device sends even packets for 127.0.0.1 there.

use aya_ebpf::{
    bindings::bpf_sock, helpers::bpf_sk_fullsock, macros::cgroup_skb, programs::SkBuffContext,
};
use interceptor_ebpf::{
    counter,
    event::{
        DENIED_DATAGRAM, DENIED_EGRESS, DENIED_FLOW_TABLE, DENIED_INTERNAL, DENIED_LOOPBACK,
        DENIED_NETNS, DENIED_RECEIVER, DENIED_UNOWNED,
    },
    flow::{Address, FlowKey, Owner, UDP},
    netns::{PENDING, PRIVATE, READY},
    socket::{DENIED, DIRECT, DNS, EXEMPT, HELD, INBOUND, KEPT, LOCAL, MUTE},
};

use super::{
    address, connect::MUTE_PORT, context::read, facts::Facts, flows, maps, netns, owner,
    packet::Packet, permits, receiver, report,
};

/// Dropped; the sender gets EPERM. TCP takes that for a lost packet and backs off.
const DROP: i32 = 0;
const PASS: i32 = 1;
/// Dropped with a congestion notification. UDP senders get no error; TCP probes again after half a second
/// (`TCP_RESOURCE_PROBE_INTERVAL`) instead of backing off.
const DROP_QUIETLY: i32 = 2;

/// The loopback device has this index in every network namespace (`LOOPBACK_IFINDEX`).
const LO: u32 = 1;
const TCP_SYN_SENT: u32 = 2;
const TCP_LISTEN: u32 = 10;
/// Bytes (RFC 768).
const UDP_HEADER: u32 = 8;

/// Until then a held connect backs off from its first short time-out; later it probes every half second.
const BACK_OFF_NS: u64 = 1_000_000_000;

#[cgroup_skb(egress)]
fn egress(context: SkBuffContext) -> i32 {
    let verdict = judge(&context);
    if verdict != PASS {
        maps::count(counter::FENCED);
    }
    verdict
}

#[inline(always)]
fn judge(context: &SkBuffContext) -> i32 {
    let sk = read!(context.skb.skb, __bindgen_anon_2.sk);
    if sk.is_null() {
        return DROP;
    }
    // SAFETY: checked for null; answers null unless it is a full socket, which it is for a listener's SYN-ACK too.
    let sk: *mut bpf_sock = unsafe { bpf_sk_fullsock(sk) };
    if sk.is_null() {
        return DROP;
    }
    let Some(facts) = Facts::of(sk.cast()) else {
        return unowned(context, sk);
    };
    let flags = facts.flags();
    if flags & (EXEMPT | KEPT) != 0 {
        return PASS;
    }
    if flags & DENIED != 0 {
        return DROP;
    }
    let sent = Sent { context, sk, facts };
    if read!(sk, protocol) == u32::from(UDP) {
        return sent.datagram(flags);
    }
    if flags & HELD != 0 {
        let verdict = sent.held(flags);
        if verdict != PASS {
            return verdict;
        }
    }
    if flags & (DIRECT | INBOUND) != 0 {
        return sent.to_peer();
    }
    match read!(sk, state) {
        TCP_LISTEN => sent.answer(),
        TCP_SYN_SENT if sent.stays_inside() => sent.open(flags),
        _ if sent.stays_inside() => PASS,
        _ => sent.refuse_packet(DENIED_EGRESS),
    }
}

/// A socket that was made before the programs were attached, or that no hook saw being made.
#[inline(always)]
fn unowned(context: &SkBuffContext, sk: *mut bpf_sock) -> i32 {
    let owner = Owner {
        sandbox: owner::sandbox_of_socket(sk.cast()).unwrap_or(0),
        time_ns: owner::now(),
        ..Owner::default()
    };
    report::denial(
        DENIED_UNOWNED,
        read!(sk, protocol),
        &owner,
        &destination(context),
    );
    // One report is enough. The storage has no owner, so connect() stays refused.
    if let Some(facts) = Facts::create(sk.cast()) {
        facts.set(DENIED);
    }
    DROP
}

/// A packet and the socket that sent it.
struct Sent<'a> {
    context: &'a SkBuffContext,
    sk: *mut bpf_sock,
    facts: Facts,
}

impl Sent<'_> {
    /// A connect that came before its listener: now, if it is there.
    #[inline(always)]
    fn held(&self, flags: u32) -> i32 {
        let facts = self.facts;
        let netns = netns::find(facts.netns()).unwrap_or_default();
        let refusal = match netns.state {
            PENDING => {
                let held_ns = owner::now().wrapping_sub(facts.time_ns());
                return if held_ns < BACK_OFF_NS {
                    DROP
                } else {
                    DROP_QUIETLY
                };
            }
            READY if flags & LOCAL != 0 => {
                if netns.flags & PRIVATE != 0 {
                    facts.clear(HELD);
                    return PASS;
                }
                DENIED_LOOPBACK
            }
            READY if netns.port == facts.steered_port() => {
                facts.clear(HELD);
                return PASS;
            }
            _ => DENIED_NETNS,
        };
        facts.set(DENIED);
        let flow = facts.flow();
        report::denial(
            refusal,
            read!(self.sk, protocol),
            &flow.owner,
            &flow.original,
        );
        DROP
    }

    /// A connection begins on loopback: with the daemon, or within the sandbox.
    #[inline(always)]
    fn open(&self, flags: u32) -> i32 {
        let Some(packet) = Packet::parse(self.context) else {
            return self.refuse_packet(DENIED_INTERNAL);
        };
        let fits = if flags & LOCAL != 0 {
            receiver::is_of(self.context, &packet, self.facts.sandbox())
        } else {
            receiver::is_daemon(self.context, &packet)
        };
        if fits {
            return PASS;
        }
        self.facts.set(DENIED);
        self.refuse(DENIED_RECEIVER, &self.facts.flow().original)
    }

    /// What a listener answers to a SYN. Only a source that is not this machine's leads from loopback to a device.
    #[inline(always)]
    fn answer(&self) -> i32 {
        if self.stays_inside() {
            return PASS;
        }
        match Packet::parse(self.context) {
            Some(packet) if !address::is_loopback(packet.source) => PASS,
            _ => self.refuse_packet(DENIED_EGRESS),
        }
    }

    /// A TCP connection past the daemon goes where connect() was granted, an accepted one back to its client, and neither
    /// anywhere else.
    #[inline(always)]
    fn to_peer(&self) -> i32 {
        let wanted = self.facts.flow().original;
        match Packet::parse(self.context) {
            Some(packet)
                if packet.destination.ip == wanted.ip && packet.destination.port == wanted.port =>
            {
                PASS
            }
            _ => self.refuse_packet(DENIED_EGRESS),
        }
    }

    /// Judged afresh for each packet: between a socket's calls and its packets there may be others, corked data, or a
    /// connect(AF_UNSPEC).
    #[inline(always)]
    fn datagram(&self, flags: u32) -> i32 {
        let Some(packet) = Packet::parse(self.context) else {
            return self.refuse_packet(DENIED_INTERNAL);
        };
        if flags & DIRECT != 0
            && permits::spend(self.facts.sandbox(), packet.protocol, &packet.destination)
        {
            return PASS;
        }
        let muted = flags & MUTE != 0 && packet.destination.port == MUTE_PORT;
        if muted {
            // Whatever becomes of the namespace.
            return self.refuse(DENIED_DATAGRAM, &self.wanted(flags, &packet));
        }
        let netns = netns::find(self.facts.netns()).unwrap_or_default();
        match netns.state {
            PENDING => return self.keep(flags, &packet, netns.port),
            READY => {}
            _ => return self.refuse(DENIED_NETNS, &self.wanted(flags, &packet)),
        }
        if packet.protocol != UDP || !self.stays_inside() {
            return self.refuse(DENIED_EGRESS, &packet.destination);
        }
        if packet.destination.port == netns.port {
            return self.to_resolver(&packet);
        }
        if netns.flags & PRIVATE == 0 {
            return self.refuse(DENIED_DATAGRAM, &self.wanted(flags, &packet));
        }
        if receiver::is_of(self.context, &packet, self.facts.sandbox()) {
            return PASS;
        }
        self.refuse(DENIED_RECEIVER, &packet.destination)
    }

    /// A datagram that came before its listener. Nothing sends it again, so the daemon gets a question that waits for it in
    /// another way.
    #[inline(always)]
    fn keep(&self, flags: u32, packet: &Packet, port: u16) -> i32 {
        if flags & DNS != 0 && packet.protocol == UDP && packet.destination.port == port {
            let key = self.asker(packet);
            if flows::publish(self.facts, &key) {
                report::question(self.context, &key, packet.header + UDP_HEADER);
            }
        }
        DROP_QUIETLY
    }

    /// By which the daemon knows who asks a question.
    #[inline(always)]
    fn asker(&self, packet: &Packet) -> FlowKey {
        FlowKey {
            netns: self.facts.netns(),
            ip: address::bytes(packet.source),
            port: packet.source_port,
            protocol: UDP,
            reserved: 0,
        }
    }

    #[inline(always)]
    fn to_resolver(&self, packet: &Packet) -> i32 {
        if !receiver::is_daemon(self.context, packet) {
            return self.refuse(DENIED_RECEIVER, &self.facts.flow().original);
        }
        let key = self.asker(packet);
        if flows::publish(self.facts, &key) {
            PASS
        } else {
            self.refuse(DENIED_FLOW_TABLE, &self.facts.flow().original)
        }
    }

    /// Where a datagram was meant to go: of a muted socket, the packet does not tell.
    #[inline(always)]
    fn wanted(&self, flags: u32, packet: &Packet) -> Address {
        if flags & MUTE != 0 {
            self.facts.flow().original
        } else {
            packet.destination
        }
    }

    #[inline(always)]
    fn stays_inside(&self) -> bool {
        read!(self.context.skb.skb, ifindex) == LO
    }

    #[inline(always)]
    fn refuse_packet(&self, kind: u32) -> i32 {
        self.refuse(kind, &destination(self.context))
    }

    #[inline(always)]
    fn refuse(&self, kind: u32, address: &Address) -> i32 {
        let facts = self.facts;
        if facts.first_report() {
            let protocol = read!(self.sk, protocol);
            report::denial(kind, protocol, &facts.flow().owner, address);
        } else {
            report::repeated(facts.sandbox());
        }
        DROP
    }
}

#[inline(always)]
fn destination(context: &SkBuffContext) -> Address {
    Packet::parse(context).map_or_else(Address::default, |packet| packet.destination)
}

//! Sockets that are neither TCP nor UDP.

use serde_json::json;

use super::{PROTOCOL, vector};
use crate::adversary::{
    ground::{DEVICE, EVIL, EVIL_V6},
    vector::{Group, Vector},
};

const INET: i32 = 2;
const INET6: i32 = 10;
const STREAM: i32 = 1;
const DATAGRAM: i32 = 2;
const RAW: i32 = 3;
const SEQPACKET: i32 = 5;
const DCCP: i32 = 6;

/// What the hooks answer, or a kernel that was built without it.
const REFUSED: &[&str] = &["refused EPERM"];

fn kind(name: &str, tries: &'static str, family: i32, socket: i32, protocol: i32) -> Vector {
    let with = move |_: &_| json!({"family": family, "type": socket, "protocol": protocol});
    vector(Group::Families, name, tries, "kind", with)
        .else_says(&["opened"])
        .refused(REFUSED, PROTOCOL)
        .may_lack()
}

/// What needs a capability that neither the sandbox nor the control has.
fn privileged(name: &str, tries: &'static str, family: i32, socket: i32, protocol: i32) -> Vector {
    let with = move |_: &_| json!({"family": family, "type": socket, "protocol": protocol});
    vector(Group::Families, name, tries, "kind", with).refused_to_everybody(REFUSED)
}

pub(super) fn vectors() -> Vec<Vector> {
    let ping = |address: &'static str| move |_: &_| json!({"address": address});
    let mut all = vec![
        vector(
            Group::Families,
            "ping",
            "ICMP echo by a datagram socket",
            "ping",
            ping(EVIL),
        )
        .refused(REFUSED, PROTOCOL),
        vector(
            Group::Families,
            "ping-v6",
            "ICMPv6 echo by a datagram socket",
            "ping",
            ping(EVIL_V6),
        )
        .refused(REFUSED, PROTOCOL),
        kind("udp-lite", "UDP-Lite", INET, DATAGRAM, 136),
        kind("udp-lite-v6", "UDP-Lite over IPv6", INET6, DATAGRAM, 136),
        kind("sctp", "SCTP, one to one", INET, STREAM, 132),
        kind("sctp-many", "SCTP, one to many", INET, SEQPACKET, 132),
        kind("sctp-v6", "SCTP over IPv6", INET6, STREAM, 132),
        kind("dccp", "DCCP", INET, DCCP, 33),
        kind("mptcp-v6", "MPTCP over IPv6", INET6, STREAM, 262)
            .refused(&["refused EPROTONOSUPPORT"], PROTOCOL),
        kind("smc", "SMC in AF_INET (protocol 256)", INET, STREAM, 256),
        kind("smc-v6", "SMC in AF_INET6", INET6, STREAM, 256),
        privileged("raw-tcp", "a raw socket of IPv4 for TCP", INET, RAW, 6),
        privileged(
            "raw-ip",
            "a raw socket of IPv4 with headers of its own",
            INET,
            RAW,
            255,
        ),
        privileged("raw-icmp", "a raw socket for ICMP", INET, RAW, 1),
        privileged("raw-v6", "a raw socket of IPv6", INET6, RAW, 255),
        privileged("raw-icmpv6", "a raw socket for ICMPv6", INET6, RAW, 58),
        privileged("l2tp", "L2TP over IP", INET, DATAGRAM, 115).may_lack(),
        privileged(
            "packet-raw",
            "AF_PACKET with frames of its own",
            17,
            RAW,
            0x0300,
        ),
        privileged("packet", "AF_PACKET for datagrams", 17, DATAGRAM, 0x0300),
        privileged("xdp", "AF_XDP", 44, RAW, 0).may_lack(),
        vector(
            Group::Families,
            "frame",
            "a frame by AF_PACKET on the way out",
            "frame",
            |_| json!({"device": DEVICE}),
        )
        .refused_to_everybody(&["refused EPERM"]),
    ];
    for (name, tries, family, socket, protocol) in [
        (
            "vsock",
            "AF_VSOCK, which leads to the machine's host",
            40,
            STREAM,
            0,
        ),
        ("vsock-datagram", "AF_VSOCK for datagrams", 40, DATAGRAM, 0),
        ("alg", "AF_ALG: the kernel's cryptography", 38, SEQPACKET, 0),
        ("tipc", "AF_TIPC", 30, SEQPACKET, 0),
        ("smc-family", "AF_SMC", 43, STREAM, 0),
        ("rds", "AF_RDS", 21, SEQPACKET, 0),
        ("kcm", "AF_KCM", 41, DATAGRAM, 0),
        ("can", "AF_CAN", 29, RAW, 1),
        ("bluetooth", "AF_BLUETOOTH", 31, SEQPACKET, 0),
        ("nfc", "AF_NFC", 39, STREAM, 0),
        ("ieee802154", "AF_IEEE802154", 36, DATAGRAM, 0),
        ("phonet", "AF_PHONET", 35, DATAGRAM, 0),
        ("x25", "AF_X25", 9, SEQPACKET, 0),
        ("ax25", "AF_AX25", 3, SEQPACKET, 0),
        ("atm", "AF_ATMSVC", 20, STREAM, 0),
        ("llc", "AF_LLC", 26, STREAM, 0),
        ("qrtr", "AF_QIPCRTR", 42, DATAGRAM, 0),
        ("mctp", "AF_MCTP", 45, DATAGRAM, 0),
        ("rxrpc", "AF_RXRPC", 33, DATAGRAM, INET),
        ("pppox", "AF_PPPOX", 24, STREAM, 0),
        ("appletalk", "AF_APPLETALK", 5, DATAGRAM, 0),
        ("ipx", "AF_IPX", 4, DATAGRAM, 0),
        ("key", "AF_KEY: IPsec's own", 15, RAW, 2),
    ] {
        all.push(kind(name, tries, family, socket, protocol).watched_or_said());
    }
    all
}

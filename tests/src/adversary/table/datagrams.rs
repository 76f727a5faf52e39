//! UDP, by every call that the kernel has for it.

use serde_json::json;

use super::{DATAGRAM, to, to_v6, vector};
use crate::adversary::{
    ground::{DEVICE, EVIL, EVIL_V6, PORT},
    vector::{Group, Vector},
};

fn datagram(name: &str, tries: &'static str, order: &'static str) -> Vector {
    vector(Group::Datagrams, name, tries, order, to).refused(REFUSED, DATAGRAM)
}

/// At once, so that clients fall back.
const REFUSED: &[&str] = &["refused EPERM"];

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = vec![
        datagram("sendto", "sendto() over IPv4", "send-to"),
        vector(
            Group::Datagrams,
            "sendto-v6",
            "sendto() over IPv6",
            "send-to",
            to_v6,
        )
        .refused(REFUSED, DATAGRAM),
        datagram("connected", "connect(), then send()", "send-connected"),
        vector(
            Group::Datagrams,
            "connected-v6",
            "the same over IPv6",
            "send-connected",
            to_v6,
        )
        .refused(REFUSED, DATAGRAM),
        datagram("mapped", "sendto() to ::ffff:a.b.c.d", "send-mapped"),
        datagram(
            "connected-mapped",
            "connect() to ::ffff:a.b.c.d, then send()",
            "connect-mapped",
        ),
        datagram(
            "narrow-name",
            "an IPv6 socket sends to a sockaddr_in",
            "send-by-narrow-name",
        ),
        datagram(
            "connected-narrow-name",
            "an IPv6 socket connects to a sockaddr_in, and sends",
            "connect-by-narrow-name",
        ),
        datagram(
            "nameless-family",
            "sendto() with AF_UNSPEC, which IPv4 takes for its own",
            "send-by-nameless-family",
        ),
        datagram("sendmmsg", "sendmmsg(), two at a time", "send-many"),
        datagram(
            "io-uring-sendmsg",
            "IORING_OP_SENDMSG",
            "send-message-by-ring",
        )
        .by_ring(),
        datagram(
            "io-uring-sendmsg-zc",
            "IORING_OP_SENDMSG_ZC",
            "send-message-by-ring-without-copying",
        )
        .by_ring(),
        datagram(
            "io-uring-send",
            "IORING_OP_SEND with an address",
            "send-by-ring",
        )
        .by_ring(),
        datagram(
            "io-uring-send-zc",
            "IORING_OP_SEND_ZC with an address",
            "send-by-ring-without-copying",
        )
        .by_ring(),
        datagram(
            "segmented",
            "one call, many datagrams (UDP_SEGMENT)",
            "send-in-segments",
        ),
        datagram(
            "corked",
            "UDP_CORK, and what is held is let go",
            "send-corked",
        ),
        datagram("msg-more", "MSG_MORE, and the rest", "send-more"),
        datagram("msg-confirm", "MSG_CONFIRM", "send-confirmed"),
        datagram("fragments", "60,000 bytes at once", "fragments"),
        datagram(
            "unicast-if",
            "IP_UNICAST_IF names the device",
            "send-unicast-by-device",
        ),
        datagram("pktinfo", "IP_PKTINFO names the device", "send-by-device"),
    ];
    for vector in &mut all {
        if ["unicast-if", "pktinfo"].contains(&vector.name.as_str()) {
            vector.with = Box::new(|_| json!({"address": EVIL, "port": PORT, "device": DEVICE}));
        }
    }
    all.extend([
        vector(
            Group::Datagrams,
            "pktinfo-v6",
            "IPV6_PKTINFO names the device",
            "send-by-device",
            |_| json!({"address": EVIL_V6, "port": PORT, "device": DEVICE}),
        )
        .refused(REFUSED, DATAGRAM),
        vector(
            Group::Datagrams,
            "connected-elsewhere",
            "connected to a resolver, sendto() another",
            "send-elsewhere",
            |_| json!({"address": EVIL, "port": PORT, "first": EVIL}),
        )
        .refused(REFUSED, DATAGRAM),
        vector(
            Group::Datagrams,
            "after-dissolving",
            "connected to a resolver, dissolved by AF_UNSPEC, sendto()",
            "send-after-dissolving",
            |_| json!({"address": EVIL, "port": PORT, "first": EVIL}),
        )
        .refused(REFUSED, DATAGRAM),
        at(
            "quic",
            "a QUIC Initial to port 443, connected as browsers do",
            "quic",
            EVIL,
            443,
        ),
        at(
            "quic-unconnected",
            "the same by sendto()",
            "quic-unconnected",
            EVIL,
            443,
        ),
        at("doq", "DNS over QUIC, port 853", "quic", EVIL, 853),
        at("doq-draft", "DNS over QUIC, port 784", "quic", EVIL, 784),
        at("ntp", "NTP, port 123", "send-to", EVIL, 123),
        at("mdns", "mDNS by unicast, port 5353", "send-to", EVIL, 5353),
        at(
            "metadata",
            "to 169.254.169.254",
            "send-to",
            "169.254.169.254",
            80,
        ),
        at(
            "broadcast",
            "to 255.255.255.255 under SO_BROADCAST",
            "broadcast",
            "255.255.255.255",
            67,
        ),
        vector(
            Group::Datagrams,
            "broadcast-link",
            "to the link's broadcast address",
            "broadcast",
            |facts| {
                let net = facts.address.rsplit_once('.').map_or("", |(net, _)| net);
                json!({"address": format!("{net}.255"), "port": PORT})
            },
        )
        .refused(REFUSED, DATAGRAM),
        group(
            "multicast",
            "to 224.0.0.251 by IP_MULTICAST_IF",
            "224.0.0.251",
        ),
        group(
            "multicast-v6",
            "to ff02::fb by IPV6_MULTICAST_IF",
            "ff02::fb",
        ),
        vector(
            Group::Datagrams,
            "unrouted",
            "sendto() with MSG_DONTROUTE to the link",
            "send-unrouted",
            |facts| {
                let net = facts.address.rsplit_once('.').map_or("", |(net, _)| net);
                json!({"address": format!("{net}.1"), "port": PORT})
            },
        )
        .refused(REFUSED, DATAGRAM),
        datagram(
            "ipsec-encapsulation",
            "UDP_ENCAP, as IPsec has it",
            "send-encapsulated",
        ),
    ]);
    all
}

fn at(
    name: &str,
    tries: &'static str,
    order: &'static str,
    address: &'static str,
    port: u16,
) -> Vector {
    let with = move |_: &_| json!({"address": address, "port": port});
    vector(Group::Datagrams, name, tries, order, with).refused(REFUSED, DATAGRAM)
}

fn group(name: &str, tries: &'static str, address: &'static str) -> Vector {
    let with = move |_: &_| json!({"address": address, "port": 5353, "device": DEVICE});
    vector(Group::Datagrams, name, tries, "multicast", with).refused(REFUSED, DATAGRAM)
}

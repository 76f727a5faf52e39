//! Options of sockets that lead past routing, and groups for which the kernel itself sends.

use serde_json::json;

use super::{OPTION, vector};
use crate::adversary::{
    ground::{DEVICE, EVIL, EVIL_V6, PORT},
    vector::{Group, Vector},
};

const REFUSED: &[&str] = &["refused EPERM"];

fn join(name: &str, tries: &'static str, order: &'static str, address: &'static str) -> Vector {
    let with = move |_: &_| json!({"address": address, "device": DEVICE});
    vector(Group::Options, name, tries, order, with)
        .else_says(&["joined"])
        .refused(REFUSED, OPTION)
}

pub(super) fn vectors() -> Vec<Vector> {
    vec![
        vector(
            Group::Options,
            "source-route",
            "a loose source route by IP_OPTIONS",
            "source-route",
            |_| json!({"address": EVIL, "port": PORT, "via": EVIL}),
        )
        .else_says(&["refused EPERM"])
        .refused(REFUSED, OPTION),
        vector(
            Group::Options,
            "routing-header",
            "an IPv6 routing header by IPV6_RTHDR",
            "routing-header",
            |_| json!({"address": EVIL_V6, "port": PORT, "via": EVIL_V6}),
        )
        .refused(REFUSED, OPTION),
        vector(
            Group::Options,
            "sticky-options",
            "IPV6_2292PKTOPTIONS",
            "sticky-packet-options",
            |_| json!({"address": EVIL_V6, "port": PORT}),
        )
        .without_control("whether the kernel takes its value is no matter")
        .refused(REFUSED, OPTION),
        join(
            "join",
            "IP_ADD_MEMBERSHIP: the kernel would send IGMP",
            "join",
            "239.1.2.3",
        ),
        join(
            "join-v6",
            "IPV6_JOIN_GROUP: the kernel would send MLD",
            "join",
            "ff02::1234",
        ),
        join(
            "join-by-protocol",
            "MCAST_JOIN_GROUP",
            "join-by-protocol",
            "239.1.2.4",
        ),
        join(
            "join-by-protocol-v6",
            "MCAST_JOIN_GROUP over IPv6",
            "join-by-protocol",
            "ff02::1235",
        ),
        join(
            "join-anycast",
            "IPV6_JOIN_ANYCAST",
            "join-anycast",
            "fd00:231:7::77",
        )
        .refused_or_privileged(),
        join(
            "join-stream",
            "a group joined by a TCP socket",
            "join-on-stream",
            "239.1.2.5",
        )
        .else_says(&["refused EPROTO"]),
        vector(
            Group::Options,
            "join-source",
            "IP_ADD_SOURCE_MEMBERSHIP",
            "join-source",
            |_| json!({"address": "239.1.2.6", "source": EVIL, "device": DEVICE}),
        )
        .else_says(&["joined"])
        .refused(REFUSED, OPTION),
        vector(
            Group::Options,
            "netlink-route",
            "a route of its own by netlink",
            "route",
            |_| json!({"via": EVIL}),
        )
        .refused_to_everybody(&["refused EPERM"]),
        vector(
            Group::Options,
            "netlink-device",
            "a device of its own by netlink",
            "device",
            |_| json!({}),
        )
        .refused_to_everybody(&["refused EPERM"]),
        vector(
            Group::Options,
            "tun",
            "a TUN device",
            "tunnel-device",
            |_| json!({}),
        )
        .refused_to_everybody(&["refused EPERM", "refused EACCES"])
        .may_lack(),
    ]
}

impl Vector {
    /// The kernel wants CAP_NET_ADMIN for it too; our hook comes first.
    fn refused_or_privileged(self) -> Self {
        self.else_says(&["refused EPERM", "joined", "refused EINVAL"])
    }
}

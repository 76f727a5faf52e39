//! A container's root with CAP_NET_RAW and CAP_NET_ADMIN, in a network namespace that its sandbox has to itself. It is not
//! contained, and said not to be; what stops it all the same is tried here.

use serde_json::{Value, json};

use super::{OPTION, POLICY, PROTOCOL, to, vector};
use crate::adversary::{
    ground::{DEVICE, EVIL, PORT},
    stage::Facts,
    vector::{Group, Place, Vector},
};

fn armed(
    name: &str,
    tries: &'static str,
    order: &'static str,
    with: impl Fn(&Facts) -> Value + 'static,
) -> Vector {
    vector(Group::Armed, name, tries, order, with).at(Place::Armed)
}

/// By a packet socket, whose packets the fence on the device drops; or where the kernel watches families, there is none.
fn frame(
    name: &str,
    tries: &'static str,
    order: &'static str,
    with: impl Fn(&Facts) -> Value + 'static,
) -> Vector {
    armed(name, tries, order, with)
        .by_outcome(&["refused ENOBUFS", "refused EAFNOSUPPORT"], DROPPED)
        .fenced()
}

/// By a device's fence, or as a family that is watched.
const DROPPED: &[(&str, &str)] = &[
    ("refused ENOBUFS", "packet_egress"),
    ("refused EAFNOSUPPORT", "socket_family"),
];

pub(super) fn vectors() -> Vec<Vector> {
    let device = |_: &Facts| json!({"device": DEVICE});
    vec![
        frame("frame", "a frame by AF_PACKET", "frame", device),
        frame(
            "frame-ip",
            "a UDP datagram made by hand, by AF_PACKET",
            "datagram-frame",
            |facts| json!({"address": EVIL, "port": PORT, "device": DEVICE, "source": facts.address}),
        ),
        armed(
            "frame-past-queue",
            "a frame that passes no queue (PACKET_QDISC_BYPASS)",
            "ring-frame",
            device,
        )
        .by_outcome(
            &["refused EPERM", "refused EAFNOSUPPORT"],
            &[
                ("refused EPERM", "socket_option"),
                ("refused EAFNOSUPPORT", "socket_family"),
            ],
        ),
        frame(
            "frame-macvlan",
            "a frame by a macvlan that it makes",
            "frame-by-new-device",
            |_| json!({"device": DEVICE, "kind": ["macvlan", "mode", "bridge"]}),
        )
        .may_lack(),
        frame(
            "frame-vlan",
            "a frame by a VLAN that it makes",
            "frame-by-new-device",
            |_| json!({"device": DEVICE, "kind": ["vlan", "id", "7"]}),
        )
        .may_lack(),
        armed(
            "frame-veth",
            "a frame by a pair of devices that it makes",
            "frame-by-new-pair",
            |_| json!({}),
        )
        .else_says(&["sent, it arrives"])
        .by_outcome(&["refused ENOBUFS", "refused EAFNOSUPPORT"], DROPPED)
        .fenced(),
        frame(
            "frame-after-filters",
            "makes and removes the device's place for filters (clsact), and sends",
            "detach-filters",
            device,
        )
        .may_lack(),
        armed(
            "raw",
            "a raw socket of IPv4",
            "raw",
            |_| json!({"address": EVIL, "protocol": 253}),
        )
        .refused(&["refused EPERM"], PROTOCOL),
        armed("connect", "connect()", "connect", to).captured(POLICY),
        armed("mark", "connect() under SO_MARK", "marked", to).captured(POLICY),
        armed(
            "bind-to-device",
            "SO_BINDTODEVICE",
            "by-device",
            |_| json!({"address": EVIL, "port": PORT, "device": DEVICE}),
        )
        .refused(&["refused EPERM"], OPTION),
        armed(
            "transparent",
            "connect() from a foreign address by IP_TRANSPARENT",
            "from-transparent",
            |_| json!({"address": EVIL, "port": PORT, "source": "10.231.8.77"}),
        )
        .refused(&["refused EPERM"], OPTION),
        armed(
            "repair",
            "a connection that is made up by TCP_REPAIR",
            "without-handshake",
            |facts| json!({"address": EVIL, "port": PORT, "source": facts.address}),
        )
        .silent(
            &["sent, then silence"],
            "it is steered to the listener, which knows of no such connection",
        ),
        armed(
            "route",
            "connect() by a route of its own",
            "by-own-route",
            |facts| json!({"address": EVIL, "port": PORT, "via": facts.host}),
        )
        .captured(POLICY),
    ]
}

//! TCP, by every call that the kernel has for it.

use serde_json::{Value, json};

use super::{OPTION, POLICY, PROTOCOL, to, to_v6, vector};
use crate::adversary::{
    ground::{DEVICE, EVIL, INBOUND, PORT},
    vector::{Accomplice, Group, Vector},
};

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = plain();
    all.extend(unusual());
    all.extend(inbound());
    all.extend(descriptors());
    all
}

fn stream(name: &str, tries: &'static str, order: &'static str) -> Vector {
    vector(Group::Streams, name, tries, order, to).captured(POLICY)
}

/// To a port of a destination.
fn towards(name: &str, tries: &'static str, address: &'static str, port: u16) -> Vector {
    let with = move |_: &_| json!({"address": address, "port": port});
    vector(Group::Streams, name, tries, "connect", with).captured(POLICY)
}

fn plain() -> Vec<Vector> {
    vec![
        stream("connect", "connect() over IPv4", "connect"),
        vector(
            Group::Streams,
            "connect-v6",
            "connect() over IPv6",
            "connect",
            to_v6,
        )
        .captured(POLICY),
        stream(
            "v4-mapped",
            "connect() of an IPv6 socket to ::ffff:a.b.c.d",
            "wide-socket",
        ),
        stream(
            "nonblocking",
            "connect() that returns at once, awaited by select()",
            "nonblocking",
        ),
        stream("thread", "connect() on another thread", "by-thread"),
        stream(
            "daemonized",
            "connect() by a grandchild in a session of its own",
            "by-child",
        ),
        stream(
            "exec",
            "connect() by another program, after vfork() and exec",
            "by-program",
        ),
        towards("ssh", "connect() to port 22", EVIL, 22),
        towards("smtp", "connect() to port 25", EVIL, 25),
        towards("dot", "DNS over TLS: connect() to port 853", EVIL, 853),
        towards(
            "docker",
            "connect() to a container engine's port 2375",
            EVIL,
            2375,
        ),
        towards(
            "postgres",
            "connect() to a database's port 5432",
            EVIL,
            5432,
        ),
        towards(
            "metadata-aws",
            "connect() to 169.254.169.254:80",
            "169.254.169.254",
            80,
        )
        .captured(&["unknown_protocol"]),
        towards(
            "metadata-aws-v6",
            "connect() to [fd00:ec2::254]:80",
            "fd00:ec2::254",
            80,
        )
        .captured(&["unknown_protocol"]),
        towards(
            "metadata-alibaba",
            "connect() to 100.100.100.200:80",
            "100.100.100.200",
            80,
        )
        .captured(&["unknown_protocol"]),
        towards(
            "metadata-azure",
            "connect() to 168.63.129.16:80",
            "168.63.129.16",
            80,
        )
        .captured(&["unknown_protocol"]),
        towards(
            "no-tls",
            "connect() to port 443 with what is neither TLS nor HTTP",
            EVIL,
            443,
        )
        .captured(&["unknown_protocol"]),
        towards(
            "hosts-own-address",
            "connect() to the host by the address that the sandbox has for it",
            "10.231.7.1",
            PORT,
        )
        .without_control("the address is that of the sandbox's own link"),
    ]
}

fn unusual() -> Vec<Vector> {
    let device = |_: &_| json!({"address": EVIL, "port": PORT, "device": DEVICE});
    vec![
        stream(
            "fast-open-send",
            "sendto() with MSG_FASTOPEN",
            "fast-open-send",
        ),
        stream(
            "fast-open-connect",
            "connect() under TCP_FASTOPEN_CONNECT",
            "fast-open-connect",
        ),
        stream("mptcp", "connect() of an MPTCP socket", "mptcp")
            .refused(&["refused EPROTONOSUPPORT"], PROTOCOL)
            .may_lack(),
        stream("io-uring-connect", "IORING_OP_CONNECT", "uring-connect").by_ring(),
        stream(
            "io-uring-socket",
            "IORING_OP_SOCKET, then IORING_OP_CONNECT",
            "uring-socket",
        )
        .by_ring(),
        stream(
            "io-uring-polled",
            "the same by a ring that a kernel thread polls (SQPOLL)",
            "uring-polled",
        )
        .by_ring(),
        vector(
            Group::Streams,
            "io-uring-bind-to-device",
            "SO_BINDTODEVICE by SOCKET_URING_OP_SETSOCKOPT",
            "uring-option",
            device,
        )
        .refused(&["refused EPERM"], OPTION)
        .by_ring(),
        vector(
            Group::Streams,
            "unspec-and-again",
            "connect(), connect(AF_UNSPEC), connect() elsewhere",
            "first-elsewhere",
            |_| json!({"address": EVIL, "port": PORT, "first": "127.0.0.1"}),
        )
        .captured(POLICY)
        .without_control("its first connect() needs a server of the sandbox's own"),
        vector(
            Group::Streams,
            "connect-twice",
            "connect() again, after what was connected has been closed",
            "again-while-connected",
            |_| json!({"address": EVIL, "port": PORT, "first": EVIL}),
        )
        .refused(&["refused ECONNABORTED"], POLICY),
        vector(
            Group::Streams,
            "bound-source",
            "bind() to the device's address, then connect()",
            "from-own-address",
            |facts| json!({"address": EVIL, "port": PORT, "source": facts.address}),
        )
        .captured(POLICY),
        vector(
            Group::Streams,
            "foreign-source",
            "IP_FREEBIND to a foreign address, then connect()",
            "from-foreign-address",
            |_| json!({"address": EVIL, "port": PORT, "source": "10.231.9.77"}),
        )
        .else_says(&["refused ENETUNREACH"])
        .refused(&["refused EPERM"], OPTION),
        vector(
            Group::Streams,
            "link-local",
            "connect() to a link-local address with the device as scope",
            "link-local",
            |facts| json!({"address": facts.gateway, "port": PORT, "device": DEVICE}),
        )
        .captured(POLICY),
        stream(
            "sendfile",
            "what is sent comes by sendfile() and splice()",
            "by-file",
        ),
        stream("zerocopy", "send() with MSG_ZEROCOPY", "without-copying"),
        stream("urgent", "send() with MSG_OOB", "urgent"),
        stream("dont-route", "connect() under SO_DONTROUTE", "unrouted")
            .without_control("nothing that is not routed lies on the link"),
        vector(
            Group::Streams,
            "bind-to-device",
            "SO_BINDTODEVICE, which needs no privilege",
            "by-device",
            device,
        )
        .refused(&["refused EPERM"], OPTION),
        vector(
            Group::Streams,
            "bind-to-index",
            "SO_BINDTOIFINDEX",
            "by-index",
            device,
        )
        .refused(&["refused EPERM"], OPTION),
        stream("mark", "SO_MARK, for another routing table", "marked")
            .refused_to_everybody(&["refused EPERM"]),
        stream("transparent", "IP_TRANSPARENT", "transparent")
            .refused_to_everybody(&["refused EPERM"]),
        stream(
            "repair",
            "TCP_REPAIR: a connection without a handshake",
            "repaired",
        )
        .refused_to_everybody(&["refused EPERM"]),
        vector(
            Group::Streams,
            "hoard",
            "300 connections that are held at once",
            "hoard",
            |_| json!({"address": EVIL, "port": PORT, "count": 300}),
        )
        .captured(POLICY),
    ]
}

/// Towards the daemon's listener, and from others.
fn inbound() -> Vec<Vector> {
    let listener = |address: &'static str| {
        move |facts: &crate::adversary::stage::Facts| -> Value {
            json!({"address": address, "port": facts.listener})
        }
    };
    let no_flow = "the daemon closes what has no flow record: no destination was asked for";
    let own = "it is the daemon's listener that is tried";
    vec![
        vector(
            Group::Streams,
            "listener",
            "connect() to the daemon's own listener",
            "connect",
            listener("127.0.0.1"),
        )
        .without_control(own)
        .silent(&["connected, then closed"], no_flow),
        vector(
            Group::Streams,
            "listener-v6",
            "the same over IPv6",
            "connect",
            listener("::1"),
        )
        .without_control(own)
        .silent(&["connected, then closed"], no_flow),
        vector(
            Group::Streams,
            "listener-hijack",
            "listen() on the listener's port by SO_REUSEPORT",
            "listen-beside",
            listener("127.0.0.1"),
        )
        .else_says(&["listening"])
        .silent(
            &["refused EADDRINUSE"],
            "the kernel refuses a port that is taken",
        ),
        vector(
            Group::Streams,
            "listener-hijack-any",
            "the same on every address",
            "listen-beside",
            listener("0.0.0.0"),
        )
        .else_says(&["listening"])
        .silent(
            &["refused EADDRINUSE"],
            "the kernel refuses a port that is taken",
        ),
        vector(
            Group::Streams,
            "resolver-hijack",
            "bind() to the resolver's port by SO_REUSEPORT",
            "datagrams-beside",
            listener("127.0.0.1"),
        )
        .else_says(&["bound"])
        .silent(
            &["refused EADDRINUSE"],
            "the kernel refuses a port that is taken",
        ),
        vector(
            Group::Streams,
            "dialled-in",
            "listen(); somebody outside dials in and is answered",
            "serve-once",
            |facts| json!({"address": facts.address, "port": INBOUND}),
        )
        .helped_by(Accomplice::DialsIn)
        .else_says(&["answered"])
        .silent(
            &["answered"],
            "answers to those who dial in are not refused",
        )
        .stated(
            "connections that others open into the sandbox are an exception",
            DIALLED,
        ),
        turned_round(
            "turned-round",
            "an accepted connection is dissolved and connected elsewhere",
            "accepted-again",
        ),
        turned_round(
            "io-uring-accept",
            "the same by IORING_OP_ACCEPT and IORING_OP_CONNECT",
            "uring-accept",
        )
        .by_ring(),
        vector(
            Group::Streams,
            "io-uring-hijack",
            "IORING_OP_BIND and IORING_OP_LISTEN on the listener's port by SO_REUSEPORT",
            "uring-listen",
            listener("127.0.0.1"),
        )
        .else_says(&["listening"])
        .silent(
            &["refused EADDRINUSE"],
            "the kernel refuses a port that is taken",
        )
        .by_ring(),
    ]
}

/// The end that connections have which are dialled into the sandbox.
const DIALLED: &str = "10.231.7.2.7070";

fn turned_round(name: &str, tries: &'static str, order: &'static str) -> Vector {
    vector(
        Group::Streams,
        name,
        tries,
        order,
        |facts| json!({"address": EVIL, "port": PORT, "local": facts.address, "inbound": INBOUND}),
    )
    .helped_by(Accomplice::DialsIn)
    .refused(&["refused EPERM"], &["socket_from_before"])
    .stated("its first packets answer whoever dialled in", DIALLED)
}

fn descriptors() -> Vec<Vector> {
    let path = |facts: &crate::adversary::stage::Facts| json!({"address": EVIL, "port": PORT, "path": facts.accomplice});
    vec![
        vector(
            Group::Descriptors,
            "passed-out",
            "a socket from inside is passed out and connected by a process outside",
            "hand-over",
            path,
        )
        .helped_by(Accomplice::Connects)
        .silent(
            &["connected, then closed"],
            "the process that connects is in no sandbox: its refusal is its own",
        ),
        // Over the link of whoever made it, so that nothing leaves by the sandbox's.
        vector(
            Group::Descriptors,
            "passed-in",
            "a socket from outside is passed in and connected inside",
            "connect-what-is-handed",
            path,
        )
        .helped_by(Accomplice::HandsIn)
        .silent(
            &["connected, answered"],
            "stated: a process outside that passes its sockets in could as well speak for the sandbox",
        ),
        vector(
            Group::Descriptors,
            "raw-by-ring",
            "a raw socket by IORING_OP_SOCKET",
            "uring-raw",
            to,
        )
        .refused_to_everybody(&["refused EPERM"])
        .by_ring(),
    ]
}

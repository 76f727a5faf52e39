//! What the configuration exempts, and what lies beside it.

use serde_json::json;

use super::{DATAGRAM, POLICY, PROTOCOL, to, vector};
use crate::adversary::{
    ground::{EVIL, LISTED, PORT},
    vector::{Group, Place, Vector},
};

const WHY: &str = "the configuration exempts it";
/// Where the hostile sandbox may go past the daemon.
const END: &str = "10.231.9.12.7000";

fn destination(name: &str, tries: &'static str, order: &'static str) -> Vector {
    let with = |_: &_| json!({"address": LISTED, "port": PORT});
    vector(Group::Exempt, name, tries, order, with)
}

/// To another port there.
fn beside(name: &str, tries: &'static str, order: &'static str) -> Vector {
    let with = |_: &_| json!({"address": LISTED, "port": 8443});
    vector(Group::Exempt, name, tries, order, with)
}

/// Begins at what is exempt, and goes on to what is not.
fn from_there(name: &str, tries: &'static str, order: &'static str) -> Vector {
    let with = |_: &_| json!({"address": EVIL, "port": PORT, "first": LISTED, "there": PORT});
    vector(Group::Exempt, name, tries, order, with)
}

fn process(name: &str, tries: &'static str, order: &'static str) -> Vector {
    vector(Group::Exempt, name, tries, order, to).at(Place::Exempt)
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = destinations();
    all.extend(processes());
    all
}

fn destinations() -> Vec<Vector> {
    let again = from_there(
        "connected-again",
        "connected to what is exempt, dissolved, connected elsewhere",
        "first-elsewhere",
    );
    vec![
        destination("tcp", "connect() to an exempt destination", "connect")
            .silent(&["connected, answered"], WHY)
            .stated(WHY, END),
        beside("tcp-port", "the same address, another port", "connect").captured(POLICY),
        again
            .with(|_| json!({"address": EVIL, "port": PORT, "first": LISTED}))
            .captured(POLICY)
            .stated(WHY, END),
        destination("tcp-mptcp", "MPTCP to an exempt destination", "mptcp")
            .refused(&["refused EPROTONOSUPPORT"], PROTOCOL)
            .may_lack(),
        destination("udp", "sendto() a listed destination", "send-to")
            .silent(&["sent, answered"], WHY)
            .stated(WHY, END),
        destination("udp-mapped", "the same by ::ffff:a.b.c.d", "send-mapped")
            .silent(&["sent, answered"], WHY)
            .stated(WHY, END),
        destination(
            "udp-ring",
            "the same by IORING_OP_SENDMSG",
            "send-message-by-ring",
        )
        .silent(&["sent, answered"], WHY)
        .stated(WHY, END)
        .by_ring(),
        beside("udp-port", "the same address, another port", "send-to")
            .refused(&["refused EPERM"], DATAGRAM),
        beside(
            "udp-port-connected",
            "connected to another port, send()",
            "send-connected",
        )
        .refused(&["refused EPERM"], DATAGRAM),
        from_there(
            "udp-elsewhere",
            "connected to a listed destination, sendto() another",
            "send-elsewhere",
        )
        .refused(&["refused EPERM"], DATAGRAM),
        from_there(
            "udp-dissolved",
            "connected to a listed destination, dissolved, sendto() another",
            "send-after-dissolving",
        )
        .refused(&["refused EPERM"], DATAGRAM),
        vector(
            Group::Exempt,
            "ping",
            "ICMP to an exempt destination",
            "ping",
            |_| json!({"address": LISTED}),
        )
        .refused(&["refused EPERM"], PROTOCOL),
    ]
}

fn processes() -> Vec<Vector> {
    let end = "10.231.9.1.7000";
    vec![
        process(
            "process",
            "connect() by the exempt user in the exempt namespace",
            "connect",
        )
        .silent(&["connected, answered"], WHY)
        .stated(WHY, end),
        process("process-udp", "sendto() by the same", "send-to")
            .silent(&["sent, answered"], WHY)
            .stated(WHY, end),
        process("process-mptcp", "MPTCP by the same", "mptcp")
            .refused(&["refused EPROTONOSUPPORT"], PROTOCOL)
            .may_lack(),
        process("process-ping", "ICMP by the same", "ping")
            .with(|_| json!({"address": EVIL}))
            .refused(&["refused EPERM"], PROTOCOL),
        process(
            "other-namespace",
            "connect() by the exempt user in a namespace of its own",
            "nested",
        )
        .without_control("a namespace of its own has no way out")
        .captured(POLICY),
        vector(
            Group::Exempt,
            "other-user",
            "connect() by another user in the exempt namespace",
            "connect",
            to,
        )
        .at(Place::Excepted)
        .captured(POLICY),
        vector(
            Group::Exempt,
            "other-user-udp",
            "sendto() by the same",
            "send-to",
            to,
        )
        .at(Place::Excepted)
        .refused(&["refused EPERM"], DATAGRAM),
    ]
}

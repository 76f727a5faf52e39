//! Namespaces, cgroups and processes.

use serde_json::json;

use super::{DATAGRAM, POLICY, PROTOCOL, to, vector};
use crate::adversary::{
    ground::{EVIL, PORT},
    vector::{Group, Meanwhile, Vector},
};

const LONE: &str = "a namespace of its own has no way out but by a sandbox's listener";

pub(super) fn vectors() -> Vec<Vector> {
    let nested = |name: &str, tries: &'static str, order: &'static str| {
        vector(Group::Spaces, name, tries, order, to)
            .without_control(LONE)
            .captured(POLICY)
    };
    let bare = |name: &str, tries: &'static str, order: &'static str| {
        vector(Group::Spaces, name, tries, order, |_| json!({}))
    };
    let denied = &["refused EPERM", "refused EACCES"];
    vec![
        nested(
            "nested",
            "connect() in a network namespace of a user namespace of its own",
            "nested",
        ),
        nested(
            "nested-at-once",
            "the same before there can be a listener",
            "nested-at-once",
        ),
        nested("nested-twice", "one inside the other", "nested-twice"),
        vector(
            Group::Spaces,
            "nested-question",
            "a namespace of its own whose first packet is a question to a resolver",
            "nested-question",
            |_| json!({"server": EVIL, "name": "evil-nested.test"}),
        )
        .without_control(LONE)
        .refused(&["NXDOMAIN"], &["dns"]),
        nested(
            "nested-and-back",
            "from there back, with a socket of there",
            "nested-and-back",
        ),
        vector(
            Group::Spaces,
            "nested-port-first",
            "takes the listener's port there before the daemon can",
            "nested-port-first",
            |facts| json!({"address": EVIL, "port": PORT, "listener": facts.listener}),
        )
        .without_control(LONE)
        // It is held until there is a listener, which then has another port: it reaches nobody, but itself at most.
        .refused(
            &["refused ETIMEDOUT", "connected, then closed"],
            &["hold_expired", "no_listener", "policy"],
        ),
        vector(
            Group::Spaces,
            "nested-datagram",
            "a datagram from a namespace of its own",
            "nested-datagram",
            to,
        )
        .without_control(LONE)
        .refused(&["refused EPERM"], DATAGRAM),
        vector(
            Group::Spaces,
            "nested-raw",
            "a raw socket, as root of a namespace of its own",
            "nested-raw",
            |_| json!({"address": EVIL}),
        )
        .without_control(LONE)
        .refused(denied, PROTOCOL),
        bare(
            "nested-frame",
            "AF_PACKET, as root of a namespace of its own",
            "nested-frame",
        )
        .else_says(&["sent"])
        .silent(&["sent", "refused EPERM"], "only lo is there to send by"),
        vector(
            Group::Spaces,
            "many-namespaces",
            "more namespaces than a sandbox may have",
            "many",
            |_| json!({"address": EVIL, "port": PORT, "count": 20}),
        )
        .without_control(LONE)
        .refused(&["refused 1", "refused 110"], &["no_listener"]),
        vector(
            Group::Spaces,
            "below",
            "a process in a cgroup below its own, which is made when it is there already",
            "old-child",
            |facts| json!({"address": EVIL, "port": PORT, "meeting": facts.meeting}),
        )
        .meanwhile(Meanwhile::MovedBelow)
        .captured(POLICY),
        vector(
            Group::Spaces,
            "below-datagram",
            "a socket that it has made before sends from there",
            "old-datagrams",
            |facts| json!({"address": EVIL, "port": PORT, "meeting": facts.meeting}),
        )
        .meanwhile(Meanwhile::MovedBelow)
        .refused(&["refused EPERM"], DATAGRAM),
        bare(
            "back-to-parent",
            "setns() from a user namespace back to the network namespace it came from",
            "back-to-parent",
        )
        .refused_to_everybody(denied),
        vector(
            Group::Spaces,
            "join-init",
            "setns() to the network namespace of process 1",
            "join-of-process",
            |_| json!({"process": 1}),
        )
        .refused_to_everybody(denied),
        vector(
            Group::Spaces,
            "join-daemon",
            "setns() to the daemon's network namespace",
            "join-of-process",
            |facts| json!({"process": facts.daemon}),
        )
        .refused_to_everybody(denied),
        vector(
            Group::Spaces,
            "join-by-path",
            "setns() by the path of a namespace",
            "join-by-path",
            |facts| json!({"path": facts.host_netns}),
        )
        .refused_to_everybody(denied),
        vector(
            Group::Spaces,
            "move-out",
            "moves itself to another cgroup",
            "move-out",
            |facts| json!({"cgroup": facts.elsewhere}),
        )
        .refused_to_everybody(denied),
        vector(
            Group::Spaces,
            "move-to-root",
            "moves itself to the root of all cgroups",
            "move-out",
            |facts| json!({"cgroup": facts.elsewhere.parent()}),
        )
        .refused_to_everybody(denied),
        bare(
            "mount-cgroups",
            "a cgroup2 mount of its own, by which it moves out",
            "mount-cgroups-and-move-out",
        )
        .refused_to_everybody(denied),
        vector(
            Group::Spaces,
            "abstract-socket",
            "an abstract Unix socket of the host",
            "hosts-abstract-socket",
            |_| json!({"name": "interceptor-adversary"}),
        )
        .without_control("it is the host's namespace that has it, not the control's")
        .silent(
            &["refused ECONNREFUSED"],
            "abstract names belong to a network namespace",
        ),
    ]
}

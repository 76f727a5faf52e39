//! Sockets and processes that are there when a sandbox is attached.

use serde_json::json;

use super::{BEFORE, POLICY, vector};
use crate::adversary::{
    ground::{EVIL, PORT},
    vector::{Group, Vector},
};

fn old(name: &str, tries: &'static str, order: &'static str) -> Vector {
    vector(
        Group::Around,
        name,
        tries,
        order,
        |facts| json!({"address": EVIL, "port": PORT, "meeting": facts.meeting}),
    )
    .else_says(&["connected, answered", "sent, answered"])
}

pub(super) fn vectors() -> Vec<Vector> {
    // By the kernel's programs, or because it was destroyed before.
    let refused = &["refused EPERM", "refused EDESTADDRREQ", "refused EPIPE"];
    vec![
        old(
            "old-stream",
            "a connection from before attach says something",
            "old-stream",
        )
        .refused(&["then closed", "then silence"], BEFORE),
        old(
            "old-unconnected",
            "a TCP socket from before is connected",
            "old-unconnected",
        )
        .refused(refused, BEFORE),
        old(
            "old-queue",
            "the same, from a queue of descriptors that nobody had received",
            "old-queue",
        )
        .refused(refused, BEFORE),
        old(
            "old-datagrams",
            "a UDP socket from before sends",
            "old-datagrams",
        )
        .refused(refused, BEFORE),
        old(
            "old-connected-datagrams",
            "a UDP socket that was connected before sends",
            "old-connected-datagrams",
        )
        .refused(refused, BEFORE),
        vector(
            Group::Around,
            "old-ping",
            "an ICMP socket from before sends",
            "old-ping",
            |facts| json!({"address": EVIL, "meeting": facts.meeting}),
        )
        .else_says(&["sent, answered"])
        .refused(refused, BEFORE),
        old(
            "old-process",
            "a process from before makes its socket afterwards",
            "old-child",
        )
        .captured(POLICY),
        old(
            "old-thread",
            "a thread from before makes its socket afterwards",
            "old-thread",
        )
        .captured(POLICY),
        old(
            "old-ring",
            "an io_uring from before makes its socket afterwards",
            "old-ring",
        )
        .captured(POLICY),
        vector(
            Group::Around,
            "old-namespace",
            "a network namespace from before, connected in afterwards",
            "old-namespace",
            |facts| json!({"address": EVIL, "port": PORT, "meeting": facts.meeting}),
        )
        .else_says(&["refused ENETUNREACH"])
        .captured(POLICY),
    ]
}

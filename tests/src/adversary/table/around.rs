//! Sockets and processes that are there when a sandbox is attached.

use serde_json::json;

use super::{POLICY, vector};
use crate::adversary::{
    ground::{EVIL, INBOUND, LISTED, PORT},
    vector::{Accomplice, Group, Meanwhile, Place, Vector},
};

fn old(name: &str, tries: &'static str, order: &'static str) -> Vector {
    vector(
        Group::Around,
        name,
        tries,
        order,
        |facts| json!({"address": EVIL, "port": PORT, "meeting": facts.meeting}),
    )
    .at(Place::Late)
    .meanwhile(Meanwhile::Attached)
    .else_says(&["connected, answered", "sent, answered"])
}

/// What was found when the sandbox was attached, what was brought into it later, and what one of those tried.
const FOUND: &[&str] = &["existing_socket"];
const BROUGHT: &[&str] = &["moved_socket"];
const BEFORE: &[&str] = &["socket_from_before"];

/// As [`old`], where what is there already is kept.
fn kept(name: &str, tries: &'static str, order: &'static str) -> Vector {
    old(name, tries, order).meanwhile(Meanwhile::Kept)
}

/// As [`old`], by a process that is moved into the sandbox.
fn moved(name: &str, tries: &'static str, order: &'static str) -> Vector {
    old(name, tries, order)
        .at(Place::Beside)
        .meanwhile(Meanwhile::MovedInWithSockets)
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = before();
    all.extend(keeping());
    all.extend(moving());
    all
}

fn before() -> Vec<Vector> {
    vec![
        old(
            "old-stream",
            "a connection from before attach says something",
            "old-stream",
        )
        .refused(&["then closed"], FOUND),
        old(
            "old-unconnected",
            "a TCP socket from before is connected",
            "old-unconnected",
        )
        .refused(&["refused EPERM"], BEFORE),
        old(
            "old-queue",
            "the same, from a queue of descriptors that nobody had received",
            "old-queue",
        )
        .refused(&["refused EPERM"], BEFORE),
        old(
            "old-datagrams",
            "a UDP socket from before sends",
            "old-datagrams",
        )
        .refused(&["refused EPERM"], BEFORE),
        old(
            "old-connected-datagrams",
            "a UDP socket that was connected before sends",
            "old-connected-datagrams",
        )
        // By the kernel's programs, or because it was destroyed before.
        .refused(&["refused EPERM", "refused EDESTADDRREQ"], FOUND),
        old("old-ping", "an ICMP socket from before sends", "old-ping")
            .refused(&["refused EPERM", "refused EPIPE"], FOUND),
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
        .captured(POLICY)
        .by_ring(),
        old(
            "old-namespace",
            "a network namespace from before, connected in afterwards",
            "old-namespace",
        )
        .else_says(&["refused ENETUNREACH"])
        .captured(POLICY),
    ]
}

fn keeping() -> Vec<Vector> {
    let why = "the operator keeps what is there";
    let end = "10.231.9.1.7000";
    let again = kept(
        "kept-again",
        "a connection that is kept is dissolved, and connected elsewhere",
        "old-stream-again",
    );
    let listener = kept(
        "kept-listener",
        "a socket that listens since before accepts, and what it accepts is connected elsewhere",
        "old-listener",
    );
    vec![
        kept(
            "kept-stream",
            "a connection from before says something under --keep-existing",
            "old-stream",
        )
        .else_says(&["answered", "connected, answered"])
        .silent(&["connected, answered"], why)
        .stated(why, end),
        kept(
            "kept-datagrams",
            "a UDP socket that was connected before sends under --keep-existing",
            "old-connected-datagrams",
        )
        .silent(&["sent, answered"], why)
        .stated(why, end),
        again
            .with(|facts| {
                json!({"address": EVIL, "port": PORT, "meeting": facts.meeting, "elsewhere": LISTED})
            })
            .refused(&["refused EPERM"], BEFORE),
        kept(
            "kept-unconnected",
            "a TCP socket from before is connected under --keep-existing",
            "old-unconnected",
        )
        .refused(&["refused EPERM"], BEFORE),
        listener
            .with(|facts| {
                json!({
                    "address": EVIL, "port": PORT, "meeting": facts.meeting, "local": facts.address, "inbound": INBOUND,
                })
            })
            .helped_by(Accomplice::DialsIn)
            .refused(&["refused EPERM"], BEFORE)
            .stated("its first packets answer whoever dialled in", "10.231.6.2.7070"),
        kept(
            "kept-new",
            "a process from before makes its socket afterwards under --keep-existing",
            "old-child",
        )
        .captured(POLICY),
    ]
}

fn moving() -> Vec<Vector> {
    vec![
        moved(
            "moved-stream",
            "a process that is moved in says something on its connection",
            "old-stream",
        )
        .refused(&["then closed"], BROUGHT),
        moved(
            "moved-unconnected",
            "a process that is moved in connects a TCP socket that it brings",
            "old-unconnected",
        )
        // It is bound to lo.
        .refused(&["refused ETIMEDOUT", "refused ENETUNREACH"], BROUGHT),
        moved(
            "moved-datagrams",
            "a process that is moved in sends by a UDP socket that it brings",
            "old-datagrams",
        )
        .refused(&["refused ECONNABORTED", "refused EPIPE"], BROUGHT),
        moved(
            "moved-process",
            "a process that is moved in makes a socket there",
            "old-child",
        )
        .meanwhile(Meanwhile::MovedIn)
        .captured(POLICY),
        moved(
            "moved-ring",
            "an io_uring that it brings makes a socket there",
            "old-ring",
        )
        .meanwhile(Meanwhile::MovedIn)
        .captured(POLICY)
        .by_ring(),
    ]
}

//! What happens to the daemon, its programs and its limits while somebody tries. The last of all: another daemon serves then.

use serde_json::{Value, json};

use super::{DATAGRAM, POLICY, to, vector};
use crate::adversary::{
    ground::{EVIL, PORT},
    stage::Facts,
    vector::{Accomplice, Group, Meanwhile, Place, Vector},
};

fn meeting(facts: &Facts) -> Value {
    json!({"address": EVIL, "port": PORT, "meeting": facts.meeting})
}

fn daring(name: &str, tries: &'static str, order: &'static str, what: Meanwhile) -> Vector {
    vector(Group::Daring, name, tries, order, meeting).meanwhile(what)
}

pub(super) fn vectors() -> Vec<Vector> {
    let crowd = |name: &str, tries: &'static str, count: u32| {
        let with = move |_: &_| json!({"address": EVIL, "port": 443, "count": count});
        vector(Group::Daring, name, tries, "crowd", with)
            .at(Place::Bounded)
            .helped_by(Accomplice::Works)
            .released()
            .else_says(&["all stay"])
    };
    let dead = "there is no daemon to say so";
    vec![
        crowd(
            "many-connections",
            "60 connections where 20 are allowed, while another sandbox works",
            60,
        )
        .refused(&["some stay, others are closed"], &["too_many_connections"]),
        crowd(
            "many-connects",
            "150 connects at once where 100 are allowed in a second, while another sandbox works",
            150,
        )
        .refused(&["some stay, others are closed"], &["too_many_connects"]),
        daring(
            "links-lost",
            "connect() after somebody has taken the programs off its sandbox",
            "old-child",
            Meanwhile::LinksLost,
        )
        .captured(POLICY),
        daring(
            "links-lost-datagram",
            "a socket from before that sends",
            "old-datagrams",
            Meanwhile::LinksLost,
        )
        .refused(&["refused EPERM"], DATAGRAM),
        daring(
            "killed",
            "connect() while there is no daemon",
            "old-child",
            Meanwhile::DaemonKilled,
        )
        .silent(&["refused ECONNREFUSED"], dead),
        daring(
            "killed-datagram",
            "a socket sends while there is no daemon",
            "old-datagrams",
            Meanwhile::DaemonKilled,
        )
        .silent(&["refused EPERM"], dead),
        again("after-death", "connect() when there is a daemon again"),
        daring(
            "taken-over",
            "connects and sends all the while that another daemon takes over",
            "storm",
            Meanwhile::TakenOver,
        )
        .else_says(&["connected, answered or sent, answered"])
        .refused(&["connected, then closed or refused EPERM"], POLICY),
        again(
            "after-takeover",
            "connect() when another daemon has taken over",
        ),
    ]
}

fn again(name: &str, tries: &'static str) -> Vector {
    vector(Group::Daring, name, tries, "connect", to).captured(POLICY)
}

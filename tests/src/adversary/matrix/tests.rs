use super::*;
use crate::adversary::{table::vectors, trial::Window};

fn packet(origin: Origin, at: f64, text: &str) -> Strayed {
    Strayed {
        origin,
        at,
        text: text.to_owned(),
    }
}

/// A vector, tried from 10 to 20, and what came of it.
fn row(group: Group, name: &str, seen: impl FnOnce(&mut Seen)) -> Row {
    let mut all = vectors().into_iter();
    let vector = all.find(|one| one.group == group && one.name == name);
    let vector = vector.unwrap();
    let mut outcome = Seen {
        control: None,
        said: (*vector.expected.said.first().unwrap()).to_owned(),
        window: Window::between(10.0, 20.0),
        open: vec![Window::between(5.0, 10.0)],
        refusals: Vec::new(),
        arrived: 0,
        strayed: Vec::new(),
        doors: Vec::new(),
        leaked: false,
        trouble: None,
    };
    seen(&mut outcome);
    Row::new(&vector, outcome)
}

const LISTED: &str = "12.0 pod0 In  IP 10.231.7.2.40000 > 10.231.9.12.7000: UDP, length 3";
const ANSWER: &str = "12.1 pod0 Out IP 10.231.9.12.7000 > 10.231.7.2.40000: UDP, length 3";
const OTHER: &str = "12.0 pod0 In  IP 10.231.7.2.40000 > 10.231.9.12.70001: UDP, length 3";

#[test]
fn what_may_leave_is_what_is_stated_and_no_other_packet() {
    let judged = |packets: &[Strayed]| {
        let mut row = row(Group::Exempt, "udp", |_| {});
        row.attribute(packets, &[]);
        row.differences
    };
    let own = |text| packet(Origin::Sandbox, 12.0, text);
    assert!(judged(&[own(LISTED), own(ANSWER)]).is_empty());
    assert!(judged(&[own(LISTED), own(OTHER)])[0].starts_with("a packet leaves"));
    assert_eq!(judged(&[]), ["nothing leaves"]);
}

#[test]
fn a_packet_is_explained_by_a_vector_of_the_same_place_alone() {
    let late = row(Group::Around, "old-stream", |_| {});
    let from = |origin, at| packet(origin, at, OTHER);
    assert!(late.has_sent(&from(Origin::Late, 12.0)));
    assert!(late.is_before(&from(Origin::Late, 7.0)));
    for origin in [Origin::Sandbox, Origin::Armed, Origin::Excepted] {
        let packet = from(origin, 12.0);
        assert!(!late.has_sent(&packet) && !late.is_before(&packet));
    }
}

#[test]
fn only_a_vector_that_says_so_may_lack_something_and_it_must_not_give_a_secret_away() {
    let without = |seen: &mut Seen| {
        "refused EPROTONOSUPPORT".clone_into(&mut seen.said);
        seen.control = Some((seen.said.clone(), Window::between(1.0, 2.0)));
    };
    let sctp = row(Group::Families, "sctp", without);
    assert_eq!(sctp.verdict(), "lacking");
    assert_eq!(row(Group::Streams, "connect", without).verdict(), "DIFFERS");
    let leaky = row(Group::Families, "sctp", |seen| {
        without(seen);
        seen.arrived = 1;
    });
    assert_eq!(leaky.verdict(), "DIFFERS");
}

#[test]
fn an_event_has_to_say_what_is_expected_of_it() {
    let judged = |detail: &str| {
        let event = json!({
            "sandbox": "hostile", "pid": 1, "comm": "python3", "name": "private.example",
            "reason": "upstream_unreachable", "detail": detail,
        });
        let row = row(Group::Names, "private", |seen| {
            seen.refusals = vec![Refusal::read(&event)];
        });
        row.verdict()
    };
    assert_eq!(judged("10.231.9.1 is not a public address"), "as expected");
    assert_eq!(judged("10.231.9.1 does not answer"), "DIFFERS");
}

//! What was refused, to whom and why.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    ProcessFacts,
    rings::Rings,
    view::{EventView, rfc3339},
};
use crate::address::SandboxId;

/// Events that are remembered of each sandbox.
pub(super) const EVENTS: usize = 1024;
/// The same refusal within this time is one event with a count.
pub(super) const FOLD: Duration = Duration::from_secs(1);
/// As many of the newest events are looked through for the same refusal.
const LOOK_BACK: usize = 32;
/// Longest detail or name that is kept, in bytes.
const TEXT: usize = 512;
/// Events in one answer.
const ANSWER: usize = 8192;

/// A refusal: of a connection, by the kernel, or of a name.
#[derive(Clone, Debug)]
pub(crate) struct Denial {
    /// `None`: the socket has no owner.
    pub(crate) sandbox: Option<SandboxId>,
    pub(crate) sandbox_name: Option<Arc<str>>,
    pub(crate) process: ProcessFacts,
    pub(crate) destination: Option<SocketAddr>,
    /// The SNI, or the name that was asked for.
    pub(crate) name: Option<String>,
    /// The connection's number, if it came that far.
    pub(crate) connection: Option<u64>,
    /// One of a fixed set, by which denials are counted.
    pub(crate) reason: &'static str,
    /// For an operator.
    pub(crate) detail: String,
}

/// Which events are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Of sandboxes with this name only.
    pub(crate) sandbox: Option<String>,
    /// Behind the event with this number, the oldest first, and only such as change no more.
    pub(crate) after: Option<u64>,
    /// The same for daemons by their processes: each counts for itself, and one that drains goes on to.
    pub(crate) seen: BTreeMap<u32, u64>,
}

impl Selection {
    /// Behind which event of a daemon.
    pub(crate) fn after_of(&self, daemon: u32) -> Option<u64> {
        self.seen.get(&daemon).copied().or(self.after)
    }

    /// Events of several daemons as they came; of too many the newest, unless somebody goes on behind the last of each.
    pub(crate) fn order(&self, mut events: Vec<EventView>) -> Vec<EventView> {
        events.sort_by(|one, other| (&one.at, one.id).cmp(&(&other.at, other.id)));
        if self.after.is_none() && self.seen.is_empty() {
            return events.split_off(events.len().saturating_sub(ANSWER));
        }
        events
    }
}

/// A refusal with its time, and how often it came.
#[derive(Debug)]
pub(super) struct Event {
    id: u64,
    at: SystemTime,
    begun: Instant,
    count: AtomicU64,
    pub(super) denial: Denial,
}

/// All that are remembered.
#[derive(Debug)]
pub(super) struct Events {
    /// From the time of the start on, in microseconds: numbers of daemons that follow each other do so too.
    last_id: u64,
    rings: Rings<Arc<Event>>,
}

impl Events {
    pub(super) fn new() -> Self {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self {
            last_id: u64::try_from(since.as_micros()).unwrap_or(0),
            rings: Rings::new(EVENTS),
        }
    }

    pub(super) fn enroll(&mut self, id: SandboxId) {
        self.rings.enroll(id);
    }

    pub(super) fn forget(&mut self, id: SandboxId) {
        self.rings.forget(id);
    }

    /// `None`: it is one more of an event that is there.
    pub(super) fn record(&mut self, mut denial: Denial, now: Instant) -> Option<Arc<Event>> {
        bound(&mut denial.detail);
        if let Some(name) = &mut denial.name {
            bound(name);
        }
        if let Some(same) = self.open(&denial, now) {
            same.count.fetch_add(1, Relaxed);
            return None;
        }
        self.last_id += 1;
        let event = Arc::new(Event {
            id: self.last_id,
            at: SystemTime::now(),
            begun: now,
            count: AtomicU64::new(1),
            denial,
        });
        self.rings.push(event.denial.sandbox, Arc::clone(&event));
        Some(event)
    }

    /// The event that `denial` is one more of.
    fn open(&self, denial: &Denial, now: Instant) -> Option<&Event> {
        let recent = self.rings.newest(denial.sandbox).take(LOOK_BACK);
        recent
            .take_while(|event| event.is_open(now))
            .find(|event| event.is_same(denial))
            .map(Arc::as_ref)
    }

    /// In no order.
    pub(super) fn all(&self) -> Vec<Arc<Event>> {
        self.rings.iter().cloned().collect()
    }
}

/// Those of `events` that are asked for, by their numbers; of too many the newest, or behind one the oldest.
pub(super) fn select(
    mut events: Vec<Arc<Event>>,
    selection: &Selection,
    now: Instant,
) -> Vec<Arc<Event>> {
    let after = selection.after_of(std::process::id());
    events.retain(|event| {
        let name = event.denial.sandbox_name.as_deref();
        let wanted = selection.sandbox.as_deref();
        wanted.is_none_or(|wanted| name == Some(wanted))
            && after.is_none_or(|after| event.id > after)
    });
    events.sort_unstable_by_key(|event| event.id);
    if after.is_none() {
        return events.split_off(events.len().saturating_sub(ANSWER));
    }
    // Whoever goes on behind the last of them must have missed none.
    let settled = events.iter().take_while(|event| !event.is_open(now));
    let settled = settled.count().min(ANSWER);
    events.truncate(settled);
    events
}

impl Event {
    /// More of the same are counted here.
    fn is_open(&self, now: Instant) -> bool {
        now.duration_since(self.begun) < FOLD
    }

    pub(super) fn settles(&self) -> Instant {
        self.begun + FOLD
    }

    /// Of another connection perhaps.
    fn is_same(&self, denial: &Denial) -> bool {
        let Denial {
            sandbox,
            sandbox_name: _,
            process,
            destination,
            name,
            connection: _,
            reason,
            detail,
        } = &self.denial;
        *sandbox == denial.sandbox
            && *reason == denial.reason
            && *destination == denial.destination
            && *process == denial.process
            && *name == denial.name
            && *detail == denial.detail
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn view(&self) -> EventView {
        let denial = &self.denial;
        EventView {
            daemon: std::process::id(),
            id: self.id,
            at: rfc3339(self.at),
            count: self.count.load(Relaxed),
            sandbox_id: denial.sandbox.map(|id| id.0),
            sandbox: denial.sandbox_name.as_deref().map(str::to_owned),
            pid: denial.process.pid,
            uid: denial.process.uid,
            comm: denial.process.comm.to_string(),
            destination: denial.destination,
            name: denial.name.clone(),
            connection: denial.connection,
            reason: denial.reason.to_owned(),
            detail: denial.detail.clone(),
        }
    }
}

fn bound(text: &mut String) {
    if text.len() > TEXT {
        text.truncate(text.floor_char_boundary(TEXT));
        text.push('…');
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::stats) fn denial(sandbox: u32, detail: &str) -> Denial {
        Denial {
            sandbox: Some(SandboxId(sandbox)),
            sandbox_name: Some(format!("sandbox-{sandbox}").into()),
            process: ProcessFacts {
                pid: 4242,
                uid: 1000,
                comm: "node".into(),
            },
            destination: Some("192.0.2.1:443".parse().unwrap()),
            name: None,
            connection: None,
            reason: "policy",
            detail: detail.into(),
        }
    }

    fn new() -> Events {
        Events {
            last_id: 0,
            ..Events::new()
        }
    }

    fn ids(events: &[Arc<Event>]) -> Vec<u64> {
        events.iter().map(|event| event.id).collect()
    }

    #[test]
    fn numbers_go_on_in_the_next_daemon() {
        let (mut first, now) = (Events::new(), Instant::now());
        for number in 0..100 {
            first.record(denial(1, &number.to_string()), now);
        }
        std::thread::sleep(Duration::from_millis(1));
        let mut next = Events::new();
        let event = next.record(denial(1, "no rule"), now).unwrap();
        assert!(event.id > first.last_id);
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let mut text = "ä".repeat(TEXT);
        text.insert(0, 'a');
        bound(&mut text);
        assert_eq!(text.chars().last(), Some('…'));
        assert!(text.len() <= TEXT + '…'.len_utf8(), "{}", text.len());
        let mut short = "no rule".to_owned();
        bound(&mut short);
        assert_eq!(short, "no rule");
    }

    #[test]
    fn the_same_refusal_within_a_second_is_one_event_with_a_count() {
        let (mut events, start) = (new(), Instant::now());
        let long = "x".repeat(2 * TEXT);
        let event = events.record(denial(1, &long), start).unwrap();
        for connection in 0..9 {
            let again = Denial {
                connection: Some(connection),
                ..denial(1, &long)
            };
            assert!(events.record(again, start + FOLD / 2).is_none());
        }
        assert_eq!(event.view().count, 10);
        // A second is a second, however often it came.
        assert!(events.record(denial(1, &long), start + FOLD).is_some());
        assert_eq!(event.view().count, 10);
    }

    #[test]
    fn another_sandbox_process_destination_or_reason_is_another_event() {
        let (mut events, now) = (new(), Instant::now());
        let first = denial(1, "no rule");
        let mut process = first.clone();
        process.process.pid += 1;
        let mut others = vec![first.clone(), denial(2, "no rule"), process];
        others.push(Denial {
            destination: None,
            ..first.clone()
        });
        others.push(Denial {
            reason: "dns",
            ..first
        });
        for other in others {
            assert!(events.record(other.clone(), now).is_some(), "{other:?}");
        }
    }

    #[test]
    fn a_follower_sees_each_event_once_and_with_its_whole_count() {
        let (mut events, start) = (new(), Instant::now());
        events.record(denial(1, "a"), start);
        events.record(denial(2, "b"), start + FOLD / 2);
        events.record(denial(1, "c"), start + FOLD);
        let seen = |after, now| {
            let selection = Selection {
                after: Some(after),
                ..Selection::default()
            };
            ids(&select(events.all(), &selection, now))
        };
        assert_eq!(seen(0, start), [0; 0]);
        assert_eq!(seen(0, start + FOLD), [1]);
        assert_eq!(seen(1, start + FOLD * 3 / 2), [2]);
        assert_eq!(seen(1, start + FOLD * 2), [2, 3]);
        assert_eq!(
            ids(&select(events.all(), &Selection::default(), start)),
            [1, 2, 3]
        );
    }

    #[test]
    fn a_follower_goes_on_with_each_daemon_where_it_was() {
        let (mut events, start) = (new(), Instant::now());
        for number in 0..3 {
            events.record(denial(1, &number.to_string()), start);
        }
        let seen = |daemon, after| {
            let selection = Selection {
                seen: [(daemon, 2)].into(),
                after,
                ..Selection::default()
            };
            ids(&select(events.all(), &selection, start + FOLD))
        };
        let own = std::process::id();
        assert_eq!(seen(own, Some(0)), [3]);
        assert_eq!(seen(own, None), [3]);
        assert_eq!(seen(own + 1, Some(0)), [1, 2, 3]);
    }

    #[test]
    fn events_of_several_daemons_are_shown_as_they_came() {
        let (mut events, now) = (new(), Instant::now());
        let mut view = |daemon, at: &str| EventView {
            daemon,
            at: at.into(),
            ..events.record(denial(daemon, at), now).unwrap().view()
        };
        let all = vec![
            view(1, "2026-01-31T23:59:02.000Z"),
            view(1, "2026-01-31T23:59:03.000Z"),
            view(2, "2026-01-31T23:59:01.000Z"),
            view(2, "2026-01-31T23:59:03.000Z"),
        ];
        let shown = Selection::default().order(all);
        let shown: Vec<_> = shown.iter().map(|event| (event.daemon, event.id)).collect();
        assert_eq!(shown, [(2, 3), (1, 1), (1, 2), (2, 4)]);
        let many: Vec<_> = (0..ANSWER + 5)
            .map(|second| view(1, &format!("{second:05}")))
            .collect();
        assert_eq!(Selection::default().order(many.clone())[0].at, "00005");
        let following = Selection {
            after: Some(0),
            ..Selection::default()
        };
        assert_eq!(following.order(many.clone()), many);
    }

    #[test]
    fn events_are_selected_by_the_name_of_their_sandbox() {
        let (mut events, now) = (new(), Instant::now());
        for sandbox in [1, 2, 1] {
            let detail = format!("{}", events.last_id);
            events.record(denial(sandbox, &detail), now);
        }
        let selection = Selection {
            sandbox: Some("sandbox-1".into()),
            ..Selection::default()
        };
        assert_eq!(ids(&select(events.all(), &selection, now)), [1, 3]);
    }

    #[test]
    fn answers_are_bounded() {
        let (mut events, start) = (new(), Instant::now());
        for sandbox in 0..20_u32 {
            events.enroll(SandboxId(sandbox));
            for number in 0..EVENTS {
                events.record(denial(sandbox, &number.to_string()), start);
            }
        }
        let newest = ids(&select(events.all(), &Selection::default(), start));
        assert_eq!((newest.len(), newest.last()), (ANSWER, Some(&20_480)));
        let selection = Selection {
            after: Some(0),
            ..Selection::default()
        };
        let oldest = ids(&select(events.all(), &selection, start + FOLD));
        assert_eq!((oldest.len(), oldest.last()), (ANSWER, Some(&8192)));
    }
}

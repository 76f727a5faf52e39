//! What happened: per-connection records, totals, and an event for everything that was refused.
//!
//! Recording never blocks the data path: a connection's counters are atomics, and the lock that guards the lists is
//! held for a few instructions only. Readers take references out under it and do their work outside.

pub(crate) mod connection;
mod events;
mod journal;
mod record;
mod rings;
mod throttle;
mod totals;
pub(crate) mod view;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwapOption;

pub(crate) use self::{
    events::{Denial, Selection},
    record::Live,
};
use self::{
    events::{Event, Events},
    journal::Journal,
    record::Record,
    rings::Rings,
    throttle::{Admission, Throttle},
    totals::{SandboxTotals, Totals},
    view::{ConnectionView, EventView, SandboxTotalsView, TotalsView},
};
use crate::address::{OriginalDst, SandboxId};

/// Ended connections that are remembered of each sandbox.
const ENDED: usize = 1024;
/// Ended connections in one answer.
const ANSWER: usize = 8192;

/// Everything that is recorded. One per daemon.
#[derive(Debug)]
pub(crate) struct Stats {
    started: SystemTime,
    state: Mutex<State>,
    journal: ArcSwapOption<Journal>,
    lines_lost: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    last_id: u64,
    /// As many as there are connections: whoever accepts them sets the bound.
    live: BTreeMap<u64, Arc<Record>>,
    ended: Rings<Arc<Record>>,
    events: Events,
    /// Of lines in the log.
    throttle: Throttle,
    /// Of what has ended; what lives is added when somebody asks.
    overall: Totals,
    sandboxes: BTreeMap<SandboxId, SandboxTotals>,
}

/// A process in a sandbox, as the kernel saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessFacts {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    /// Of the process's own choosing: to be escaped before a terminal sees it.
    pub(crate) comm: Box<str>,
}

/// What is known of a connection when it is accepted.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) sandbox: SandboxId,
    pub(crate) sandbox_name: Arc<str>,
    pub(crate) process: ProcessFacts,
    pub(crate) original: OriginalDst,
    /// When the client called connect().
    pub(crate) connected_at: SystemTime,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            state: Mutex::new(State {
                last_id: 0,
                live: BTreeMap::new(),
                ended: Rings::new(ENDED),
                events: Events::new(),
                throttle: Throttle::default(),
                overall: Totals::default(),
                sandboxes: BTreeMap::new(),
            }),
            journal: ArcSwapOption::empty(),
            lines_lost: Arc::default(),
        }
    }
}

impl Stats {
    /// Gives a sandbox totals of its own. Connections of others count overall only.
    pub(crate) fn enroll(&self, id: SandboxId, name: &str) {
        let mut state = self.lock();
        state.ended.enroll(id);
        state.events.enroll(id);
        state
            .sandboxes
            .entry(id)
            .or_insert_with(|| SandboxTotals::new(name));
    }

    /// Drops a sandbox's own totals; the overall ones keep what it added. Its events are remembered for a while.
    pub(crate) fn forget(&self, id: SandboxId) {
        let mut state = self.lock();
        state.ended.forget(id);
        state.events.forget(id);
        state.sandboxes.remove(&id);
    }

    /// Writes events to a file from now on, as lines of JSON, or to none. Waits until the one before is written.
    ///
    /// # Errors
    /// The file cannot be opened or made: everything stays as it was.
    pub(crate) fn journal(&self, path: Option<&Path>) -> io::Result<()> {
        let running = self.journal.load();
        if running.as_ref().map(|journal| journal.path()) == path {
            return Ok(());
        }
        drop(running);
        let journal = path
            .map(|path| Journal::open(path, Arc::clone(&self.lines_lost)))
            .transpose()?;
        if let Some(old) = self.journal.swap(journal.map(Arc::new)) {
            old.close();
        }
        Ok(())
    }

    /// Records a connection as live until the answer is dropped.
    pub(crate) fn open(self: &Arc<Self>, opening: Opening) -> Live {
        let mut state = self.lock();
        state.last_id += 1;
        let record = Arc::new(Record::new(state.last_id, opening));
        state.count(record.opening.sandbox, |totals| totals.opened += 1);
        state.live.insert(record.id, Arc::clone(&record));
        drop(state);
        Live::new(Arc::clone(self), record)
    }

    /// Makes a refusal an event, and a line in the log.
    pub(crate) fn deny(&self, denial: Denial) {
        let now = Instant::now();
        let mut state = self.lock();
        let sandbox = denial.sandbox;
        match sandbox {
            Some(id) => state.count(id, |totals| totals.deny(denial.reason)),
            None => state.overall.deny(denial.reason),
        }
        let Some(event) = state.events.record(denial, now) else {
            return;
        };
        let admission = state.throttle.admit(sandbox, now);
        drop(state);
        if let Admission::Report { withheld } = admission {
            log(&event, withheld);
        }
        if let Some(journal) = &*self.journal.load() {
            journal.write(event);
        }
    }

    /// Counts a denial that is one too many to be an event.
    pub(crate) fn count_denial(&self, sandbox: SandboxId, reason: &'static str) {
        self.lock().count(sandbox, |totals| totals.deny(reason));
    }

    /// Counts one DNS question: answered with addresses, or refused as a name that policy does not know.
    pub(crate) fn count_dns(&self, sandbox: SandboxId, answered: bool) {
        self.lock().count(sandbox, |totals| {
            if answered {
                totals.dns_answered += 1;
            } else {
                totals.dns_refused += 1;
            }
        });
    }

    /// The highest number that a connection was given.
    pub(crate) fn last_connection(&self) -> u64 {
        self.lock().last_id
    }

    /// Numbers connections above those of an earlier daemon, which may still carry some.
    pub(crate) fn number_after(&self, last: u64) {
        let mut state = self.lock();
        state.last_id = state.last_id.max(last);
    }

    /// Live connections of all sandboxes.
    pub(crate) fn all_live(&self) -> u64 {
        self.lock().live.len() as u64
    }

    /// Live connections of one sandbox.
    pub(crate) fn live(&self, sandbox: SandboxId) -> u64 {
        let state = self.lock();
        let live = state.live.values();
        live.filter(|record| record.opening.sandbox == sandbox)
            .count() as u64
    }

    /// Live connections, oldest first; with `ended` also the last that ended, before them.
    pub(crate) fn connections(&self, ended: bool) -> Vec<ConnectionView> {
        let state = self.lock();
        let mut records: Vec<_> = if ended {
            state.ended.iter().cloned().collect()
        } else {
            Vec::new()
        };
        let live: Vec<_> = state.live.values().cloned().collect();
        drop(state);
        records.sort_by_key(|record| record.ended_at());
        let mut records = records.split_off(records.len().saturating_sub(ANSWER));
        records.extend(live);
        records.iter().map(|record| record.view()).collect()
    }

    /// Those that are asked for, by their numbers; 8,192 at most.
    pub(crate) fn events(&self, selection: &Selection) -> Vec<EventView> {
        let now = Instant::now();
        let events = self.lock().events.all();
        let events = events::select(events, selection, now);
        events.iter().map(|event| event.view()).collect()
    }

    /// What else is counted, by name. `event_lines_lost`: events that could not be written to their file.
    pub(crate) fn counters(&self) -> [(&'static str, u64); 1] {
        [("event_lines_lost", self.lines_lost.load(Relaxed))]
    }

    /// Totals over all sandboxes there ever were, and of each that is enrolled.
    pub(crate) fn totals(&self) -> (TotalsView, Vec<SandboxTotalsView>) {
        let state = self.lock();
        let live: Vec<_> = state.live.values().cloned().collect();
        let mut overall = state.overall.clone();
        let mut sandboxes = state.sandboxes.clone();
        drop(state);
        for record in live {
            overall.live += 1;
            overall.add(&record.connection);
            if let Some(sandbox) = sandboxes.get_mut(&record.opening.sandbox) {
                sandbox.totals.live += 1;
                sandbox.totals.add(&record.connection);
            }
        }
        let sandboxes = sandboxes
            .into_iter()
            .map(|(id, sandbox)| sandbox.view(id))
            .collect();
        (overall.view(), sandboxes)
    }

    /// When the daemon started to count.
    pub(crate) fn started(&self) -> SystemTime {
        self.started
    }

    fn close(&self, record: &Arc<Record>) {
        record.end();
        let mut state = self.lock();
        state.live.remove(&record.id);
        state.count(record.opening.sandbox, |totals| {
            totals.add(&record.connection);
        });
        let sandbox = Some(record.opening.sandbox);
        state.ended.push(sandbox, Arc::clone(record));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, sandbox: SandboxId, count: impl Fn(&mut Totals)) {
        count(&mut self.overall);
        if let Some(sandbox) = self.sandboxes.get_mut(&sandbox) {
            count(&mut sandbox.totals);
        }
    }
}

fn log(event: &Event, withheld: u64) {
    let Denial {
        sandbox,
        sandbox_name,
        process,
        destination,
        name,
        connection,
        reason,
        detail,
    } = &event.denial;
    // Since the last line of the sandbox, because they came too fast: `interceptor events` has them.
    let withheld = (withheld > 0).then_some(withheld);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                event = event.id(),
                connection,
                sandbox = sandbox_name.as_deref().unwrap_or("-"),
                sandbox_id = sandbox.map(|id| id.0),
                pid = process.pid,
                uid = process.uid,
                comm = ?process.comm,
                destination = destination.map(tracing::field::display),
                name,
                reason,
                detail,
                withheld,
                "{}",
                if connection.is_some() { "connection denied" } else { "denied" }
            )
        };
    }
    // Search lists and probes ask for names that do not exist all the time.
    if *reason == "dns" {
        line!(info);
    } else {
        line!(warn);
    }
}

#[cfg(test)]
mod tests {
    use super::{connection::Direction, events::EVENTS, *};

    const MICKY: SandboxId = SandboxId(7);

    fn opening(sandbox: SandboxId) -> Opening {
        Opening {
            sandbox,
            sandbox_name: "micky".into(),
            process: ProcessFacts {
                pid: 4242,
                uid: 1000,
                comm: "node".into(),
            },
            original: OriginalDst("192.0.2.1:443".parse().unwrap()),
            connected_at: SystemTime::UNIX_EPOCH,
        }
    }

    fn stats() -> Arc<Stats> {
        let stats = Arc::new(Stats::default());
        stats.enroll(MICKY, "micky");
        stats
    }

    #[test]
    fn a_dropped_connection_moves_to_the_ended_ones_with_its_counters() {
        let stats = stats();
        let live = stats.open(opening(MICKY));
        live.connection().count_bytes(Direction::ClientToServer, 10);
        live.connection().count_message(Direction::ServerToClient);
        live.connection()
            .count_rewrite(&"DISCORD_BOT_TOKEN".parse().unwrap());
        live.connection()
            .note(|facts| facts.end = Some("client closed".into()));
        assert!(stats.connections(false)[0].live);
        assert_eq!(stats.live(MICKY), 1);

        drop(live);
        assert!(stats.connections(false).is_empty());
        assert_eq!(stats.live(MICKY), 0);
        let ended = &stats.connections(true)[0];
        assert!(!ended.live);
        assert_eq!((ended.id, ended.sent.bytes), (1, 10));
        assert_eq!(ended.received.messages, 1);
        assert_eq!(ended.rewrites["DISCORD_BOT_TOKEN"], 1);
        assert_eq!(ended.end.as_deref(), Some("client closed"));
    }

    #[test]
    fn totals_count_live_and_ended_connections_once() {
        let stats = stats();
        let first = stats.open(opening(MICKY));
        first.connection().count_bytes(Direction::ClientToServer, 1);
        let second = stats.open(opening(MICKY));
        second
            .connection()
            .count_bytes(Direction::ClientToServer, 2);
        let (overall, sandboxes) = stats.totals();
        assert_eq!((overall.opened, overall.live), (2, 2));
        assert_eq!(overall.sent.bytes, 3);
        assert_eq!(sandboxes[0].totals, overall);
        drop(first);
        let (overall, _) = stats.totals();
        assert_eq!((overall.sent.bytes, overall.live), (3, 1));
        drop(second);
        let (overall, _) = stats.totals();
        assert_eq!((overall.sent.bytes, overall.live), (3, 0));
    }

    #[test]
    fn ended_connections_and_events_are_bounded() {
        let stats = stats();
        for _ in 0..ENDED + 5 {
            drop(stats.open(opening(MICKY)));
        }
        let ended = stats.connections(true);
        assert_eq!(ended.len(), ENDED);
        assert_eq!(ended[0].id, 6);

        let live = stats.open(opening(MICKY));
        for port in 0..EVENTS + 5 {
            live.deny("policy", &format!("no rule for example.com:{port}"));
        }
        assert_eq!(stats.events(&Selection::default()).len(), EVENTS);
        assert_eq!(stats.totals().0.denied["policy"], EVENTS as u64 + 5);
    }

    #[test]
    fn what_a_sandbox_was_refused_is_known_when_it_is_gone() {
        let stats = stats();
        let live = stats.open(opening(MICKY));
        live.deny("policy", "no rule for example.com:443");
        drop(live);
        stats.forget(MICKY);
        let selection = Selection {
            sandbox: Some("micky".into()),
            ..Selection::default()
        };
        assert_eq!(stats.events(&selection).len(), 1);
        assert_eq!(stats.connections(true).len(), 1);
    }

    #[test]
    fn a_denied_connection_says_so_in_its_record_and_among_the_denials() {
        let stats = stats();
        let live = stats.open(opening(MICKY));
        live.connection()
            .note(|facts| facts.sni = Some("example.com".parse().unwrap()));
        live.deny("policy", "no rule for example.com:443");
        drop(live);
        let connection = &stats.connections(true)[0];
        assert_eq!(connection.verdict.as_deref(), Some("deny"));
        assert_eq!(
            connection.end.as_deref(),
            Some("denied: no rule for example.com:443")
        );
        let denial = &stats.events(&Selection::default())[0];
        assert_eq!(denial.connection, Some(1));
        assert_eq!(denial.name.as_deref(), Some("example.com"));
        assert_eq!(denial.pid, 4242);
    }

    #[test]
    fn a_forgotten_sandbox_leaves_its_counts_in_the_overall_totals() {
        let stats = stats();
        let live = stats.open(opening(MICKY));
        stats.count_dns(MICKY, true);
        stats.count_dns(MICKY, false);
        stats.forget(MICKY);
        drop(live);
        let (overall, sandboxes) = stats.totals();
        assert_eq!(
            (overall.opened, overall.dns_answered, overall.dns_refused),
            (1, 1, 1)
        );
        assert!(sandboxes.is_empty());
    }

    #[test]
    fn sandboxes_are_counted_apart() {
        let stats = stats();
        let other = SandboxId(8);
        stats.enroll(other, "minnie");
        let _live = stats.open(opening(MICKY));
        stats.count_dns(other, true);
        let (_, sandboxes) = stats.totals();
        let opened: Vec<_> = sandboxes
            .iter()
            .map(|s| (s.sandbox.as_str(), s.totals.opened, s.totals.dns_answered))
            .collect();
        assert_eq!(opened, [("micky", 1, 0), ("minnie", 0, 1)]);
    }
}

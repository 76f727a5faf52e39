//! A connection's place in the lists.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Denial, Opening, Stats,
    connection::{Connection, Direction},
    view::{ConnectionView, DirectionView, rfc3339},
};

/// One connection, from accept until it falls out of the ring.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: u64,
    pub(super) opening: Opening,
    pub(super) connection: Arc<Connection>,
    accepted: Instant,
    /// Set at the end.
    duration: OnceLock<Duration>,
}

impl Record {
    pub(super) fn new(id: u64, opening: Opening) -> Self {
        Self {
            id,
            opening,
            connection: Arc::default(),
            accepted: Instant::now(),
            duration: OnceLock::new(),
        }
    }

    pub(super) fn end(&self) {
        self.duration.get_or_init(|| self.accepted.elapsed());
    }

    /// `None` while it lives.
    pub(super) fn ended_at(&self) -> Option<Instant> {
        self.duration
            .get()
            .map(|duration| self.accepted + *duration)
    }

    pub(super) fn view(&self) -> ConnectionView {
        let facts = self.connection.facts();
        let direction = |direction| DirectionView {
            bytes: self.connection.bytes(direction),
            messages: self.connection.messages(direction),
        };
        let duration = self.duration.get().copied();
        ConnectionView {
            draining: None,
            id: self.id,
            sandbox_id: self.opening.sandbox.0,
            sandbox: self.opening.sandbox_name.to_string(),
            pid: self.opening.process.pid,
            uid: self.opening.process.uid,
            comm: self.opening.process.comm.to_string(),
            destination: self.opening.original.0,
            sni: facts.sni.map(|host| host.to_string()),
            verdict: facts.verdict.map(str::to_owned),
            rule: facts.rule,
            protocol: facts.protocol.map(str::to_owned),
            sent: direction(Direction::ClientToServer),
            received: direction(Direction::ServerToClient),
            rewrites: facts
                .rewrites
                .into_iter()
                .map(|(name, count)| (name.to_string(), count))
                .collect(),
            placeholders_passed: self.connection.placeholders_passed(),
            redactions: self.connection.redactions(),
            remarks: facts.remarks.iter().map(ToString::to_string).collect(),
            opaque_messages: self.connection.opaque_messages(),
            upstream_reused: facts.reused,
            dial_us: facts.dial.map(micros),
            upstream_handshake_us: facts.upstream_handshake.map(micros),
            client_handshake_us: facts.client_handshake.map(micros),
            start: rfc3339(self.opening.connected_at),
            duration_ms: millis(duration.unwrap_or_else(|| self.accepted.elapsed())),
            live: duration.is_none(),
            end: facts.end,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A live connection. Dropping it moves the record to the ended ones and adds its counters to the totals.
#[derive(Debug)]
pub(crate) struct Live {
    stats: Arc<Stats>,
    record: Arc<Record>,
}

impl Live {
    pub(super) fn new(stats: Arc<Stats>, record: Arc<Record>) -> Self {
        Self { stats, record }
    }

    /// What the rooms below `flow` fill.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.record.connection
    }

    /// The connection ends as a denial. `reason` is one of a fixed set, by which denials are counted; `detail` is for
    /// an operator: `no rule for example.com:443`.
    pub(crate) fn deny(&self, reason: &'static str, detail: &str) {
        let connection = &self.record.connection;
        connection.note(|facts| {
            facts.verdict = Some("deny");
            facts.end = Some(format!("denied: {detail}"));
        });
        self.deny_request(reason, detail);
    }

    /// One request of several was denied: the connection goes on.
    pub(crate) fn deny_request(&self, reason: &'static str, detail: &str) {
        let connection = &self.record.connection;
        let opening = &self.record.opening;
        self.stats.deny(Denial {
            sandbox: Some(opening.sandbox),
            sandbox_name: Some(Arc::clone(&opening.sandbox_name)),
            process: opening.process.clone(),
            destination: Some(opening.original.0),
            name: connection.facts().sni.map(|host| host.to_string()),
            connection: Some(self.record.id),
            reason,
            detail: detail.to_owned(),
        });
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stats.close(&self.record);
    }
}

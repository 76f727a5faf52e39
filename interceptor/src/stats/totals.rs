//! Counters over many connections.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    connection::{Connection, Direction},
    view::{DirectionView, SandboxTotalsView, TotalsView},
};
use crate::{address::SandboxId, secrets::SecretName};

#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) opened: u64,
    pub(super) live: u64,
    pub(super) dns_answered: u64,
    pub(super) dns_refused: u64,
    /// By reason. The reasons are a fixed set, so the map is bounded.
    denied: BTreeMap<&'static str, u64>,
    sent: DirectionView,
    received: DirectionView,
    /// By secret. Bounded by the names that the configuration ever had.
    rewrites: BTreeMap<SecretName, u64>,
    placeholders_passed: u64,
    redactions: u64,
    opaque_messages: u64,
    upstreams_reused: u64,
}

impl Totals {
    pub(super) fn deny(&mut self, reason: &'static str) {
        *self.denied.entry(reason).or_default() += 1;
    }

    /// Adds what a connection has counted.
    pub(super) fn add(&mut self, connection: &Connection) {
        for (total, direction) in [
            (&mut self.sent, Direction::ClientToServer),
            (&mut self.received, Direction::ServerToClient),
        ] {
            total.bytes += connection.bytes(direction);
            total.messages += connection.messages(direction);
        }
        self.placeholders_passed += connection.placeholders_passed();
        self.redactions += connection.redactions();
        self.opaque_messages += connection.opaque_messages();
        let facts = connection.facts();
        self.upstreams_reused += u64::from(facts.reused);
        for (name, count) in facts.rewrites {
            *self.rewrites.entry(name).or_default() += count;
        }
    }

    pub(super) fn view(self) -> TotalsView {
        TotalsView {
            opened: self.opened,
            live: self.live,
            denied: self
                .denied
                .into_iter()
                .map(|(reason, count)| (reason.to_owned(), count))
                .collect(),
            dns_answered: self.dns_answered,
            dns_refused: self.dns_refused,
            sent: self.sent,
            received: self.received,
            rewrites: self
                .rewrites
                .into_iter()
                .map(|(name, count)| (name.to_string(), count))
                .collect(),
            placeholders_passed: self.placeholders_passed,
            redactions: self.redactions,
            opaque_messages: self.opaque_messages,
            upstreams_reused: self.upstreams_reused,
        }
    }
}

/// Totals of one sandbox.
#[derive(Clone, Debug)]
pub(super) struct SandboxTotals {
    name: Arc<str>,
    pub(super) totals: Totals,
}

impl SandboxTotals {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            totals: Totals::default(),
        }
    }

    pub(super) fn view(self, id: SandboxId) -> SandboxTotalsView {
        SandboxTotalsView {
            sandbox_id: id.0,
            sandbox: self.name.to_string(),
            totals: self.totals.view(),
        }
    }
}

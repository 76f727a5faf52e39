//! A daemon's parts, before it serves anybody.

use std::sync::Arc;

use super::{RunError, Settings, authority};
use crate::{
    config::Snapshot,
    control::metrics::Place,
    flow::{Configuration, Engine},
    stats::Stats,
    tls::{ca::CaError, leaf::Leaves, upstream::Connector},
};

/// They touch nothing that another daemon has.
pub(super) struct Assembly {
    pub(super) engine: Arc<Engine>,
    pub(super) stats: Arc<Stats>,
}

impl Assembly {
    pub(super) fn new(settings: &Settings, snapshot: Snapshot) -> Result<Self, RunError> {
        let authority = Arc::new(authority::find(&snapshot, &settings.data_dir)?);
        let leaves = Leaves::new(authority).map_err(RunError::Leaves)?;
        let connector = Connector::new(snapshot.extra_roots(), snapshot.client_certificates())
            .map_err(RunError::Roots)?;
        let stats = Arc::new(Stats::default());
        stats
            .journal(snapshot.events_file())
            .map_err(RunError::Events)?;
        let configuration = Configuration {
            snapshot,
            connector,
        };
        let engine = Engine::new(configuration, leaves, Arc::clone(&stats));
        let engine = engine.map_err(RunError::System)?;
        Ok(Self {
            engine: Arc::new(engine),
            stats,
        })
    }

    /// Where metrics are to be served, taken already.
    pub(super) fn place_of_metrics(&self) -> Result<Option<Place>, RunError> {
        let address = self.engine.configuration().snapshot.metrics();
        address
            .map(Place::take)
            .transpose()
            .map_err(RunError::Metrics)
    }

    /// Puts the certificates where sandboxes find them.
    pub(super) fn publish(&self, settings: &Settings) -> Result<(), CaError> {
        let leaves = self.engine.leaves();
        leaves.authority().write_public(&settings.run_dir)
    }
}

//! A daemon's parts, before it serves anybody.

use std::{path::Path, sync::Arc};

use super::{RunError, Settings};
use crate::{
    config::Snapshot,
    flow::{Configuration, Engine},
    stats::Stats,
    tls::{
        ca::{CaError, CertificateAuthority},
        leaf::Leaves,
        upstream::Connector,
    },
};

/// They touch nothing that another daemon has.
pub(super) struct Assembly {
    authority: Arc<CertificateAuthority>,
    pub(super) engine: Arc<Engine>,
    pub(super) stats: Arc<Stats>,
}

impl Assembly {
    pub(super) fn new(settings: &Settings, snapshot: Snapshot) -> Result<Self, RunError> {
        let authority = Arc::new(authority(&snapshot, &settings.data_dir)?);
        let leaves = Leaves::new(Arc::clone(&authority)).map_err(RunError::Leaves)?;
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
            authority,
            engine: Arc::new(engine),
            stats,
        })
    }

    /// Puts the certificates where sandboxes find them.
    pub(super) fn publish(&self, settings: &Settings) -> Result<(), CaError> {
        self.authority.write_public(&settings.run_dir)
    }
}

fn authority(snapshot: &Snapshot, data_dir: &Path) -> Result<CertificateAuthority, RunError> {
    match snapshot.ca() {
        Some(files) => CertificateAuthority::load(&files.certificate, &files.key),
        None => {
            make_directory(data_dir)?;
            CertificateAuthority::load_or_create(data_dir)
        }
    }
    .map_err(RunError::Authority)
}

fn make_directory(path: &Path) -> Result<(), RunError> {
    std::fs::create_dir_all(path).map_err(|source| RunError::Directory {
        path: path.to_owned(),
        source,
    })
}

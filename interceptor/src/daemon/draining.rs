//! A daemon that another one has taken over from: it finishes the connections that it has.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    Settings,
    admission::admit,
    backend::{counts, info, stats_view},
    reload::read,
};
use crate::{
    address::SandboxId,
    control::{
        Backend, Refusal, RefusalKind,
        api::{
            AttachRequest, CountsView, DetachRequest, Info, Order, ReloadView, SandboxView,
            StatsView,
        },
    },
    flow::Engine,
    kernel::Peer,
    sandbox::sandbox_of,
    stats::{
        Selection, Stats,
        view::{ConnectionView, EventView},
    },
};

/// A file may be half written when it is read a moment after the other daemon has read it.
const ATTEMPTS: u32 = 3;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(500);

/// What is left of it.
pub(super) struct Draining {
    settings: Settings,
    engine: Arc<Engine>,
    stats: Arc<Stats>,
}

impl Draining {
    pub(super) fn new(settings: Settings, engine: Arc<Engine>, stats: Arc<Stats>) -> Self {
        Self {
            settings,
            engine,
            stats,
        }
    }

    /// Connections that cannot be held against what is valid now are not carried on.
    async fn follow(&self, config: &Path) -> Result<(), Refusal> {
        let mut attempt = 1;
        let refusal = loop {
            match read(config, &self.engine).await {
                Ok(configuration) => {
                    self.engine.reconfigure(configuration);
                    return Ok(());
                }
                Err(refusal) if attempt == ATTEMPTS => break refusal,
                Err(_) => {
                    attempt += 1;
                    sleep(BETWEEN_ATTEMPTS).await;
                }
            }
        };
        let live = self.stats.all_live();
        tracing::error!(
            config = %config.display(),
            error = refusal.error,
            live,
            "the configuration that is valid now cannot be read here: connections are closed"
        );
        for fault in &refusal.detail {
            tracing::error!("{fault}");
        }
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move { engine.drain(Duration::ZERO).await });
        Err(Refusal::new(
            RefusalKind::Failed,
            format!(
                "it cannot read the configuration ({}): its {live} connections are closed",
                refusal.detail.first().unwrap_or(&refusal.error)
            ),
        ))
    }
}

impl Backend for Draining {
    async fn admit(&self, peer: Peer) -> Result<(), String> {
        let place = |pid| sandbox_of(&self.settings.bpf_dir, pid);
        admit(&peer, place, (&self.engine, &self.stats), "draining")
    }

    async fn attach(&self, _: AttachRequest) -> Result<SandboxView, Refusal> {
        Err(elsewhere())
    }

    async fn detach(&self, _: DetachRequest) -> Result<SandboxView, Refusal> {
        Err(elsewhere())
    }

    async fn sandboxes(&self) -> Vec<SandboxView> {
        Vec::new()
    }

    async fn connections(&self, ended: bool) -> Vec<ConnectionView> {
        self.stats.connections(ended)
    }

    async fn events(&self, selection: Selection) -> Vec<EventView> {
        self.stats.events(&selection)
    }

    async fn stats(&self) -> StatsView {
        stats_view(&self.stats, self.totals().await, Vec::new())
    }

    /// The programs' counters are the other daemon's to tell.
    async fn totals(&self) -> CountsView {
        counts(&self.stats, [])
    }

    async fn reload(&self) -> Result<ReloadView, Refusal> {
        Err(elsewhere())
    }

    async fn obey(&self, order: Order) -> Result<(), Refusal> {
        match order {
            Order::Follow { config } => self.follow(&config).await,
            Order::Dismiss { sandbox } => {
                self.engine.dismiss(SandboxId(sandbox));
                Ok(())
            }
        }
    }

    async fn info(&self) -> Info {
        info(&self.settings, &self.stats)
    }

    async fn ready(&self) -> Result<(), String> {
        Err("another daemon has taken over".to_owned())
    }
}

fn elsewhere() -> Refusal {
    Refusal::new(
        RefusalKind::Conflict,
        "this daemon only finishes its connections: ask the one that has taken over",
    )
}

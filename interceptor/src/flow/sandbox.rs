//! What the engine knows of one sandbox beyond the configuration.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{address::SandboxId, config::Snapshot, dns::memory::Memory, secrets::SecretName};

/// Made by `enroll`, dropped by `dismiss`.
pub(super) struct Sandbox {
    pub(super) id: SandboxId,
    /// Selects policies and secrets in the configuration.
    pub(super) name: Arc<str>,
    /// Added by `attach --secret`.
    extra: Box<[SecretName]>,
    /// Which names our DNS answered with which addresses.
    pub(super) names: Memory,
    /// Turns true when connections are to end. Each of them holds a receiver.
    stop: watch::Sender<bool>,
}

impl Sandbox {
    pub(super) fn new(id: SandboxId, name: &str, extra: &[SecretName]) -> Self {
        Self {
            id,
            name: name.into(),
            extra: extra.into(),
            names: Memory::default(),
            stop: watch::Sender::new(false),
        }
    }

    /// Its secrets' names in `configuration`, each once.
    pub(super) fn secrets<'a>(&'a self, configuration: &'a Snapshot) -> Vec<&'a SecretName> {
        let rules = configuration.sandbox(&self.name);
        let configured = rules.map_or(&[][..], |rules| &rules.secrets);
        let mut names: Vec<_> = configured.iter().chain(&self.extra).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// To be held by a connection for as long as it lives.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Tells all connections to end.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves when no connection is left.
    pub(super) async fn idle(&self) {
        self.stop.closed().await;
    }
}

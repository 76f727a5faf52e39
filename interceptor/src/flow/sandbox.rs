//! What the engine knows of one sandbox beyond the configuration.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{
    pool::{Generation, Pool},
    upstream::Upstream,
};
use crate::{
    address::SandboxId,
    config::Snapshot,
    dns::{
        Refusal,
        bounds::{self, Lookups, Reports},
        memory::Memory,
    },
    secrets::SecretName,
    tls::upstream::Sessions,
    websocket::takeover,
};

/// Connections of one sandbox at a time. Each takes two descriptors and some 20 KiB, more while it is busy.
pub(super) const CONNECTIONS: usize = 4096;

/// Made by `enroll`, dropped by `dismiss`.
pub(super) struct Sandbox {
    pub(super) id: SandboxId,
    /// Selects policies and secrets in the configuration.
    pub(super) name: Arc<str>,
    /// Added by `attach --secret`.
    extra: Box<[SecretName]>,
    /// Which names our DNS answered with which addresses.
    pub(super) names: Memory,
    /// What was looked up under wildcards for it.
    lookups: Lookups,
    /// Which of its refused questions are told of.
    pub(super) reports: Reports,
    /// Hosts whose clients do not take what a handshake tells them.
    pub(super) takeover: Arc<takeover::Memory>,
    /// Connections to servers that serve no client.
    pub(super) idle: Arc<Pool<Upstream>>,
    /// TLS sessions to resume. No other sandbox's: a server that knows its clients by them would take one for the other.
    pub(super) sessions: Sessions,
    /// Turns true when connections are to end. Each of them holds a receiver.
    stop: watch::Sender<bool>,
    seats: Arc<Semaphore>,
}

impl Sandbox {
    pub(super) fn new(
        id: SandboxId,
        name: &str,
        extra: &[SecretName],
        idle_seats: &Arc<Semaphore>,
    ) -> Self {
        Self {
            id,
            name: name.into(),
            extra: extra.into(),
            names: Memory::default(),
            lookups: Lookups::default(),
            reports: Reports::default(),
            takeover: Arc::default(),
            idle: Arc::new(Pool::new(idle_seats)),
            sessions: Sessions::default(),
            stop: watch::Sender::new(false),
            seats: Arc::new(Semaphore::new(CONNECTIONS)),
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

    /// To be held by a connection for as long as it lives; `None`: there are [`CONNECTIONS`] already.
    pub(super) fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().ok()
    }

    /// Whether `name`, which a wildcard stands for, may be looked up: its labels reach name servers.
    pub(super) fn admit(&self, wildcard: &str, name: &str) -> Result<(), Refusal> {
        let label = name.split('.').map(str::len).max().unwrap_or_default();
        if bounds::is_long(label, name.len()) {
            return Err(Refusal::Length);
        }
        if self.lookups.admit(wildcard, name) {
            Ok(())
        } else {
            Err(Refusal::Rate(wildcard.into()))
        }
    }

    /// Tells all connections to end.
    pub(super) fn stop(&self) {
        self.idle.close();
        self.stop.send_replace(true);
    }

    /// What was made by an older configuration serves nobody any more.
    pub(super) fn follow(&self, valid: &Generation) {
        self.idle.renew(valid);
    }

    /// Resolves when no connection is left.
    pub(super) async fn idle(&self) {
        self.stop.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_and_a_closed_one_makes_room() {
        let sandbox = Sandbox::new(SandboxId(1), "micky", &[], &Arc::new(Semaphore::new(1)));
        let mut seats: Vec<_> = std::iter::from_fn(|| sandbox.seat()).collect();
        assert_eq!(seats.len(), CONNECTIONS);
        seats.pop();
        assert!(sandbox.seat().is_some());
    }
}

//! What the engine knows of one sandbox beyond the configuration.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use super::{
    denial::Denial,
    pool::{Generation, Pool},
    rate::Rate,
    upstream::Upstream,
};
use crate::{
    address::SandboxId,
    config::{Limits, Snapshot},
    dns::{
        Refusal,
        bounds::{self, Lookups, Reports},
        memory::Memory,
    },
    secrets::SecretName,
    tls::upstream::Sessions,
    websocket::takeover,
};

/// How long a connection waits for others of its sandbox to be set up.
const PATIENCE: Duration = Duration::from_secs(10);

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
    limits: Mutex<Limits>,
    /// Connections that are open.
    seats: Arc<AtomicUsize>,
    connects: Rate,
    /// For those that are being set up. Another one after a reload that changes their number.
    desks: Mutex<Arc<Semaphore>>,
}

/// Held by a connection for as long as it lives.
#[derive(Debug)]
pub(super) struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Sandbox {
    pub(super) fn new(
        id: SandboxId,
        name: &str,
        extra: &[SecretName],
        limits: Limits,
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
            seats: Arc::default(),
            connects: Rate::new(),
            desks: Mutex::new(desks(limits)),
            limits: Mutex::new(limits),
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

    /// Asked for each connection that comes.
    ///
    /// # Errors
    /// They come too fast.
    pub(super) fn admit_connect(&self) -> Result<(), Denial> {
        let most = self.limits().connects_per_second;
        if self.connects.admit(most, Instant::now()) {
            Ok(())
        } else {
            Err(Denial::Hasty(most))
        }
    }

    /// To be held by a connection for as long as it lives. `share` is what the sandbox's part of all that the process
    /// may have open allows.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(super) fn seat(&self, share: usize) -> Result<Seat, Denial> {
        let most = self.limits().connections.min(share);
        let seat = Seat(Arc::clone(&self.seats));
        if self.seats.fetch_add(1, Relaxed) < most {
            Ok(seat)
        } else {
            Err(Denial::Crowded(most))
        }
    }

    /// To be held by a connection while it is set up. Those that come first are served first.
    ///
    /// # Errors
    /// None was free within 10 s.
    pub(super) async fn desk(&self) -> Result<OwnedSemaphorePermit, Denial> {
        let desks = Arc::clone(&self.desks.lock().unwrap_or_else(PoisonError::into_inner));
        let busy = || Denial::Busy(self.limits().handshakes);
        match timeout(PATIENCE, desks.acquire_owned()).await {
            Ok(Ok(desk)) => Ok(desk),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }

    fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(super) fn follow(&self, valid: &Generation, limits: Limits) {
        self.idle.renew(valid);
        let before = std::mem::replace(
            &mut *self.limits.lock().unwrap_or_else(PoisonError::into_inner),
            limits,
        );
        if before.handshakes != limits.handshakes {
            *self.desks.lock().unwrap_or_else(PoisonError::into_inner) = desks(limits);
        }
    }

    /// Resolves when no connection is left.
    pub(super) async fn idle(&self) {
        self.stop.closed().await;
    }
}

fn desks(limits: Limits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits.handshakes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(connections: usize, handshakes: usize, connects_per_second: u32) -> Sandbox {
        let limits = Limits {
            connections,
            handshakes,
            connects_per_second,
        };
        Sandbox::new(
            SandboxId(1),
            "micky",
            &[],
            limits,
            &Arc::new(Semaphore::new(1)),
        )
    }

    #[test]
    fn connections_are_bounded_and_a_closed_one_makes_room() {
        let sandbox = sandbox(100, 1, 100_000);
        let mut seats: Vec<_> = std::iter::from_fn(|| sandbox.seat(1000).ok()).collect();
        assert_eq!(seats.len(), 100);
        assert!(matches!(sandbox.seat(1000), Err(Denial::Crowded(100))));
        seats.pop();
        assert!(sandbox.seat(1000).is_ok());
        // Others need descriptors as well.
        assert!(matches!(sandbox.seat(50), Err(Denial::Crowded(50))));
    }

    #[test]
    fn connections_that_come_too_fast_are_refused() {
        let sandbox = sandbox(1000, 1, 10);
        let admitted = (0..100).filter(|_| sandbox.admit_connect().is_ok());
        assert_eq!(admitted.count(), 10);
        assert!(matches!(sandbox.admit_connect(), Err(Denial::Hasty(10))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_being_set_up_is_bounded_and_others_wait() {
        let sandbox = Arc::new(sandbox(10, 1, 10));
        let desk = sandbox.desk().await.unwrap();
        assert!(matches!(sandbox.desk().await, Err(Denial::Busy(1))));
        let waiting = tokio::spawn({
            let sandbox = Arc::clone(&sandbox);
            async move { sandbox.desk().await.is_ok() }
        });
        tokio::time::sleep(PATIENCE / 2).await;
        drop(desk);
        assert!(waiting.await.unwrap());
    }
}

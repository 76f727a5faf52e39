//! What the engine knows of one sandbox beyond the configuration.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
        bounds::{self, Family, Lookups, Reports},
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
    /// What was looked up for it that its policy does not spell out.
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
    /// Connections that are open.
    seats: Arc<AtomicUsize>,
    connects: Rate,
    /// Others after a reload that changes their number.
    desks: Mutex<Desks>,
}

/// For connections that are being set up.
struct Desks {
    free: Arc<Semaphore>,
    all: usize,
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
            desks: Mutex::new(Desks::new(limits)),
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

    /// What it may take by `configuration`.
    pub(super) fn limits(&self, configuration: &Snapshot) -> Limits {
        let rules = configuration.sandbox(&self.name);
        rules.map_or_else(Default::default, |rules| rules.limits)
    }

    /// To be held by a connection for as long as it lives.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Asked for each connection that comes.
    ///
    /// # Errors
    /// They come too fast.
    pub(super) fn admit_connect(&self, limits: Limits) -> Result<(), Denial> {
        let most = limits.connects_per_second;
        if self.connects.admit(most, Instant::now()) {
            Ok(())
        } else {
            Err(Denial::Hasty(most))
        }
    }

    /// To be held by a connection for as long as it lives.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(super) fn seat(&self, limits: Limits) -> Result<Seat, Denial> {
        let most = limits.connections;
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
        let (free, all) = {
            let desks = self.desks();
            (Arc::clone(&desks.free), desks.all)
        };
        match timeout(PATIENCE, free.acquire_owned()).await {
            Ok(Ok(desk)) => Ok(desk),
            Ok(Err(_)) | Err(_) => Err(Denial::Busy(all)),
        }
    }

    fn desks(&self) -> MutexGuard<'_, Desks> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `name`, which the policy does not spell out, may be looked up: its labels reach name servers.
    pub(super) fn admit(&self, family: Family, name: &str) -> Result<(), Refusal> {
        if bounds::is_long(name.split('.').map(str::len)) {
            return Err(Refusal::Length(Some(family)));
        }
        if self.lookups.admit(&family, name) {
            Ok(())
        } else {
            Err(Refusal::Rate(family))
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
        let mut desks = self.desks();
        if desks.all != limits.handshakes {
            *desks = Desks::new(limits);
        }
    }

    /// Resolves when no connection is left.
    pub(super) async fn idle(&self) {
        self.stop.closed().await;
    }
}

impl Desks {
    fn new(limits: Limits) -> Self {
        let all = limits.handshakes;
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize, connects_per_second: u32) -> Limits {
        Limits {
            connections,
            handshakes: 1,
            connects_per_second,
        }
    }

    fn sandbox() -> Sandbox {
        Sandbox::new(
            SandboxId(1),
            "micky",
            &[],
            limits(1, 1),
            &Arc::new(Semaphore::new(1)),
        )
    }

    #[test]
    fn connections_are_bounded_and_a_closed_one_makes_room() {
        let (sandbox, most) = (sandbox(), limits(100, 1));
        let mut seats: Vec<_> = std::iter::from_fn(|| sandbox.seat(most).ok()).collect();
        assert_eq!(seats.len(), 100);
        assert!(matches!(sandbox.seat(most), Err(Denial::Crowded(100))));
        seats.pop();
        assert!(sandbox.seat(most).is_ok());
        // A reload, or others that need descriptors as well.
        let fewer = limits(50, 1);
        assert!(matches!(sandbox.seat(fewer), Err(Denial::Crowded(50))));
    }

    #[test]
    fn connections_that_come_too_fast_are_refused() {
        let (sandbox, most) = (sandbox(), limits(1000, 10));
        let admitted = (0..100).filter(|_| sandbox.admit_connect(most).is_ok());
        assert_eq!(admitted.count(), 10);
        let next = sandbox.admit_connect(most);
        assert!(matches!(next, Err(Denial::Hasty(10))));
    }

    #[test]
    fn a_name_is_as_long_as_it_is_written() {
        let sandbox = sandbox();
        let wildcard = || Family::Wildcard("*.a.example".into());
        let longest = "a234567890.".repeat(8) + "12.a.example";
        assert_eq!(longest.len(), 100);
        assert_eq!(sandbox.admit(wildcard(), &longest), Ok(()));
        let refused = Err(Refusal::Length(Some(wildcard())));
        assert_eq!(sandbox.admit(wildcard(), &format!("x{longest}")), refused);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_being_set_up_is_bounded_and_others_wait() {
        let sandbox = Arc::new(sandbox());
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

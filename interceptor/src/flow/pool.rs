//! Connections to servers that serve no client at the moment, kept for the next one of the same sandbox.

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use crate::{address::Host, policy::Caller, tls::alpn::Protocol};

/// Longest time that a connection is kept. Usual servers and load balancers close after 60 to 75 s; those that close
/// sooner are noticed when a connection is taken.
const IDLE: Duration = Duration::from_secs(30);
/// Connections that are kept for the same purpose; for a sandbox; for all of them.
const ALIKE: usize = 8;
const PER_SANDBOX: usize = 64;
pub(super) const IN_ALL: usize = 512;

/// What a connection is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) host: Host,
    pub(super) port: u16,
    /// The protocols that were offered to the server.
    pub(super) offer: Box<[Protocol]>,
    /// What comes back on it is redacted.
    pub(super) redact: bool,
    /// Whoever confuses a server about where a request ends can harm the next one on the connection: it is one of its own.
    pub(super) user: u32,
    pub(super) caller: Caller,
}

/// The configuration by which a connection was made. Does not keep it.
#[derive(Clone)]
pub(super) struct Generation(Weak<dyn Any + Send + Sync>);

impl Generation {
    pub(super) fn of<T: Any + Send + Sync>(configuration: &Arc<T>) -> Self {
        let configuration: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(configuration);
        Self(Arc::downgrade(&configuration))
    }
}

impl PartialEq for Generation {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

/// What can be kept.
pub(super) trait Keep: Send + 'static {
    /// Nothing has come, not even the end.
    fn is_quiet(&mut self) -> bool;

    /// Ends the connection in order, as far as that goes without waiting.
    fn part(self);
}

/// The idle connections of one sandbox.
pub(super) struct Pool<C: Keep> {
    /// Of all sandboxes.
    seats: Arc<Semaphore>,
    state: Mutex<State<C>>,
}

struct State<C> {
    /// In the order in which they were given, which is that in which they expire.
    idle: VecDeque<Parked<C>>,
    /// Somebody waits for the first one to expire.
    swept: bool,
    closed: bool,
}

struct Parked<C> {
    key: Key,
    generation: Generation,
    since: Instant,
    connection: C,
    _seat: OwnedSemaphorePermit,
}

impl<C: Keep> Pool<C> {
    pub(super) fn new(seats: &Arc<Semaphore>) -> Self {
        Self {
            seats: Arc::clone(seats),
            state: Mutex::new(State {
                idle: VecDeque::new(),
                swept: false,
                closed: false,
            }),
        }
    }

    /// The connection that was given last of those that are good for `key` and fit, and for how long it has idled.
    pub(super) fn take(
        &self,
        key: &Key,
        generation: &Generation,
        fits: impl Fn(&C) -> bool,
    ) -> Option<(C, Duration)> {
        loop {
            let mut parked = {
                let mut state = self.lock();
                let found = state.idle.iter().rposition(|parked| {
                    parked.key == *key
                        && parked.generation == *generation
                        && fits(&parked.connection)
                })?;
                state.idle.remove(found)?
            };
            let idled = parked.since.elapsed();
            if idled < IDLE && parked.connection.is_quiet() {
                return Some((parked.connection, idled));
            }
            parked.connection.part();
        }
    }

    /// Keeps a connection that was made by the configuration `generation`, if that is still the one that `valid` says.
    pub(super) fn give(
        self: &Arc<Self>,
        key: Key,
        connection: C,
        generation: Generation,
        valid: impl FnOnce() -> Generation,
    ) {
        let mut parting = Vec::new();
        {
            let mut state = self.lock();
            // Asked under the lock: a reload either is known here, or finds the connection when it empties the pool.
            if state.closed || generation != valid() {
                drop(state);
                return connection.part();
            }
            if state.alike(&key) >= ALIKE {
                parting.extend(state.remove_oldest(|parked| parked.key == key));
            } else if state.idle.len() >= PER_SANDBOX {
                parting.extend(state.remove_oldest(|_| true));
            }
            let seat = Arc::clone(&self.seats).try_acquire_owned().ok();
            // Where there are too many in all, an older one of this sandbox makes room, no other's.
            let seat = seat.or_else(|| {
                let Parked {
                    connection, _seat, ..
                } = state.idle.pop_front()?;
                parting.push(connection);
                Some(_seat)
            });
            match seat {
                None => parting.push(connection),
                Some(seat) => {
                    state.idle.push_back(Parked {
                        key,
                        generation,
                        since: Instant::now(),
                        connection,
                        _seat: seat,
                    });
                    if !std::mem::replace(&mut state.swept, true) {
                        tokio::spawn(sweep(Arc::downgrade(self)));
                    }
                }
            }
        }
        parting.into_iter().for_each(Keep::part);
    }

    /// Ends what was made by another configuration than the valid one.
    pub(super) fn renew(&self, valid: &Generation) {
        self.end(|parked| parked.generation != *valid);
    }

    /// Ends all connections, and keeps none from now on.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.end(|_| true);
    }

    #[cfg(test)]
    pub(super) fn count(&self, of: impl Fn(&C) -> bool) -> usize {
        let state = self.lock();
        let idle = state.idle.iter();
        idle.filter(|parked| of(&parked.connection)).count()
    }

    fn end(&self, chosen: impl Fn(&Parked<C>) -> bool) {
        let mut parting = Vec::new();
        {
            let mut state = self.lock();
            for parked in std::mem::take(&mut state.idle) {
                if chosen(&parked) {
                    parting.push(parked.connection);
                } else {
                    state.idle.push_back(parked);
                }
            }
        }
        parting.into_iter().for_each(Keep::part);
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> State<C> {
    fn alike(&self, key: &Key) -> usize {
        let alike = self.idle.iter().filter(|parked| parked.key == *key);
        alike.count()
    }

    fn remove_oldest(&mut self, of: impl Fn(&Parked<C>) -> bool) -> Option<C> {
        let oldest = self.idle.iter().position(of)?;
        let parked = self.idle.remove(oldest)?;
        Some(parked.connection)
    }
}

/// Ends what has idled for too long, until nothing is left.
async fn sweep<C: Keep>(pool: Weak<Pool<C>>) {
    loop {
        let next = {
            let Some(pool) = pool.upgrade() else { return };
            pool.end(|parked| parked.since.elapsed() >= IDLE);
            let mut state = pool.lock();
            match state.idle.front() {
                Some(first) => first.since + IDLE,
                None => {
                    state.swept = false;
                    return;
                }
            }
        };
        sleep_until(next).await;
    }
}

impl<C: Keep> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.lock().idle.len();
        f.debug_struct("Pool")
            .field("idle", &idle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

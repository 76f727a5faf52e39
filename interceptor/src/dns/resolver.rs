//! The addresses that we dial for a name.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType};
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use crate::{address::Host, dns::TTL};

/// For one name, with the wait for other names.
const DEADLINE: Duration = Duration::from_secs(5);

const FOUND: Duration = Duration::from_secs(TTL as u64);
const NOT_FOUND: Duration = Duration::from_secs(5);

/// Names, at most.
const CAPACITY: usize = 4096;

/// Calls of getaddrinfo(3) at a time: each holds a thread of the pool that file access and others share, and a slow
/// name server can hold it for half a minute.
const LOOKUPS: usize = 32;

/// Addresses for a name, at most.
const ADDRESSES: usize = 32;

/// An address to dial instead of what DNS says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Override {
    pub(crate) ip: IpAddr,
    /// `None`: the port that was asked for.
    pub(crate) port: Option<u16>,
}

/// Where to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// In the order in which to try them. Never empty.
    pub(crate) addresses: Vec<SocketAddr>,
    /// They stand in the configuration, and are allowed whatever they are.
    pub(crate) as_written: bool,
}

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("the host's resolver knows no address of this name")]
    NoSuchName,
    #[error("the host's resolver gave no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    #[error("the host's resolver failed ({0})")]
    Failed(Arc<str>),
}

/// Resolves names by the overrides of the configuration, else as every program on this host does: by getaddrinfo(3), with
/// /etc/hosts, nsswitch.conf and search lists.
///
/// Answers are kept for 30 s, failures for 5 s, 4096 names at most. A name is looked up once at a time, however many ask.
pub(crate) struct Resolver {
    overrides: ArcSwap<HashMap<Host, Vec<Override>>>,
    known: Cache<Host, Known>,
    lookups: Arc<Semaphore>,
    look_up: LookUp,
}

type LookUp = Arc<dyn Fn(&Host) -> Result<Vec<IpAddr>, ResolveError> + Send + Sync>;

#[derive(Clone)]
struct Known {
    outcome: Result<Arc<[IpAddr]>, ResolveError>,
    until: Instant,
}

impl Resolver {
    pub(crate) fn new(overrides: HashMap<Host, Vec<Override>>) -> Self {
        Self::with_look_up(overrides, Arc::new(getaddrinfo))
    }

    fn with_look_up(overrides: HashMap<Host, Vec<Override>>, look_up: LookUp) -> Self {
        Self {
            overrides: ArcSwap::from_pointee(overrides),
            known: Cache::new(CAPACITY),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            look_up,
        }
    }

    /// For a reload of the configuration; holds from the next name on.
    pub(crate) fn replace_overrides(&self, overrides: HashMap<Host, Vec<Override>>) {
        self.overrides.store(Arc::new(overrides));
    }

    /// Where to dial for `host`, at `port` unless an override names another one. Takes 5 s at most.
    ///
    /// # Errors
    /// The host's resolver knows no address, fails, or has too much to do.
    pub(crate) async fn resolve(&self, host: &Host, port: u16) -> Result<Resolved, ResolveError> {
        if let Some(written) = self
            .overrides
            .load()
            .get(host)
            .filter(|all| !all.is_empty())
        {
            return Ok(Resolved {
                addresses: written
                    .iter()
                    .map(|one| SocketAddr::new(one.ip, one.port.unwrap_or(port)))
                    .collect(),
                as_written: true,
            });
        }
        let deadline = Instant::now() + DEADLINE;
        let found = timeout_at(deadline, self.known_or_looked_up(host, deadline))
            .await
            .unwrap_or(Err(ResolveError::Timeout))?;
        Ok(Resolved {
            addresses: found
                .iter()
                .map(|&address| SocketAddr::new(address, port))
                .collect(),
            as_written: false,
        })
    }

    async fn known_or_looked_up(
        &self,
        host: &Host,
        deadline: Instant,
    ) -> Result<Arc<[IpAddr]>, ResolveError> {
        let entry = self
            .known
            .entry_async(host, |_, known| {
                if Instant::now() < known.until {
                    EntryAction::Retain(known.outcome.clone())
                } else {
                    EntryAction::ReplaceWithGuard
                }
            })
            .await;
        let vacancy = match entry {
            EntryResult::Retained(outcome) => return outcome,
            EntryResult::Vacant(vacancy) | EntryResult::Replaced(vacancy, _) => vacancy,
            EntryResult::Removed(..) | EntryResult::Timeout => return Err(ResolveError::Timeout),
        };
        let outcome = self.look_up(host, deadline).await;
        // Here and not where it is of use: once in 5 s for a name, however often a sandbox asks.
        if let Err(error @ (ResolveError::Timeout | ResolveError::Failed(_))) = &outcome {
            tracing::warn!(%host, %error, "a name could not be resolved");
        }
        let kept = if outcome.is_ok() { FOUND } else { NOT_FOUND };
        // Evicted while it was looked up: the cache is busy, and the answer is good for once.
        drop(vacancy.insert(Known {
            outcome: outcome.clone(),
            until: Instant::now() + kept,
        }));
        outcome
    }

    async fn look_up(&self, host: &Host, deadline: Instant) -> Result<Arc<[IpAddr]>, ResolveError> {
        // The permit goes with the thread: a lookup that nobody waits for any more still counts.
        let permit = timeout_at(deadline, self.lookups.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(ResolveError::Timeout);
        };
        let (look_up, name) = (self.look_up.clone(), host.clone());
        let lookup = spawn_blocking(move || {
            let _permit = permit;
            look_up(&name)
        });
        let mut addresses = match timeout_at(deadline, lookup).await {
            Ok(Ok(found)) => found?,
            Ok(Err(stopped)) => return Err(ResolveError::Failed(stopped.to_string().into())),
            Err(_elapsed) => return Err(ResolveError::Timeout),
        };
        addresses.truncate(ADDRESSES);
        if addresses.is_empty() {
            return Err(ResolveError::NoSuchName);
        }
        Ok(addresses.into())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            overrides,
            known,
            lookups: _,
            look_up: _,
        } = self;
        f.debug_struct("Resolver")
            .field("overrides", &overrides.load().len())
            .field("known", &known.len())
            .finish_non_exhaustive()
    }
}

/// Blocks. The standard library's lookup is the same call, but does not tell a name that does not exist from a name
/// server that is out of order.
fn getaddrinfo(host: &Host) -> Result<Vec<IpAddr>, ResolveError> {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = dns_lookup::getaddrinfo(Some(host.as_str()), None, Some(hints)).map_err(
        |error| match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => ResolveError::NoSuchName,
            _ => ResolveError::Failed(std::io::Error::from(error).to_string().into()),
        },
    )?;
    let mut addresses = Vec::new();
    for address in found
        .flatten()
        .map(|info| info.sockaddr.ip().to_canonical())
    {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests;

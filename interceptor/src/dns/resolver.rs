//! The addresses that we dial for a name.

mod kept;
mod reach;
mod system;

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use self::kept::{Kept, Looked};
pub(crate) use self::{kept::Answer, system::System};
use crate::address::Host;

/// For one name, with the wait for other names.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long clients may keep what stands in the configuration.
const WRITTEN: Duration = Duration::from_secs(30);

/// Names, at most; as many services.
const CAPACITY: usize = 4096;

/// Lookups at a time: each has a few sockets.
const LOOKUPS: usize = 64;

/// Addresses for a name, at most; as many servers of a service.
const RECORDS: usize = 32;

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
    /// How much longer they hold.
    pub(crate) lifetime: Duration,
}

/// A server of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    pub(crate) port: u16,
    pub(crate) target: Host,
}

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("the host's name servers know no address of this name")]
    NoSuchName,
    #[error("the host's name servers gave no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    #[error("the host's name servers failed ({0})")]
    Failed(Arc<str>),
}

/// Where names are looked up.
pub(crate) trait Source: Send + Sync {
    fn addresses(&self, host: &Host) -> impl Future<Output = Looked<IpAddr>> + Send;

    /// `name` is `_service._proto.host`.
    fn services(&self, name: &str) -> impl Future<Output = Looked<Service>> + Send;
}

/// Resolves names by the overrides of the configuration, else by /etc/hosts and the host's name servers.
///
/// Answers are kept for as long as they say, from 1 s to 60 s, and failures for 5 s; of 4096 names at most. A name is
/// looked up once at a time, however many ask.
pub(crate) struct Resolver<S = System> {
    overrides: ArcSwap<HashMap<Host, Vec<Override>>>,
    addresses: Kept<Host, IpAddr>,
    services: Kept<Box<str>, Service>,
    lookups: Semaphore,
    source: S,
}

impl Resolver {
    /// `servers` instead of those of /etc/resolv.conf, unless it is empty.
    pub(crate) fn new(overrides: HashMap<Host, Vec<Override>>, servers: Vec<SocketAddr>) -> Self {
        Self::with_source(overrides, System::new(servers))
    }

    /// For a reload of the configuration; holds from the next name on.
    pub(crate) fn reconfigure(
        &self,
        overrides: HashMap<Host, Vec<Override>>,
        servers: Vec<SocketAddr>,
    ) {
        self.overrides.store(Arc::new(overrides));
        if self.source.replace_servers(servers) {
            self.addresses.clear();
            self.services.clear();
        }
    }
}

impl<S: Source> Resolver<S> {
    fn with_source(overrides: HashMap<Host, Vec<Override>>, source: S) -> Self {
        Self {
            overrides: ArcSwap::from_pointee(overrides),
            addresses: Kept::new(CAPACITY, RECORDS),
            services: Kept::new(CAPACITY, RECORDS),
            lookups: Semaphore::new(LOOKUPS),
            source,
        }
    }

    /// The name is not looked up anywhere: its addresses stand in the configuration.
    pub(crate) fn overrides(&self, host: &Host) -> bool {
        self.overrides.load().contains_key(host)
    }

    /// Where to dial for `host`, at `port` unless an override names another one. Takes 5 s at most.
    ///
    /// # Errors
    /// The host's name servers know no address, fail, or have too much to do.
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
                lifetime: WRITTEN,
            });
        }
        let look_up = |deadline| {
            let lookup = async move { Box::pin(self.source.addresses(host)).await };
            self.look_up(deadline, lookup)
        };
        let found = in_time(|deadline| self.addresses.get_or(host, look_up(deadline))).await?;
        Ok(Resolved {
            addresses: found
                .records
                .iter()
                .map(|&address| SocketAddr::new(address, port))
                .collect(),
            as_written: false,
            lifetime: found.lifetime,
        })
    }

    /// The servers of a service, by the name `_service._proto.host`. Takes 5 s at most.
    ///
    /// # Errors
    /// As those of [`Self::resolve`].
    pub(crate) async fn services(&self, name: &str) -> Result<Answer<Service>, ResolveError> {
        let key = Box::from(name);
        let look_up = |deadline| {
            let lookup = async move { Box::pin(self.source.services(name)).await };
            self.look_up(deadline, lookup)
        };
        in_time(|deadline| self.services.get_or(&key, look_up(deadline))).await
    }

    /// `lookup` has memory of its own, and none before its turn: every connection may come to this, and has room for it.
    async fn look_up<T>(
        &self,
        deadline: Instant,
        lookup: impl Future<Output = Looked<T>>,
    ) -> Looked<T> {
        let turn = async {
            let _permit = self.lookups.acquire().await;
            lookup.await
        };
        timeout_at(deadline, turn)
            .await
            .unwrap_or(Looked::failed(ResolveError::Timeout))
    }
}

async fn in_time<T, F>(answer: impl FnOnce(Instant) -> F) -> Result<Answer<T>, ResolveError>
where
    F: Future<Output = Result<Answer<T>, ResolveError>>,
{
    let deadline = Instant::now() + DEADLINE;
    timeout_at(deadline, answer(deadline))
        .await
        .unwrap_or(Err(ResolveError::Timeout))
}

impl<S> fmt::Debug for Resolver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            overrides,
            addresses,
            services,
            lookups: _,
            source: _,
        } = self;
        f.debug_struct("Resolver")
            .field("overrides", &overrides.load().len())
            .field("addresses", &addresses.len())
            .field("services", &services.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! What this host knows of names: /etc/hosts, and the name servers of /etc/resolv.conf or of the configuration.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::Query,
    rr::{Name, RData, RecordType},
};
use hickory_resolver::{
    Hosts, TokioResolver,
    config::{
        ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
        ServerOrderingStrategy,
    },
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    system_conf,
};

use super::{DEADLINE, ResolveError, Service, Source, kept::Looked, reach};
use crate::address::Host;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long an entry of /etc/hosts may be kept.
const ENTRY: Duration = Duration::from_secs(5);

/// As the C library (resolv.conf(5)).
const SERVERS: usize = 3;

/// Both files are read again when they have changed.
#[derive(Debug)]
pub(crate) struct System {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Those of the configuration.
    servers: Vec<SocketAddr>,
    read: Option<([Option<Stamp>; 2], Arc<Knowledge>)>,
}

/// By which a file is known to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &str) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            length: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// One reading of the files.
struct Knowledge {
    hosts: Hosts,
    /// In their order, one after the other: with split horizons the first one knows best.
    servers: Vec<TokioResolver>,
    search: Vec<Name>,
    /// Names with fewer dots are tried in the domains of `search` first.
    dots: usize,
}

impl System {
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            state: Mutex::new(State {
                servers,
                read: None,
            }),
        }
    }

    /// Whether they are others.
    pub(super) fn replace_servers(&self, servers: Vec<SocketAddr>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let others = state.servers != servers;
        if others {
            *state = State {
                servers,
                read: None,
            };
        }
        others
    }

    fn knowledge(&self) -> Result<Arc<Knowledge>, ResolveError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = [HOSTS, RESOLV_CONF].map(Stamp::of);
        if let Some((read, knowledge)) = &state.read
            && *read == stamps
        {
            return Ok(Arc::clone(knowledge));
        }
        let knowledge = Arc::new(Knowledge::read(&state.servers)?);
        state.read = Some((stamps, Arc::clone(&knowledge)));
        Ok(knowledge)
    }
}

impl Source for System {
    async fn addresses(&self, host: &Host) -> Looked<IpAddr> {
        match self.knowledge() {
            Ok(knowledge) => knowledge.addresses(host).await,
            Err(error) => Looked::failed(error),
        }
    }

    async fn services(&self, name: &str) -> Looked<Service> {
        match self.knowledge() {
            Ok(knowledge) => knowledge.services(name).await,
            Err(error) => Looked::failed(error),
        }
    }
}

impl Knowledge {
    fn read(servers: &[SocketAddr]) -> Result<Self, ResolveError> {
        let mut hosts = Hosts::default();
        match File::open(HOSTS) {
            Ok(file) => hosts
                .read_hosts_conf(file)
                .map_err(|error| failed(HOSTS, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(HOSTS, &error)),
        }
        if servers.is_empty() {
            let (config, options) = resolv_conf()?;
            Self::new(hosts, config, options.ndots)
        } else {
            let servers = servers.iter().map(|&server| name_server(server)).collect();
            Self::new(hosts, ResolverConfig::from_name_servers(servers), 1)
        }
    }

    fn new(hosts: Hosts, config: ResolverConfig, dots: usize) -> Result<Self, ResolveError> {
        let (_, search, mut servers) = config.into_parts();
        servers.truncate(SERVERS);
        let mut options = ResolverOpts::default();
        // Each gets its share, so that all are asked in time. Within it a datagram that is not answered is sent again.
        let share = u32::try_from(servers.len()).unwrap_or(u32::MAX).max(1);
        options.timeout = DEADLINE / share;
        options.attempts = 0;
        options.edns0 = true;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        // Its own choice takes ports at which this host's services may be about to listen.
        options.os_port_selection = true;
        let servers = servers.into_iter().map(|server| {
            let config = ResolverConfig::from_name_servers(vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options.clone())
                .build()
                .map_err(|error| ResolveError::Failed(error.to_string().into()))
        });
        Ok(Self {
            hosts,
            servers: servers.collect::<Result<_, _>>()?,
            search,
            dots,
        })
    }

    async fn addresses(&self, host: &Host) -> Looked<IpAddr> {
        let Ok(name) = Name::from_ascii(host.as_str()) else {
            return Looked::nothing(None);
        };
        if let Some(addresses) = self.of_hosts(&name) {
            return Looked::found(reach::dialable(addresses), ENTRY);
        }
        let mut nothing = Looked::nothing(None);
        for candidate in self.candidates(&name) {
            let looked = self.both_families(&candidate).await;
            // After a failure the next domain's owner might get what is meant for this one's.
            if !looked.is_nothing() {
                return looked;
            }
            nothing = looked;
        }
        nothing
    }

    /// The entries for a name, of both families: a name that has some is not looked up further.
    fn of_hosts(&self, name: &Name) -> Option<Vec<IpAddr>> {
        let mut addresses = Vec::new();
        for kind in [RecordType::AAAA, RecordType::A] {
            let query = Query::query(name.clone(), kind);
            let found = self.hosts.lookup_static_host(&query);
            addresses.extend(
                found
                    .iter()
                    .flat_map(|lookup| lookup.answers())
                    .filter_map(|record| record.data.ip_addr()),
            );
        }
        (!addresses.is_empty()).then_some(addresses)
    }

    /// What a relative name may mean, in the order in which to try (resolv.conf(5), `search` and `ndots`).
    fn candidates(&self, name: &Name) -> Vec<Name> {
        let mut whole = name.clone();
        whole.set_fqdn(true);
        let searched = self
            .search
            .iter()
            .filter_map(|domain| name.clone().append_domain(domain).ok());
        let mut candidates: Vec<_> = searched.collect();
        if usize::from(name.num_labels()) > self.dots {
            candidates.insert(0, whole);
        } else {
            candidates.push(whole);
        }
        candidates
    }

    async fn both_families(&self, name: &Name) -> Looked<IpAddr> {
        let (v6, v4) = tokio::join!(
            self.ask(name, RecordType::AAAA),
            self.ask(name, RecordType::A)
        );
        let addresses = |found: Vec<RData>| {
            let found = found.into_iter().filter_map(|data| data.ip_addr());
            found.map(|address| address.to_canonical()).collect()
        };
        let looked = |found, ttl| Looked::found(reach::dialable(found), ttl);
        match (v6, v4) {
            (Ok((mut v6, one)), Ok((v4, other))) => {
                v6.extend(v4);
                looked(addresses(v6), one.min(other))
            }
            (Ok((found, ttl)), Err(Miss::Nothing(_)))
            | (Err(Miss::Nothing(_)), Ok((found, ttl))) => looked(addresses(found), ttl),
            (Ok((found, ttl)), Err(Miss::Failed(_))) | (Err(Miss::Failed(_)), Ok((found, ttl))) => {
                looked(addresses(found), ttl).in_part()
            }
            (Err(Miss::Nothing(one)), Err(Miss::Nothing(other))) => {
                Looked::nothing(one.into_iter().chain(other).min())
            }
            (Err(Miss::Failed(error)), Err(_)) | (Err(_), Err(Miss::Failed(error))) => {
                Looked::failed(error)
            }
        }
    }

    async fn services(&self, name: &str) -> Looked<Service> {
        let Ok(mut name) = Name::from_ascii(name) else {
            return Looked::nothing(None);
        };
        name.set_fqdn(true);
        match self.ask(&name, RecordType::SRV).await {
            Ok((found, ttl)) => {
                let found: Vec<_> = found.into_iter().filter_map(service).collect();
                if found.is_empty() {
                    return Looked::nothing(Some(ttl));
                }
                Looked::found(found, ttl)
            }
            Err(Miss::Nothing(ttl)) => Looked::nothing(ttl),
            Err(Miss::Failed(error)) => Looked::failed(error),
        }
    }

    /// Asks one server after the other, until one knows. What is found is not empty.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<(Vec<RData>, Duration), Miss> {
        let mut failure = Miss::Failed(ResolveError::Timeout);
        for server in &self.servers {
            match server.lookup(name.clone(), kind).await {
                Ok(lookup) => {
                    let ttl = lookup
                        .valid_until()
                        .saturating_duration_since(Instant::now());
                    let records = lookup.answers().iter().map(|record| &record.data);
                    let found: Vec<_> = records
                        .filter(|data| data.record_type() == kind)
                        .cloned()
                        .collect();
                    if found.is_empty() {
                        return Err(Miss::Nothing(None));
                    }
                    return Ok((found, ttl));
                }
                Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                    let ttl = none.negative_ttl.map(|ttl| Duration::from_secs(ttl.into()));
                    return Err(Miss::Nothing(ttl));
                }
                Err(NetError::Timeout) => {}
                Err(error) => {
                    failure = Miss::Failed(ResolveError::Failed(error.to_string().into()));
                }
            }
        }
        Err(failure)
    }
}

/// Why there are no records.
enum Miss {
    /// There are none, perhaps for some time.
    Nothing(Option<Duration>),
    Failed(ResolveError),
}

impl std::fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Knowledge").finish_non_exhaustive()
    }
}

fn service(data: RData) -> Option<Service> {
    let RData::SRV(srv) = data else {
        return None;
    };
    // The root means that there is no such service; it is no host either.
    Some(Service {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        target: srv.target.to_ascii().parse().ok()?,
    })
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn resolv_conf() -> Result<(ResolverConfig, ResolverOpts), ResolveError> {
    match fs::read(RESOLV_CONF) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => parse(b""),
        Err(error) => Err(failed(RESOLV_CONF, &error)),
    }
}

/// Without a name server there is one on this host, as for the C library.
fn parse(resolv: &[u8]) -> Result<(ResolverConfig, ResolverOpts), ResolveError> {
    let parsed = system_conf::parse_resolv_conf(resolv).or_else(|_none| {
        let here = format!("\nnameserver {}\n", Ipv4Addr::LOCALHOST);
        system_conf::parse_resolv_conf([resolv, here.as_bytes()].concat())
    });
    parsed.map_err(|error| ResolveError::Failed(error.to_string().into()))
}

fn failed(path: &str, error: &io::Error) -> ResolveError {
    ResolveError::Failed(format!("{path}: {error}").into())
}

#[cfg(test)]
mod tests;

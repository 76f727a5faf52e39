//! Everything that connections share.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};

use super::{
    Incident, KernelDenial, Origin,
    call::Call,
    dial::DialError,
    names::Names,
    pool::{self, Generation},
    sandbox::Sandbox,
    workers::Workers,
};
use crate::{
    address::SandboxId,
    config::{Limits, Snapshot},
    dns::{self, Transport, resolver::Resolver},
    secrets::SecretName,
    stats::{self, ProcessFacts, Stats},
    tls::{leaf::Leaves, upstream::Connector},
};

/// How long connections have to say goodbye once they were told to.
pub(super) const GOODBYE: Duration = Duration::from_secs(3);

/// What a reload replaces, at once.
pub(crate) struct Configuration {
    pub(crate) snapshot: Snapshot,
    /// Knows the configured roots.
    pub(crate) connector: Connector,
}

/// Serves what the listeners accept.
pub(crate) struct Engine {
    configuration: ArcSwap<Configuration>,
    /// Tells connections that `configuration` is another one.
    reloads: watch::Sender<()>,
    pub(super) resolver: Resolver,
    leaves: ArcSwap<Leaves>,
    pub(super) stats: Arc<Stats>,
    /// For connections to servers that serve no client.
    idle_seats: Arc<Semaphore>,
    sandboxes: RwLock<HashMap<SandboxId, Arc<Sandbox>>>,
    pub(super) workers: Workers,
    /// Connections that the process's descriptors suffice for.
    room: usize,
    /// Where the daemon serves metrics: no sandbox is connected to it.
    own: OnceLock<SocketAddr>,
}

impl Engine {
    /// To be called in the runtime that serves connections.
    ///
    /// # Errors
    /// No thread can be made.
    pub(crate) fn new(
        configuration: Configuration,
        leaves: Leaves,
        stats: Arc<Stats>,
    ) -> io::Result<Self> {
        Ok(Self {
            resolver: Resolver::new(
                configuration.snapshot.resolve().clone(),
                configuration.snapshot.name_servers().to_vec(),
            ),
            configuration: ArcSwap::from_pointee(configuration),
            reloads: watch::Sender::new(()),
            leaves: ArcSwap::from_pointee(leaves),
            stats,
            idle_seats: Arc::new(Semaphore::new(pool::IN_ALL)),
            sandboxes: RwLock::default(),
            workers: Workers::start()?,
            room: room(),
            own: OnceLock::new(),
        })
    }

    /// Makes a sandbox known before its first connection. `name` selects policies and secrets in the configuration,
    /// `extra` are secrets added by `attach --secret`.
    ///
    /// # Errors
    /// The configuration has no sandbox of that name, or no such secret.
    pub(crate) fn enroll(
        &self,
        id: SandboxId,
        name: &str,
        extra: &[SecretName],
    ) -> Result<(), EnrollError> {
        let configuration = self.configuration();
        let snapshot = &configuration.snapshot;
        let Some(rules) = snapshot.sandbox(name) else {
            return Err(EnrollError::UnknownSandbox(name.to_owned()));
        };
        if let Some(unknown) = extra.iter().find(|secret| !snapshot.has_secret(secret)) {
            return Err(EnrollError::UnknownSecret(unknown.clone()));
        }
        self.stats.enroll(id, name);
        // After a reload it is made known again: its connections hold on to what is there.
        self.write().entry(id).or_insert_with(|| {
            Arc::new(Sandbox::new(
                id,
                name,
                extra,
                rules.limits,
                &self.idle_seats,
            ))
        });
        Ok(())
    }

    /// Forgets a sandbox; its live connections are closed.
    pub(crate) fn dismiss(&self, id: SandboxId) {
        let dismissed = self.write().remove(&id);
        if let Some(sandbox) = dismissed {
            sandbox.stop();
        }
        self.stats.forget(id);
    }

    /// Records a refusal by the cgroup programs.
    pub(crate) fn report(&self, denial: KernelDenial) {
        let KernelDenial {
            sandbox,
            netns,
            process,
            destination,
            code,
            reason,
        } = denial;
        let name = sandbox.and_then(|id| self.name_of(id));
        tracing::debug!(
            sandbox = name.as_deref(),
            tid = process.tid,
            %netns,
            reason,
            "the kernel refused a socket"
        );
        self.stats.deny(stats::Denial {
            sandbox,
            sandbox_name: name,
            process: process.into(),
            destination,
            name: None,
            connection: None,
            reason: code,
            detail: reason.to_owned(),
        });
    }

    /// Records what belongs to no connection.
    pub(crate) fn note(&self, incident: Incident) {
        let Incident {
            sandbox,
            process,
            destination,
            reason,
            detail,
        } = incident;
        let nobody = ProcessFacts {
            pid: 0,
            uid: 0,
            comm: "".into(),
        };
        self.stats.deny(stats::Denial {
            sandbox: Some(sandbox),
            sandbox_name: self.name_of(sandbox),
            process: process.map_or(nobody, Into::into),
            destination,
            name: None,
            connection: None,
            reason,
            detail,
        });
    }

    /// Its name in the configuration, while it is attached.
    pub(crate) fn name_of(&self, id: SandboxId) -> Option<Arc<str>> {
        self.sandbox(id).map(|sandbox| Arc::clone(&sandbox.name))
    }

    /// Carries one connection to its end. Never fails: what goes wrong is recorded and shown to the client.
    pub(crate) async fn serve(self: Arc<Self>, client: TcpStream, origin: Origin) {
        let Some(sandbox) = self.sandbox(origin.sandbox) else {
            tracing::warn!(
                sandbox = origin.sandbox.0,
                destination = %origin.original,
                "closed a connection of a sandbox that is not attached"
            );
            return;
        };
        // Nothing is opened for a flood.
        if let Err(denial) = sandbox.admit_connect(self.limits(&sandbox)) {
            return self.note(Incident {
                sandbox: origin.sandbox,
                process: Some(origin.process),
                destination: Some(origin.original.0),
                reason: denial.reason(),
                detail: denial.detail(),
            });
        }
        Arc::new(Call::new(self, sandbox, origin)).run(client).await;
    }

    /// Answers one DNS datagram; `None` for one that deserves no answer.
    pub(crate) async fn answer(self: Arc<Self>, query: &[u8], origin: &Origin) -> Option<Vec<u8>> {
        let sandbox = self.sandbox(origin.sandbox)?;
        let names = Names {
            engine: &self,
            sandbox: &sandbox,
            origin,
        };
        dns::answer(query, Transport::Udp, &names).await
    }

    /// Connections follow `configuration` from now on, those that stand as well.
    pub(crate) fn reconfigure(&self, configuration: Configuration) {
        self.resolver.reconfigure(
            configuration.snapshot.resolve().clone(),
            configuration.snapshot.name_servers().to_vec(),
        );
        let configuration = Arc::new(configuration);
        let valid = Generation::of(&configuration);
        self.configuration.store(Arc::clone(&configuration));
        for sandbox in self.read().values() {
            sandbox.follow(&valid, sandbox.limits(&configuration.snapshot));
        }
        self.reloads.send_replace(());
    }

    /// Waits for all connections to end by themselves, `patience` at most, then tells those that are left to say
    /// goodbye, and waits another 3 s for that.
    pub(crate) async fn drain(&self, patience: Duration) {
        let sandboxes = self.sandboxes();
        sandboxes.iter().for_each(|sandbox| sandbox.idle.close());
        let ended = async |deadline| {
            for sandbox in &sandboxes {
                if timeout_at(deadline, sandbox.idle()).await.is_err() {
                    return false;
                }
            }
            true
        };
        if ended(Instant::now() + patience).await {
            return;
        }
        sandboxes.iter().for_each(|sandbox| sandbox.stop());
        if !ended(Instant::now() + GOODBYE).await {
            tracing::warn!("connections are left that did not end in time: they are cut");
        }
    }

    /// Hears of every configuration that is made valid from now on.
    pub(super) fn reloads(&self) -> watch::Receiver<()> {
        self.reloads.subscribe()
    }

    /// By which certificates clients are answered.
    pub(crate) fn leaves(&self) -> Arc<Leaves> {
        self.leaves.load_full()
    }

    /// Clients that connect from now on are answered by another authority.
    pub(crate) fn answer_by(&self, leaves: Leaves) {
        self.leaves.store(Arc::new(leaves));
    }

    pub(crate) fn configuration(&self) -> Arc<Configuration> {
        self.configuration.load_full()
    }

    /// Nobody is connected to `address` from now on, whatever a policy says.
    pub(crate) fn keep_to_itself(&self, address: SocketAddr) {
        if self.own.set(address).is_err() {
            tracing::error!(%address, "only one address can be kept from sandboxes");
        }
    }

    /// Takes a connection back that was made to the daemon itself.
    pub(super) fn outward(&self, stream: TcpStream) -> Result<TcpStream, DialError> {
        let Some(own) = self.own.get() else {
            return Ok(stream);
        };
        match stream.peer_addr() {
            Ok(peer) if peer.port() != own.port() || !is_here(peer.ip()) => Ok(stream),
            Ok(address) => Err(DialError::Own { address }),
            Err(source) => Err(DialError::Connect {
                address: *own,
                source,
            }),
        }
    }

    /// What a sandbox may take, without leaving others no connection.
    pub(super) fn limits(&self, sandbox: &Sandbox) -> Limits {
        let limits = sandbox.limits(&self.configuration.load().snapshot);
        let share = self.room / self.read().len().max(1);
        Limits {
            connections: limits.connections.min(share),
            ..limits
        }
    }

    #[cfg(test)]
    pub(super) fn sandbox_of(&self, id: SandboxId) -> Arc<Sandbox> {
        self.sandbox(id).expect("it is enrolled")
    }

    pub(super) fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        self.read().values().cloned().collect()
    }

    pub(super) fn sandbox(&self, id: SandboxId) -> Option<Arc<Sandbox>> {
        self.read().get(&id).cloned()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<SandboxId, Arc<Sandbox>>> {
        self.sandboxes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<SandboxId, Arc<Sandbox>>> {
        self.sandboxes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl From<super::Process> for ProcessFacts {
    fn from(process: super::Process) -> Self {
        let super::Process {
            tgid,
            tid: _,
            uid,
            comm,
        } = process;
        Self {
            pid: tgid,
            uid,
            comm,
        }
    }
}

/// Whether an address is one of this host's, in the daemon's network namespace.
fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Of three quarters of what may be open: two descriptors each. The rest is for listeners, servers that serve no client,
/// and the daemon itself.
fn room() -> usize {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(most / 8 * 3).unwrap_or(usize::MAX)
}

/// Why a sandbox could not be made known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrollError {
    #[error(
        "the configuration has no sandbox named {0:?}: add it under `sandboxes`, then `interceptor reload`"
    )]
    UnknownSandbox(String),
    #[error(
        "the configuration has no secret named {0}: add it under `secrets`, then `interceptor reload`"
    )]
    UnknownSecret(SecretName),
}

//! What the control interface asks for.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

use super::{
    Settings,
    admission::admit,
    predecessors::Predecessors,
    rejection::Rejection,
    trusting::{Trustee, Trusting},
};
use crate::{
    config::Existing,
    control::{
        Backend, Refusal, RefusalKind,
        api::{
            AttachRequest, CountsView, DetachRequest, DrainingView, ExemptionView, HolderView,
            Info, NetnsView, Order, ReloadView, SandboxView, SocketView, StatsView,
        },
    },
    error::chain,
    flow::Engine,
    kernel::{Peer, UnownedSocket},
    locate::{LocateError, Target},
    sandbox::{
        Attach, AttachError, DetachError, Frozen, NetnsReport, Registry, SandboxReport, Which,
    },
    secrets::SecretName,
    stats::{
        Selection, Stats,
        view::{ConnectionView, EventView, rfc3339},
    },
    tls::ca::{BUNDLE, CERTIFICATE},
};

/// The running daemon.
pub(super) struct Interceptor {
    settings: Settings,
    engine: Arc<Engine>,
    registry: Registry<Engine>,
    stats: Arc<Stats>,
    predecessors: Predecessors,
    trusting: Trusting,
    /// Reloads take turns.
    reloading: Arc<Mutex<()>>,
    rejection: Rejection,
}

impl Interceptor {
    pub(super) fn new(
        settings: Settings,
        engine: Arc<Engine>,
        registry: Registry<Engine>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            predecessors: Predecessors::of(&settings.run_dir),
            settings,
            engine,
            registry,
            stats,
            trusting: Trusting::default(),
            reloading: Arc::default(),
            rejection: Rejection::default(),
        }
    }

    pub(super) fn registry(&self) -> &Registry<Engine> {
        &self.registry
    }

    pub(super) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(super) fn rejection(&self) -> &Rejection {
        &self.rejection
    }

    /// To be held by a reload.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.reloading.lock().await
    }

    /// Has daemons that drain follow this one's configuration. Tells of those that cannot.
    pub(super) async fn lead(&self) -> Vec<String> {
        let config = self.settings.config.clone();
        self.predecessors.order(Order::Follow { config }).await
    }

    /// Stands still for a daemon that takes over: no reload, no attach, no event, until both are dropped.
    pub(super) async fn freeze(&self) -> (OwnedMutexGuard<()>, Frozen) {
        let turn = Arc::clone(&self.reloading).lock_owned().await;
        (turn, self.registry.freeze().await)
    }

    /// Whether a process may ask for anything by one of the daemon's sockets.
    pub(super) fn admit_to(&self, socket: &str, peer: &Peer) -> Result<(), String> {
        let place = |pid| self.registry.of_process(pid);
        admit(peer, place, (&self.engine, &self.stats), socket)
    }

    /// Sandboxes whose configured cgroup exists and is not attached.
    pub(super) async fn missing(&self) -> Vec<(String, PathBuf)> {
        let configuration = self.engine.configuration();
        let mut configured: Vec<_> = configuration
            .snapshot
            .sandboxes()
            .filter_map(|rules| Some((rules.name.to_string(), rules.match_cgroup.clone()?)))
            .filter(|(_, cgroup)| cgroup.is_dir())
            .collect();
        if !configured.is_empty() {
            let attached = self.registry.list().await;
            // One that was made anew is another one, and open.
            let is = |sandbox: &SandboxReport, cgroup: &Path| {
                let inode = fs::metadata(cgroup).map(|found| found.ino());
                sandbox.cgroup == cgroup && inode.is_ok_and(|inode| inode == sandbox.cgroup_id.0)
            };
            configured.retain(|(_, cgroup)| !attached.iter().any(|sandbox| is(sandbox, cgroup)));
        }
        configured
    }

    pub(super) async fn attach_cgroup(&self, name: &str, cgroup: &Path) -> Result<(), AttachError> {
        let request = Attach {
            existing: self.existing(name),
            name: name.to_owned(),
            target: Target::Cgroup(cgroup.to_owned()),
            secrets: Vec::new(),
        };
        self.registry.attach(request).await.map(drop)
    }

    pub(super) fn trusting(&self) -> &Trusting {
        &self.trusting
    }

    /// Sandboxes whose containers are to trust our CA.
    pub(super) async fn trustees(&self) -> Vec<Trustee> {
        let configuration = self.engine.configuration();
        let snapshot = &configuration.snapshot;
        if snapshot.sandboxes().all(|rules| !rules.install_ca) {
            return Vec::new();
        }
        let mut attached = self.registry.list().await;
        attached.retain(|report| {
            let rules = snapshot.sandbox(&report.name);
            rules.is_some_and(|rules| rules.install_ca)
        });
        attached
            .into_iter()
            .map(
                |SandboxReport {
                     id, name, cgroup, ..
                 }| Trustee { id, name, cgroup },
            )
            .collect()
    }

    /// Puts our CA into a sandbox's containers. What does not work is logged, and told.
    pub(super) async fn install_ca(&self, trustee: Trustee) -> Vec<String> {
        let (id, name) = (trustee.id, trustee.name.clone());
        let certificate = self.settings.run_dir.join(CERTIFICATE);
        let told = self.trusting.install(trustee, certificate).await;
        for warning in &told {
            tracing::warn!(sandbox = %id, name, warning, "not all of the sandbox trusts our CA");
        }
        told
    }

    /// What the configuration says of sockets from before.
    fn existing(&self, name: &str) -> Existing {
        let configuration = self.engine.configuration();
        let rules = configuration.snapshot.sandbox(name);
        rules.map(|rules| rules.existing).unwrap_or_default()
    }

    fn view(&self, report: SandboxReport) -> SandboxView {
        let SandboxReport {
            id,
            name,
            cgroup,
            cgroup_id,
            identity,
            netns,
            secrets,
            attached,
            sockets,
            exemptions,
            kernel_denials,
            doors,
            warnings,
        } = report;
        let configuration = self.engine.configuration();
        let rules = configuration.snapshot.sandbox(&name);
        let texts = |names: &[SecretName]| names.iter().map(ToString::to_string).collect();
        SandboxView {
            id: id.0,
            policies: rules.map_or_else(Vec::new, |rules| {
                rules
                    .policies
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect()
            }),
            secrets: rules.map_or_else(Vec::new, |rules| texts(&rules.secrets)),
            secret_keys: texts(&secrets),
            name,
            cgroup,
            cgroup_id: cgroup_id.0,
            identity,
            netns: netns.into_iter().map(netns_view).collect(),
            sockets: sockets.iter().map(socket_view).collect(),
            warnings,
            doors,
            exemptions: exemptions
                .into_iter()
                .map(|(permit, uses)| ExemptionView {
                    what: permit.to_string(),
                    uses,
                })
                .collect(),
            kernel_denials,
            attached_at: rfc3339(attached),
            live_connections: self.stats.live(id),
        }
    }
}

impl Backend for Interceptor {
    /// Root, and outside of all sandboxes: the socket may have been put into a container, whose root is one as well.
    async fn admit(&self, peer: Peer) -> Result<(), String> {
        self.admit_to("control.sock", &peer)
    }

    async fn attach(&self, request: AttachRequest) -> Result<SandboxView, Refusal> {
        let AttachRequest {
            name,
            target,
            secrets,
            keep_existing,
        } = request;
        let secrets = secrets
            .iter()
            .map(|name| name.parse::<SecretName>().map_err(|error| invalid(&error)))
            .collect::<Result<_, _>>()?;
        let report = self
            .registry
            .attach(Attach {
                existing: if keep_existing {
                    Existing::Keep
                } else {
                    self.existing(&name)
                },
                name,
                target,
                secrets,
            })
            .await;
        let mut view = report
            .map(|report| self.view(report))
            .map_err(|error| attach_refusal(&error))?;
        let new = self.trustees().await;
        if let Some(trustee) = new.into_iter().find(|trustee| trustee.id.0 == view.id) {
            view.warnings.extend(self.install_ca(trustee).await);
        }
        Ok(view)
    }

    async fn detach(&self, request: DetachRequest) -> Result<SandboxView, Refusal> {
        let which = match request {
            DetachRequest::Sandbox(name) => Which::Called(name),
            DetachRequest::Target(target) => Which::At(target),
        };
        let report = self.registry.detach(which).await;
        let mut view = report
            .map(|report| self.view(report))
            .map_err(|error| detach_refusal(&error))?;
        let dismiss = Order::Dismiss { sandbox: view.id };
        view.warnings.extend(self.predecessors.order(dismiss).await);
        Ok(view)
    }

    async fn sandboxes(&self) -> Vec<SandboxView> {
        let reports = self.registry.list().await;
        let elsewhere = self.predecessors.connections(false).await;
        let views = reports.into_iter().map(|report| {
            let mut view = self.view(report);
            let own = elsewhere.iter().filter(|found| found.sandbox_id == view.id);
            view.live_connections += own.count() as u64;
            view
        });
        views.collect()
    }

    async fn connections(&self, ended: bool) -> Vec<ConnectionView> {
        let mut connections = self.predecessors.connections(ended).await;
        connections.extend(self.stats.connections(ended));
        connections
    }

    async fn events(&self, selection: Selection) -> Vec<EventView> {
        let mut events = self.predecessors.events(&selection).await;
        events.extend(self.stats.events(&selection));
        selection.order(events)
    }

    async fn totals(&self) -> CountsView {
        let counters = self.registry.counters();
        let counters = counters.into_iter().chain(self.stats.counters());
        CountsView {
            rejected: self.rejection.view(),
            ..counts(&self.stats, counters)
        }
    }

    async fn stats(&self) -> StatsView {
        let draining = self.predecessors.views().await;
        stats_view(&self.stats, self.totals().await, draining)
    }

    async fn reload(&self) -> Result<ReloadView, Refusal> {
        Self::reload(self).await
    }

    async fn obey(&self, _: Order) -> Result<(), Refusal> {
        Err(Refusal::new(
            RefusalKind::Conflict,
            "this daemon does not drain: it takes no orders from another one",
        ))
    }

    async fn info(&self) -> Info {
        info(&self.settings, &self.stats)
    }

    /// The control socket is served only once everything else stands; after that, sandboxes can come open.
    async fn ready(&self) -> Result<(), String> {
        self.registry.guarded().await
    }

    async fn remarks(&self) -> Vec<String> {
        self.rejection.remark().into_iter().collect()
    }
}

pub(super) fn counts(
    stats: &Stats,
    kernel: impl IntoIterator<Item = (&'static str, u64)>,
) -> CountsView {
    let (overall, sandboxes) = stats.totals();
    let kernel = kernel.into_iter();
    CountsView {
        overall,
        sandboxes,
        kernel: kernel
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        rejected: None,
    }
}

pub(super) fn stats_view(
    stats: &Stats,
    counts: CountsView,
    draining: Vec<DrainingView>,
) -> StatsView {
    StatsView {
        since: rfc3339(stats.started()),
        counts,
        denials: stats.events(&Selection::default()),
        draining,
    }
}

pub(super) fn info(settings: &Settings, stats: &Stats) -> Info {
    Info {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        live_connections: stats.all_live(),
        config: settings.config.clone(),
        ca_certificate: settings.run_dir.join(CERTIFICATE),
        ca_bundle: settings.run_dir.join(BUNDLE),
    }
}

fn netns_view(report: NetnsReport) -> NetnsView {
    let NetnsReport {
        cookie,
        port,
        has_v6,
        private,
        fenced,
    } = report;
    NetnsView {
        cookie: cookie.0,
        port,
        ipv6: has_v6,
        private,
        fenced,
    }
}

fn socket_view(socket: &UnownedSocket) -> SocketView {
    let UnownedSocket {
        protocol,
        listens,
        local,
        remote,
        netns: _,
        holders,
        fate,
    } = socket;
    SocketView {
        fate: fate.to_string(),
        protocol: protocol.to_string(),
        listens: *listens,
        local: *local,
        remote: *remote,
        holders: holders
            .iter()
            .map(|holder| HolderView {
                pid: holder.task.tgid,
                uid: holder.uid,
                comm: holder.comm.to_string(),
                descriptor: holder.descriptor,
            })
            .collect(),
        description: socket.to_string(),
    }
}

fn attach_refusal(error: &AttachError) -> Refusal {
    let kind = match error {
        AttachError::Root(_)
        | AttachError::HoldsDaemon(_)
        | AttachError::Threaded(_)
        | AttachError::Enroll(_) => RefusalKind::Invalid,
        AttachError::Already { .. } | AttachError::Overlaps { .. } => RefusalKind::Conflict,
        AttachError::Locate(error) => not_located(error),
        AttachError::Welcome(_)
        | AttachError::Link(_)
        | AttachError::Store(_)
        | AttachError::Stopping => RefusalKind::Failed,
    };
    Refusal::new(kind, chain(error))
}

fn detach_refusal(error: &DetachError) -> Refusal {
    let kind = match error {
        DetachError::Unknown(_) | DetachError::NoSandbox(_) => RefusalKind::NotFound,
        DetachError::Ambiguous(_) | DetachError::Part { .. } => RefusalKind::Conflict,
        DetachError::Locate(error) => not_located(error),
        DetachError::Link(_) | DetachError::Stopping => RefusalKind::Failed,
    };
    Refusal::new(kind, chain(error))
}

fn not_located(error: &LocateError) -> RefusalKind {
    match error {
        LocateError::Ambiguous { .. } => RefusalKind::Conflict,
        LocateError::Cgroup(_)
        | LocateError::NoContainer(_)
        | LocateError::NoPod(_)
        | LocateError::UnknownPod(_)
        | LocateError::NoUnit(_)
        | LocateError::Version1 { .. } => RefusalKind::NotFound,
    }
}

fn invalid(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(RefusalKind::Invalid, chain(error))
}

//! What the control interface asks for.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::Mutex;

use super::{Settings, reload::differences};
use crate::{
    config::{self, Existing},
    control::{
        Backend, Refusal, RefusalKind,
        api::{
            AttachRequest, ExemptionView, HolderView, Info, NetnsView, ReloadView, SandboxView,
            SocketView, StatsView,
        },
    },
    error::chain,
    flow::{Configuration, Engine},
    kernel::{Peer, UnownedSocket},
    sandbox::{Attach, AttachError, DetachError, NetnsReport, Registry, SandboxReport, Target},
    secrets::SecretName,
    stats::{
        Denial, ProcessFacts, Selection, Stats,
        view::{ConnectionView, EventView, rfc3339},
    },
    tls::{
        ca::{BUNDLE, CERTIFICATE},
        upstream::Connector,
    },
};

/// The running daemon.
pub(super) struct Interceptor {
    settings: Settings,
    engine: Arc<Engine>,
    registry: Registry<Engine>,
    stats: Arc<Stats>,
    /// Reloads take turns.
    reloading: Mutex<()>,
}

impl Interceptor {
    pub(super) fn new(
        settings: Settings,
        engine: Arc<Engine>,
        registry: Registry<Engine>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            settings,
            engine,
            registry,
            stats,
            reloading: Mutex::default(),
        }
    }

    pub(super) fn registry(&self) -> &Registry<Engine> {
        &self.registry
    }

    /// Reads the configuration again and, if it is free of faults, makes it hold for every connection from now on.
    pub(super) async fn reload(&self) -> Result<ReloadView, Refusal> {
        let turn = self.reloading.lock().await;
        let path = self.settings.config.clone();
        let read = tokio::task::spawn_blocking(move || {
            let snapshot = config::load(&path).map_err(|faults| {
                let detail = faults.to_string().lines().map(str::to_owned).collect();
                Refusal::new(
                    RefusalKind::Invalid,
                    "the configuration is faulty, the running one stays",
                )
                .with_detail(detail)
            })?;
            let connector = Connector::new(snapshot.extra_roots(), snapshot.client_certificates())
                .map_err(|error| invalid(&error))?;
            Ok::<_, Refusal>(Configuration {
                snapshot,
                connector,
            })
        });
        let configuration = read
            .await
            .map_err(|_stopped| Refusal::new(RefusalKind::Failed, "the daemon is stopping"))??;
        let running = self.engine.configuration();
        let view = ReloadView {
            changed: differences(&running.snapshot, &configuration.snapshot),
            reports: configuration
                .snapshot
                .reports()
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        let journal = configuration.snapshot.events_file().map(Path::to_owned);
        let stats = Arc::clone(&self.stats);
        tokio::task::spawn_blocking(move || stats.journal(journal.as_deref()))
            .await
            .map_err(|_stopped| Refusal::new(RefusalKind::Failed, "the daemon is stopping"))?
            .map_err(|error| {
                Refusal::new(
                    RefusalKind::Invalid,
                    format!("the file of events cannot be opened: {error}"),
                )
            })?;
        configuration.snapshot.log_reports();
        self.engine.reconfigure(configuration);
        self.registry.enroll_again().await;
        for change in &view.changed {
            tracing::info!(change, "reloaded");
        }
        drop(turn);
        Ok(view)
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
            configured
                .retain(|(_, cgroup)| attached.iter().all(|sandbox| sandbox.cgroup != *cgroup));
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
        let place = peer.pid().map(|pid| self.registry.of_process(pid));
        let (sandbox, why) = match place {
            Some(Ok(sandbox @ Some(_))) => (sandbox, "it is in the sandbox"),
            _ if peer.uid != 0 => (None, "it is not root"),
            // After its place was read: that is no other process's.
            Some(Ok(None)) if peer.is_alive() => return Ok(()),
            Some(Ok(None) | Err(_)) | None => (None, "it cannot be told in which cgroup it is"),
        };
        let pid = peer.pid().unwrap_or(0);
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        self.stats.deny(Denial {
            sandbox,
            sandbox_name: sandbox.and_then(|id| self.engine.name_of(id)),
            process: ProcessFacts {
                pid,
                uid: peer.uid,
                comm: comm.trim_end().into(),
            },
            destination: None,
            name: Some("control.sock".to_owned()),
            connection: None,
            reason: "control_refused",
            detail: format!("the process may not ask the daemon for anything: {why}"),
        });
        Err(why.to_owned())
    }

    async fn attach(&self, request: AttachRequest) -> Result<SandboxView, Refusal> {
        let AttachRequest {
            name,
            cgroup,
            pid,
            secrets,
            keep_existing,
        } = request;
        let target = match (cgroup, pid) {
            (Some(cgroup), None) => Target::Cgroup(cgroup),
            (None, Some(pid)) => Target::Process(pid),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Refusal::new(
                    RefusalKind::Invalid,
                    "give either a cgroup or a process",
                ));
            }
        };
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
        report
            .map(|report| self.view(report))
            .map_err(|error| attach_refusal(&error))
    }

    async fn detach(&self, sandbox: &str) -> Result<SandboxView, Refusal> {
        let report = self.registry.detach(sandbox).await;
        report
            .map(|report| self.view(report))
            .map_err(|error| detach_refusal(&error))
    }

    async fn sandboxes(&self) -> Vec<SandboxView> {
        let reports = self.registry.list().await;
        reports
            .into_iter()
            .map(|report| self.view(report))
            .collect()
    }

    async fn connections(&self, ended: bool) -> Vec<ConnectionView> {
        self.stats.connections(ended)
    }

    async fn events(&self, selection: Selection) -> Vec<EventView> {
        self.stats.events(&selection)
    }

    async fn stats(&self) -> StatsView {
        let (overall, sandboxes) = self.stats.totals();
        StatsView {
            since: rfc3339(self.stats.started()),
            overall,
            sandboxes,
            kernel: self
                .registry
                .counters()
                .into_iter()
                .chain(self.stats.counters())
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
            denials: self.stats.events(&Selection::default()),
        }
    }

    async fn reload(&self) -> Result<ReloadView, Refusal> {
        Self::reload(self).await
    }

    async fn info(&self) -> Info {
        let Settings {
            config,
            run_dir,
            bpf_dir: _,
            data_dir: _,
        } = &self.settings;
        Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            config: config.clone(),
            ca_certificate: run_dir.join(CERTIFICATE),
            ca_bundle: run_dir.join(BUNDLE),
        }
    }

    /// The control socket is served only once everything else stands; after that, sandboxes can come open.
    async fn ready(&self) -> Result<(), String> {
        self.registry.guarded().await
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
        AttachError::Root(_) | AttachError::HoldsDaemon(_) | AttachError::Enroll(_) => {
            RefusalKind::Invalid
        }
        AttachError::Already { .. } | AttachError::Overlaps { .. } => RefusalKind::Conflict,
        AttachError::Cgroup(_) => RefusalKind::NotFound,
        AttachError::Welcome(_)
        | AttachError::Link(_)
        | AttachError::Store(_)
        | AttachError::Stopping => RefusalKind::Failed,
    };
    Refusal::new(kind, chain(error))
}

fn detach_refusal(error: &DetachError) -> Refusal {
    let kind = match error {
        DetachError::Unknown(_) => RefusalKind::NotFound,
        DetachError::Ambiguous(_) => RefusalKind::Conflict,
        DetachError::Link(_) | DetachError::Stopping => RefusalKind::Failed,
    };
    Refusal::new(kind, chain(error))
}

fn invalid(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(RefusalKind::Invalid, chain(error))
}

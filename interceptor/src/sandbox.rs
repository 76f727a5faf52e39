//! Sandboxes: attaching and detaching, their listeners in every network namespace, their lives across restarts.
//!
//! What stands in the kernel (links, maps) and in the run directory (names, secrets) outlives the daemon. A daemon that
//! ends, in whatever way, leaves its sandboxes closed; the next one adopts them. Only `detach` opens a sandbox.

mod adopt;
mod attach;
mod lookout;
mod namespaces;
mod report;
mod serve;
mod service;
mod store;
mod survey;
#[cfg(test)]
mod tests;
mod watchdog;

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::Handle,
    sync::Mutex,
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval},
};

pub(crate) use attach::{Attach, AttachError, DetachError, Target};
pub(crate) use report::{NetnsReport, SandboxReport};
pub(crate) use service::Service;

use self::{
    namespaces::Namespaces,
    serve::Tally,
    store::Store,
    watchdog::{Leash, Links, Losses},
};
use crate::{
    address::SandboxId,
    kernel::{
        Capabilities, Cgroup, CgroupError, Event, Events, Hierarchy, LinkError, LoadError,
        Programs, SelfTestError, SocketWatch, self_test,
    },
    secrets::SecretName,
};

/// How often namespaces and cgroups are looked at for ones that ended.
const SWEEP: Duration = Duration::from_secs(5);

/// Where a registry keeps what outlives it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// State of the sandboxes goes to `sandboxes/` below it.
    pub(crate) run_dir: PathBuf,
    /// Pins; inside a BPF file system, which is mounted if it can be.
    pub(crate) bpf_dir: PathBuf,
}

/// Why there is no registry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    #[error(transparent)]
    Pins(#[from] LinkError),
    #[error("cannot keep the state of sandboxes in {path}")]
    Store {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot read the kernel's events")]
    Events(#[source] std::io::Error),
    #[error("the registry was stopped while it started")]
    Stopped,
}

/// One attached cgroup.
#[derive(Clone, Debug)]
struct Sandbox {
    name: String,
    cgroup: Cgroup,
    secrets: Vec<SecretName>,
    attached: SystemTime,
    capabilities: Vec<Capabilities>,
    sockets: Arc<SocketWatch>,
}

/// What is behind the one lock: attach, detach, new namespaces and sweeps take turns.
#[derive(Default)]
struct State {
    sandboxes: BTreeMap<SandboxId, Sandbox>,
    namespaces: Namespaces,
    links: Links,
}

struct Inner<S> {
    programs: Arc<Programs>,
    hierarchy: Hierarchy,
    store: Store,
    service: Arc<S>,
    tally: Arc<Tally>,
    losses: Losses,
    leash: Leash,
    state: Mutex<State>,
}

/// All sandboxes of one daemon.
pub(crate) struct Registry<S> {
    inner: Arc<Inner<S>>,
    /// Callers may live on another runtime; sockets and tasks belong to this one.
    runtime: Handle,
    /// They end with it.
    tasks: Mutex<JoinSet<()>>,
}

impl<S: Service> Registry<S> {
    /// Tries the kernel out, loads the programs, and adopts every sandbox that stands. When it returns, their
    /// connects are served again.
    ///
    /// # Errors
    /// Anything that would leave sandboxes half-protected. What stands stays closed.
    pub(crate) async fn start(settings: Settings, service: Arc<S>) -> Result<Self, StartError> {
        let store = Store::open(&settings.run_dir).map_err(|source| StartError::Store {
            path: settings.run_dir.clone(),
            source,
        })?;
        let (hierarchy, programs) = blocking(move || {
            let hierarchy = Hierarchy::find()?;
            self_test(&Programs::trial()?, &hierarchy)?;
            let programs = Programs::pinned(&settings.bpf_dir)?;
            Ok::<_, StartError>((hierarchy, programs))
        })
        .await
        .map_err(|_stopped| StartError::Stopped)??;
        let events = programs.events().ok_or(StartError::Stopped)?;
        let events = events.map_err(StartError::Events)?;
        let inner = Arc::new(Inner {
            programs: Arc::new(programs),
            hierarchy,
            store,
            service,
            tally: Arc::default(),
            losses: Losses::default(),
            leash: Leash::default(),
            state: Mutex::default(),
        });
        inner.adopt_all().await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&inner).watch(events));
        tasks.spawn(Arc::clone(&inner).keep_sweeping());
        tasks.spawn(Arc::clone(&inner).keep_watching());
        Ok(Self {
            inner,
            runtime: Handle::current(),
            tasks: Mutex::new(tasks),
        })
    }

    /// Closes a cgroup and everything below it. When it returns, there are listeners in every namespace that a
    /// process of it is in, and it runs to its end even if the caller does not wait.
    pub(crate) async fn attach(&self, request: Attach) -> Result<SandboxReport, AttachError> {
        let inner = Arc::clone(&self.inner);
        let done = self
            .runtime
            .spawn(async move { inner.attach(request).await });
        done.await.unwrap_or(Err(AttachError::Stopping))
    }

    /// Opens a sandbox again, given by its number or its name, and ends its connections.
    pub(crate) async fn detach(&self, sandbox: &str) -> Result<SandboxReport, DetachError> {
        let inner = Arc::clone(&self.inner);
        let sandbox = sandbox.to_owned();
        let done = self
            .runtime
            .spawn(async move { inner.detach(&sandbox).await });
        done.await.unwrap_or(Err(DetachError::Stopping))
    }

    pub(crate) async fn list(&self) -> Vec<SandboxReport> {
        let state = self.inner.state.lock().await;
        state.reports(&self.inner.programs)
    }

    /// Whether every sandbox is as closed as it is to be.
    ///
    /// # Errors
    /// A program is missing from one, and could not be put back.
    pub(crate) async fn guarded(&self) -> Result<(), String> {
        self.inner.state.lock().await.trouble().map_or(Ok(()), Err)
    }

    /// Makes all sandboxes known to the service again, after the configuration changed. Errors are logged: a sandbox
    /// that the configuration no longer has stays closed.
    pub(crate) async fn enroll_again(&self) {
        let state = self.inner.state.lock().await;
        for (id, sandbox) in &state.sandboxes {
            self.inner.enroll_adopted(*id, sandbox);
        }
    }

    /// The sandbox that a process is in.
    ///
    /// # Errors
    /// It cannot be told.
    pub(crate) fn of_process(&self, pid: u32) -> Result<Option<SandboxId>, CgroupError> {
        let cgroup = self.inner.hierarchy.of_process(pid)?;
        // What the programs go by.
        let closed = self.inner.programs.sandboxes();
        Ok(cgroup.path().ancestors().find_map(|path| {
            let inode = std::fs::metadata(path).ok()?.ino();
            let (_, id) = closed.iter().find(|(cgroup, _)| cgroup.0 == inode)?;
            Some(*id)
        }))
    }

    /// What programs and listeners have counted, by name.
    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut counters = self.inner.programs.counters();
        counters.extend(self.inner.tally.counts());
        counters.extend(self.inner.losses.counts());
        counters
    }

    /// Stops listening. Links and pins stay: the sandboxes are closed, not open, until a daemon adopts them, which it
    /// can when this registry is dropped.
    pub(crate) async fn shutdown(&self) {
        // Waits for their end: until then they hold on to the pins.
        self.tasks.lock().await.shutdown().await;
        self.inner.leash.stop().await;
        self.inner.state.lock().await.namespaces.close_all().await;
    }
}

impl<S: Service> Inner<S> {
    async fn watch(self: Arc<Self>, mut events: Events) {
        loop {
            match events.next().await {
                Ok(Event::NetnsAppeared(appeared)) => self.welcome(appeared).await,
                Ok(Event::Denied(denial)) => self.service.report(denial),
                Err(error) => {
                    tracing::error!(%error, "cannot read the kernel's events: new namespaces stay without listeners");
                    tokio::time::sleep(SWEEP).await;
                }
            }
        }
    }

    async fn keep_sweeping(self: Arc<Self>) {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sweep().await;
        }
    }
}

/// Runs what may wait for the kernel or walk /proc.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    tokio::task::spawn_blocking(work).await
}

//! Sandboxes: attaching and detaching, their listeners in every network namespace, their lives across restarts.
//!
//! What stands in the kernel (links, maps) and in the run directory (names, secrets) outlives the daemon. A daemon that
//! ends, in whatever way, leaves its sandboxes closed; the next one adopts them. Only `detach` opens a sandbox.

mod adopt;
mod attach;
mod inherit;
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
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::Handle,
    select,
    sync::{Mutex, Notify, watch},
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval},
};

pub(crate) use attach::{Attach, AttachError, DetachError, Which};
pub(crate) use inherit::{Bequest, Frozen, Successor};
pub(crate) use report::{NetnsReport, SandboxReport};
pub(crate) use service::Service;

use self::{
    namespaces::Namespaces,
    serve::Tally,
    store::Store,
    watchdog::{Leash, Links, Losses},
};
use crate::{
    address::{CgroupId, SandboxId},
    kernel::{
        Capabilities, Cgroup, CgroupError, Event, Events, Hierarchy, LinkError, LoadError,
        Programs, SelfTestError, SocketWatch, pinned_sandboxes, self_test,
    },
    locate::Identity,
    secrets::SecretName,
};

/// How often namespaces and cgroups are looked at for ones that ended.
const SWEEP: Duration = Duration::from_secs(5);

/// A kernel that has shown in a scratch cgroup that it does what is needed.
#[derive(Debug)]
pub(crate) struct Proven {
    hierarchy: Hierarchy,
    /// Whether sockets of other families are refused, or why they cannot be.
    families: Result<(), String>,
}

/// Programs that are in the kernel, on the pinned maps, and on no cgroup yet.
pub(crate) struct Loaded {
    hierarchy: Hierarchy,
    programs: Programs,
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
    #[error("cannot serve the listeners of the daemon to take over from")]
    Inherited(#[source] std::io::Error),
    #[error("the registry was stopped while it started")]
    Stopped,
}

/// One attached cgroup.
#[derive(Clone, Debug)]
struct Sandbox {
    name: String,
    cgroup: Cgroup,
    /// Whose the cgroup is, where that is known.
    identity: Option<Identity>,
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
    state: Arc<Mutex<State>>,
    /// Held while one is waited for and dealt with.
    events: Arc<Mutex<Events>>,
    /// Asks the reader of events to let go of them for a moment.
    pausing: Notify,
    /// Turns true when another daemon has taken over.
    surrendered: watch::Sender<bool>,
}

/// All sandboxes of one daemon.
pub(crate) struct Registry<S> {
    inner: Arc<Inner<S>>,
    /// Callers may live on another runtime; sockets and tasks belong to this one.
    runtime: Handle,
    /// They end with it.
    tasks: Mutex<JoinSet<()>>,
}

impl Proven {
    /// Tries the kernel out; touches nothing that another daemon has.
    pub(crate) async fn try_out() -> Result<Self, StartError> {
        blocking(move || {
            let hierarchy = Hierarchy::find()?;
            let families = self_test(&Programs::trial()?, &hierarchy)?;
            Ok(Self {
                hierarchy,
                families,
            })
        })
        .await
        .map_err(|_stopped| StartError::Stopped)?
    }

    /// `bpf_dir` lies inside a BPF file system, which is mounted if it can be.
    pub(crate) async fn load(self, bpf_dir: PathBuf) -> Result<Loaded, StartError> {
        self.load_by(move || Programs::pinned(&bpf_dir)).await
    }

    /// The same beside a daemon that shares the lock on its pins.
    pub(crate) async fn load_beside(
        self,
        bpf_dir: PathBuf,
        lock: OwnedFd,
    ) -> Result<Loaded, StartError> {
        self.load_by(move || Programs::shared(&bpf_dir, lock)).await
    }

    async fn load_by(
        self,
        load: impl FnOnce() -> Result<Programs, LoadError> + Send + 'static,
    ) -> Result<Loaded, StartError> {
        let programs = blocking(load)
            .await
            .map_err(|_stopped| StartError::Stopped)??;
        Ok(Loaded {
            hierarchy: self.hierarchy,
            programs: programs.with_families(self.families),
        })
    }
}

impl<S: Service> Registry<S> {
    /// Adopts every sandbox that stands. When it returns, their connects are served again. Their state is kept in
    /// `sandboxes/` below `run_dir`.
    ///
    /// # Errors
    /// Anything that would leave sandboxes half-protected. What stands stays closed.
    pub(crate) async fn start(
        run_dir: &Path,
        loaded: Loaded,
        service: Arc<S>,
    ) -> Result<Self, StartError> {
        let inner = Inner::new(run_dir, loaded, service)?;
        inner.adopt_all().await?;
        Ok(Self::running(inner))
    }

    fn running(inner: Arc<Inner<S>>) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&inner).watch());
        tasks.spawn(Arc::clone(&inner).keep_sweeping());
        tasks.spawn(Arc::clone(&inner).keep_watching());
        Self {
            inner,
            runtime: Handle::current(),
            tasks: Mutex::new(tasks),
        }
    }

    /// Closes a cgroup and everything below it. When it returns, there are listeners in every namespace that a
    /// process of it is in, and it runs to its end even if the caller does not wait.
    pub(crate) async fn attach(&self, request: Attach) -> Result<SandboxReport, AttachError> {
        let inner = Arc::clone(&self.inner);
        let done = self.runtime.spawn(async move {
            let mut surrendered = inner.surrendered.subscribe();
            select! {
                biased;
                _ = surrendered.wait_for(|gone| *gone) => Err(AttachError::Stopping),
                attached = inner.attach(request) => attached,
            }
        });
        done.await.unwrap_or(Err(AttachError::Stopping))
    }

    /// Opens a sandbox again, and ends its connections.
    pub(crate) async fn detach(
        &self,
        sandbox: impl Into<Which>,
    ) -> Result<SandboxReport, DetachError> {
        let (inner, sandbox) = (Arc::clone(&self.inner), sandbox.into());
        let done = self.runtime.spawn(async move {
            let mut surrendered = inner.surrendered.subscribe();
            select! {
                biased;
                _ = surrendered.wait_for(|gone| *gone) => Err(DetachError::Stopping),
                detached = inner.detach(sandbox) => detached,
            }
        });
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
            self.inner.exempt_adopted(*id, sandbox);
            self.inner.enroll_adopted(*id, sandbox);
        }
    }

    /// The sandbox that a process is in.
    ///
    /// # Errors
    /// It cannot be told.
    pub(crate) fn of_process(&self, pid: u32) -> Result<Option<SandboxId>, CgroupError> {
        // What the programs go by.
        let closed = self.inner.programs.sandboxes();
        among(&closed, &self.inner.hierarchy, pid)
    }

    /// What programs and listeners have counted, by name.
    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut counters = self.inner.programs.counters();
        counters.extend(self.inner.tally.counts());
        counters.extend(self.inner.losses.counts());
        counters
    }

    /// The lock on the pins, for a daemon that takes over.
    pub(crate) fn lock(&self) -> Option<BorrowedFd<'_>> {
        self.inner.programs.lock()
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
    fn new(run_dir: &Path, loaded: Loaded, service: Arc<S>) -> Result<Arc<Self>, StartError> {
        let Loaded {
            hierarchy,
            programs,
        } = loaded;
        let store = Store::open(run_dir).map_err(|source| StartError::Store {
            path: run_dir.to_owned(),
            source,
        })?;
        let events = programs.events().ok_or(StartError::Stopped)?;
        let events = events.map_err(StartError::Events)?;
        Ok(Arc::new(Self {
            programs: Arc::new(programs),
            hierarchy,
            store,
            service,
            tally: Arc::default(),
            losses: Losses::default(),
            leash: Leash::default(),
            state: Arc::default(),
            events: Arc::new(Mutex::new(events)),
            pausing: Notify::new(),
            surrendered: watch::Sender::new(false),
        }))
    }

    async fn watch(self: Arc<Self>) {
        loop {
            let mut events = self.events.lock().await;
            let event = select! {
                biased;
                () = self.pausing.notified() => continue,
                event = events.next() => event,
            };
            match event {
                Ok(Event::NetnsAppeared(appeared)) => self.welcome(appeared).await,
                Ok(Event::Denied(denial)) => self.service.report(denial),
                Ok(Event::Asked(question)) => self.answer_late(question).await,
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

/// The sandbox that a process is in, for a daemon that has given up its registry.
///
/// # Errors
/// It cannot be told.
pub(crate) fn sandbox_of(bpf_dir: &Path, pid: u32) -> Result<Option<SandboxId>, LinkError> {
    let hierarchy = Hierarchy::find()?;
    Ok(among(&pinned_sandboxes(bpf_dir)?, &hierarchy, pid)?)
}

fn among(
    closed: &[(CgroupId, SandboxId)],
    hierarchy: &Hierarchy,
    pid: u32,
) -> Result<Option<SandboxId>, CgroupError> {
    let cgroup = hierarchy.of_process(pid)?;
    Ok(cgroup.path().ancestors().find_map(|path| {
        let inode = std::fs::metadata(path).ok()?.ino();
        let (_, id) = closed.iter().find(|(cgroup, _)| cgroup.0 == inode)?;
        Some(*id)
    }))
}

/// Runs what may wait for the kernel or walk /proc.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    tokio::task::spawn_blocking(work).await
}

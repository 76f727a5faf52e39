//! Wires the rooms: start, reload, take over, drain.

mod admission;
mod assembly;
mod authority;
mod backend;
mod draining;
mod giving;
mod limits;
mod matched;
mod predecessors;
mod rejection;
mod reload;
mod taking;
mod trusting;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};

use self::{assembly::Assembly, backend::Interceptor, draining::Draining, giving::Taken};
use crate::{
    config::{self, Faults},
    control::{
        listener::{BindError, ControlListener, Shared},
        metrics::Metrics,
        server::Server,
    },
    error::chain,
    flow::Engine,
    handover::{Channel, Door, HandoverError},
    kernel::{enter_cgroup_namespace_of_host, refuse_the_needless},
    sandbox::{Proven, Registry, StartError},
    tls::{ca::CaError, leaf::MintError, upstream::RootsError},
};

/// How long connections may go on after SIGTERM before they are closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `interceptor run` is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) bpf_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
    /// From a daemon that runs, if there is one.
    pub(crate) takeover: bool,
    /// How long connections may go on after another daemon has taken over.
    pub(crate) drain: Duration,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("cannot enter the host's cgroup namespace")]
    CgroupNamespace(#[source] io::Error),
    #[error("the daemon does not start")]
    Configuration(#[source] Faults),
    #[error("{} cannot be made", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("there is no certificate authority")]
    Authority(#[source] CaError),
    #[error("no certificates can be made")]
    Leaves(#[source] MintError),
    #[error("upstreams cannot be verified")]
    Roots(#[source] RootsError),
    #[error("the file of events cannot be opened")]
    Events(#[source] io::Error),
    #[error("metrics cannot be served")]
    Metrics(#[source] io::Error),
    #[error("the control socket cannot be opened")]
    Control(#[source] BindError),
    #[error("nothing was taken over, the daemon that runs goes on")]
    Handover(#[source] HandoverError),
    #[error("the configuration has become faulty while it was about to take over: {0}")]
    Reread(String),
    #[error("no other daemon could take over")]
    Door(#[source] HandoverError),
    #[error("sandboxes cannot be protected")]
    Sandboxes(#[source] StartError),
    #[error("the operating system refused a thread, a runtime, a signal handler or a limit")]
    System(#[source] io::Error),
}

/// Runs the daemon until SIGTERM or SIGINT, or until another one has taken over and its connections have ended.
///
/// # Errors
/// Whatever keeps it from protecting sandboxes in full; nothing is then left half-done.
pub(crate) fn run(settings: Settings) -> Result<(), RunError> {
    // Before anything secret is read.
    limits::set().map_err(RunError::System)?;
    enter_cgroup_namespace_of_host().map_err(RunError::CgroupNamespace)?;
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RunError::System)?;
    let ended = runtime.block_on(serve(settings));
    // A thread may be stuck in a file system that does not answer.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(settings: Settings) -> Result<(), RunError> {
    let snapshot = config::load(&settings.config).map_err(RunError::Configuration)?;
    snapshot.log_reports();
    let signals = Signals::new()?;
    let other = if settings.takeover {
        Channel::open(&settings.run_dir).map_err(RunError::Handover)?
    } else {
        None
    };
    let standing = match other {
        Some(channel) => {
            let assembly = Assembly::new(&settings, snapshot)?;
            taking::take_over(settings, assembly, channel).await?
        }
        None => {
            // First of all: a second daemon must not touch what the first one holds.
            let control = ControlListener::bind(&settings.run_dir).map_err(RunError::Control)?;
            let door = Door::bind(&settings.run_dir).map_err(RunError::Door)?;
            let assembly = Assembly::new(&settings, snapshot)?;
            start(settings, assembly, control, door).await?
        }
    };
    standing.serve(signals).await
}

async fn start(
    settings: Settings,
    assembly: Assembly,
    control: ControlListener,
    door: Door,
) -> Result<Standing, RunError> {
    assembly.publish(&settings).map_err(RunError::Authority)?;
    let proven = Proven::try_out().await.map_err(RunError::Sandboxes)?;
    let loaded = proven.load(settings.bpf_dir.clone()).await;
    let loaded = loaded.map_err(RunError::Sandboxes)?;
    let engine = Arc::clone(&assembly.engine);
    let registry = Registry::start(&settings.run_dir, loaded, engine).await;
    let registry = registry.map_err(RunError::Sandboxes)?;
    Standing::new(settings, assembly, registry, control, door)
}

/// A daemon that serves.
struct Standing {
    interceptor: Arc<Interceptor>,
    engine: Arc<Engine>,
    control: Server,
    metrics: Option<Metrics>,
    /// For a daemon that takes over.
    shared: Shared,
    door: Door,
    settings: Settings,
}

impl Standing {
    fn new(
        settings: Settings,
        assembly: Assembly,
        registry: Registry<Engine>,
        control: ControlListener,
        door: Door,
    ) -> Result<Self, RunError> {
        let engine = Arc::clone(&assembly.engine);
        let address = engine.configuration().snapshot.metrics();
        let interceptor = Arc::new(Interceptor::new(
            settings.clone(),
            assembly.engine,
            registry,
            assembly.stats,
        ));
        let metrics = address.map(|address| {
            engine.keep_to_itself(address);
            Metrics::start(address, Arc::clone(&interceptor))
        });
        let metrics = metrics.transpose().map_err(RunError::Metrics)?;
        let shared = control.share().map_err(RunError::System)?;
        let control = Server::start(control, Arc::clone(&interceptor)).map_err(RunError::System)?;
        Ok(Self {
            interceptor,
            engine,
            control,
            metrics,
            shared,
            door,
            settings,
        })
    }

    async fn serve(self, mut signals: Signals) -> Result<(), RunError> {
        let matcher = tokio::spawn(matched::attach_matched(Arc::clone(&self.interceptor)));
        let truster = tokio::spawn(trusting::keep_trusting(Arc::clone(&self.interceptor)));
        refuse_the_needless().map_err(RunError::System)?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
        let taken = {
            let mut taken = Box::pin(giving::until_taken(&self));
            // Beside a handover, which may wait for them or they for it.
            let mut reloads = JoinSet::new();
            loop {
                tokio::select! {
                    _ = signals.hangup.recv() => {
                        let interceptor = Arc::clone(&self.interceptor);
                        // What comes of it is in the log.
                        reloads.spawn(async move { drop(interceptor.reload().await) });
                    }
                    Some(_) = reloads.join_next() => {}
                    () = signals.end.asked() => break None,
                    taken = &mut taken => break Some(taken),
                }
            }
        };
        matcher.abort();
        truster.abort();
        let stats = Arc::clone(self.interceptor.stats());
        match taken {
            Some(taken) => {
                let parting = parting(&self, taken).await;
                self.drain(parting, signals.end).await;
            }
            None => {
                tracing::info!("draining: sandboxes stay closed until a daemon runs again");
                let Self {
                    interceptor,
                    engine,
                    control,
                    metrics,
                    ..
                } = self;
                drop((control, metrics));
                interceptor.registry().shutdown().await;
                engine.drain(PATIENCE).await;
            }
        }
        stats.journal(None).map_err(RunError::Events)
    }

    /// Another daemon serves the sandboxes: this one lets go of all that they share, and finishes its connections.
    async fn drain(self, parting: Option<Server>, mut end: End) {
        let Self {
            interceptor,
            engine,
            control,
            metrics,
            shared,
            door,
            settings,
        } = self;
        drop(metrics);
        // It waits for requests under way.
        let left = tokio::task::spawn_blocking(move || control.surrender());
        door.leave();
        drop(shared);
        drop(interceptor);
        tracing::info!("another daemon has taken over: this one finishes its connections");
        tokio::select! {
            () = engine.drain(settings.drain) => tracing::info!("all connections have ended"),
            () = end.asked() => engine.drain(PATIENCE).await,
        }
        if left.await.is_err() {
            tracing::error!("the control thread did not end in order");
        }
        drop(parting);
    }
}

/// Gives up everything but connections. Returns what the other daemon reaches this one by.
async fn parting(standing: &Standing, taken: Taken) -> Option<Server> {
    let interceptor = &standing.interceptor;
    let draining = Draining::new(
        standing.settings.clone(),
        Arc::clone(&standing.engine),
        Arc::clone(interceptor.stats()),
    );
    let bound = ControlListener::bind_draining(&standing.settings.run_dir).map_err(|error| {
        tracing::error!(
            error = chain(&error),
            "the other daemon cannot reach this one"
        );
    });
    let served = bound.ok().and_then(|socket| {
        let served = Server::start(socket, Arc::new(draining));
        served
            .map_err(|error| tracing::error!(%error, "the other daemon cannot reach this one"))
            .ok()
    });
    taken.surrender(interceptor).await;
    served
}

/// What an operator says by signals.
struct Signals {
    hangup: Signal,
    end: End,
}

struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, RunError> {
        let listen = |kind| signal(kind).map_err(RunError::System);
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            end: End {
                terminate: listen(SignalKind::terminate())?,
                interrupt: listen(SignalKind::interrupt())?,
            },
        })
    }
}

impl End {
    /// Waits until the daemon is to end.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

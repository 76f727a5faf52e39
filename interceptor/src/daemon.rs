//! Wires the rooms: start, reload, take over, drain.

mod admission;
mod assembly;
mod authority;
mod backend;
mod draining;
mod giving;
mod leaving;
mod limits;
mod matched;
mod predecessors;
mod rejection;
mod reload;
mod taking;
mod trusting;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{runtime, task::JoinSet, time::sleep};

use self::{assembly::Assembly, backend::Interceptor, leaving::Signals};
use crate::{
    config::{self, Faults},
    control::{
        listener::{BindError, ControlListener, Shared},
        metrics::{Metrics, Place},
        server::Server,
    },
    error::chain,
    flow::Engine,
    handover::{Channel, Door, HandoverError},
    kernel::{enter_cgroup_namespace_of_host, refuse_the_needless},
    sandbox::{Proven, Registry, StartError},
    tls::{ca::CaError, leaf::MintError, upstream::RootsError},
};

/// To take over from a daemon that ends meanwhile, or to begin in its stead: for as long as it takes to let go of its locks.
const ATTEMPTS: u32 = 10;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(500);

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
    /// Whether it stays until SIGTERM when those have ended.
    pub(crate) linger: bool,
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
    let signals = Signals::new()?;
    let mut attempt = 1;
    let standing = loop {
        match begin(settings.clone()).await {
            // The other one was told to end meanwhile: a moment later there is nobody, and nothing to take over.
            Err(
                error @ (RunError::Handover(HandoverError::Closed)
                | RunError::Control(BindError::Running(_))),
            ) if settings.takeover && attempt < ATTEMPTS => {
                tracing::warn!(error = chain(&error), "it begins anew");
                attempt += 1;
                sleep(BETWEEN_ATTEMPTS).await;
            }
            begun => break begun?,
        }
    };
    standing.serve(signals).await
}

async fn begin(settings: Settings) -> Result<Standing, RunError> {
    let snapshot = config::load(&settings.config).map_err(RunError::Configuration)?;
    snapshot.log_reports();
    let other = if settings.takeover {
        Channel::open(&settings.run_dir).map_err(RunError::Handover)?
    } else {
        None
    };
    match other {
        Some(channel) => {
            let assembly = Assembly::new(&settings, snapshot)?;
            taking::take_over(settings, assembly, channel).await
        }
        None => {
            // First of all: a second daemon must not touch what the first one holds.
            let control = ControlListener::bind(&settings.run_dir).map_err(RunError::Control)?;
            let door = Door::bind(&settings.run_dir).map_err(RunError::Door)?;
            let assembly = Assembly::new(&settings, snapshot)?;
            start(settings, assembly, control, door).await
        }
    }
}

async fn start(
    settings: Settings,
    assembly: Assembly,
    control: ControlListener,
    door: Door,
) -> Result<Standing, RunError> {
    let metrics = assembly.place_of_metrics()?;
    let shared = control.share().map_err(RunError::System)?;
    assembly.publish(&settings).map_err(RunError::Authority)?;
    let proven = Proven::try_out().await.map_err(RunError::Sandboxes)?;
    let loaded = proven.load(settings.bpf_dir.clone()).await;
    let loaded = loaded.map_err(RunError::Sandboxes)?;
    let engine = Arc::clone(&assembly.engine);
    let registry = Registry::start(&settings.run_dir, loaded, engine).await;
    let registry = registry.map_err(RunError::Sandboxes)?;
    let mut standing = Standing::new(settings, assembly, registry, shared, door);
    standing.show(metrics)?;
    standing.listen(control)?;
    Ok(standing)
}

/// A daemon that serves.
struct Standing {
    interceptor: Arc<Interceptor>,
    engine: Arc<Engine>,
    control: Option<Server>,
    metrics: Option<Metrics>,
    /// For a daemon that takes over.
    shared: Shared,
    door: Door,
    settings: Settings,
}

impl Standing {
    /// Serves sandboxes, and nobody else yet.
    fn new(
        settings: Settings,
        assembly: Assembly,
        registry: Registry<Engine>,
        shared: Shared,
        door: Door,
    ) -> Self {
        let Assembly { engine, stats } = assembly;
        let interceptor = Interceptor::new(settings.clone(), Arc::clone(&engine), registry, stats);
        Self {
            interceptor: Arc::new(interceptor),
            engine,
            control: None,
            metrics: None,
            shared,
            door,
            settings,
        }
    }

    fn show(&mut self, place: Option<Place>) -> Result<(), RunError> {
        let Some(place) = place else {
            return Ok(());
        };
        self.engine.keep_to_itself(place.address());
        let started = Metrics::start(place, Arc::clone(&self.interceptor));
        self.metrics = Some(started.map_err(RunError::Metrics)?);
        Ok(())
    }

    fn listen(&mut self, control: ControlListener) -> Result<(), RunError> {
        let started = Server::start(control, Arc::clone(&self.interceptor));
        self.control = Some(started.map_err(RunError::System)?);
        Ok(())
    }

    async fn serve(self, mut signals: Signals) -> Result<(), RunError> {
        let mut aside = JoinSet::new();
        aside.spawn(matched::attach_matched(Arc::clone(&self.interceptor)));
        aside.spawn(trusting::keep_trusting(Arc::clone(&self.interceptor)));
        // What drains may have been left by a daemon that has died, under a configuration of long ago.
        let interceptor = Arc::clone(&self.interceptor);
        aside.spawn(async move { drop(interceptor.lead().await) });
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
        aside.shutdown().await;
        let stats = Arc::clone(self.interceptor.stats());
        match taken {
            Some(taken) => self.drain(taken, signals.end).await,
            None => self.end().await,
        }
        stats.journal(None).map_err(RunError::Events)
    }
}

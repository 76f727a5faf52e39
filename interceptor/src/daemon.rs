//! Wires the rooms: start, reload, drain.

mod backend;
mod limits;
mod matched;
mod reload;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use self::backend::Interceptor;
use crate::{
    config::{self, Faults, Snapshot},
    control::{
        listener::{BindError, ControlListener},
        metrics::Metrics,
        server::Server,
    },
    flow::{Configuration, Engine},
    kernel::refuse_the_needless,
    sandbox::{self, Registry, StartError},
    stats::Stats,
    tls::{
        ca::{CaError, CertificateAuthority},
        leaf::{Leaves, MintError},
        upstream::{Connector, RootsError},
    },
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
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
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
    #[error("sandboxes cannot be protected")]
    Sandboxes(#[source] StartError),
    #[error("the operating system refused a thread, a runtime, a signal handler or a limit")]
    System(#[source] io::Error),
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from protecting sandboxes in full; nothing is then left half-done.
pub(crate) fn run(settings: Settings) -> Result<(), RunError> {
    // Before anything secret is read.
    limits::set().map_err(RunError::System)?;
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
    // First of all: a second daemon must not touch what the first one holds.
    let socket = ControlListener::bind(&settings.run_dir).map_err(RunError::Control)?;
    let mut hangup = signals(SignalKind::hangup())?;
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;

    let authority = Arc::new(authority(&snapshot, &settings.data_dir)?);
    authority
        .write_public(&settings.run_dir)
        .map_err(RunError::Authority)?;
    let leaves = Leaves::new(authority).map_err(RunError::Leaves)?;
    let connector = Connector::new(snapshot.extra_roots(), snapshot.client_certificates())
        .map_err(RunError::Roots)?;
    let metrics = snapshot.metrics();
    let stats = Arc::new(Stats::default());
    stats
        .journal(snapshot.events_file())
        .map_err(RunError::Events)?;
    let configuration = Configuration {
        snapshot,
        connector,
    };
    let engine =
        Engine::new(configuration, leaves, Arc::clone(&stats)).map_err(RunError::System)?;
    let engine = Arc::new(engine);

    let registry_settings = sandbox::Settings {
        run_dir: settings.run_dir.clone(),
        bpf_dir: settings.bpf_dir.clone(),
    };
    let registry = Registry::start(registry_settings, Arc::clone(&engine))
        .await
        .map_err(RunError::Sandboxes)?;
    let interceptor = Arc::new(Interceptor::new(
        settings,
        Arc::clone(&engine),
        registry,
        Arc::clone(&stats),
    ));
    let metrics = metrics
        .map(|address| {
            engine.keep_to_itself(address);
            Metrics::start(address, Arc::clone(&interceptor))
        })
        .transpose()
        .map_err(RunError::Metrics)?;
    let control = Server::start(socket, Arc::clone(&interceptor)).map_err(RunError::System)?;
    let matcher = tokio::spawn(matched::attach_matched(Arc::clone(&interceptor)));
    refuse_the_needless().map_err(RunError::System)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");

    loop {
        tokio::select! {
            _ = hangup.recv() => reload(&interceptor).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }

    tracing::info!("draining: sandboxes stay closed until a daemon runs again");
    matcher.abort();
    drop((control, metrics));
    interceptor.registry().shutdown().await;
    engine.drain(PATIENCE).await;
    stats.journal(None).map_err(RunError::Events)
}

async fn reload(interceptor: &Interceptor) {
    if let Err(refusal) = interceptor.reload().await {
        tracing::error!("{}", refusal.error);
        for fault in &refusal.detail {
            tracing::error!("{fault}");
        }
    }
}

fn authority(snapshot: &Snapshot, data_dir: &Path) -> Result<CertificateAuthority, RunError> {
    match snapshot.ca() {
        Some(files) => CertificateAuthority::load(&files.certificate, &files.key),
        None => {
            make_directory(data_dir)?;
            CertificateAuthority::load_or_create(data_dir)
        }
    }
    .map_err(RunError::Authority)
}

fn make_directory(path: &Path) -> Result<(), RunError> {
    std::fs::create_dir_all(path).map_err(|source| RunError::Directory {
        path: path.to_owned(),
        source,
    })
}

fn signals(kind: SignalKind) -> Result<Signal, RunError> {
    signal(kind).map_err(RunError::System)
}

//! How a daemon stops: for good, or since another one has taken over.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{RunError, Standing, draining::Draining, giving::Taken};
use crate::{
    control::{listener::ControlListener, server::Server},
    error::chain,
};

/// How long connections may go on after SIGTERM before they are closed.
const PATIENCE: Duration = Duration::from_secs(5);

impl Standing {
    /// For good: sandboxes are closed until a daemon runs again.
    pub(super) async fn end(self) {
        tracing::info!("draining: sandboxes stay closed until a daemon runs again");
        let Self {
            interceptor,
            engine,
            control,
            metrics,
            shared,
            door,
            settings: _,
        } = self;
        // A daemon that is to take over finds nobody, and begins by itself as soon as all locks are free.
        drop(door);
        drop((control, metrics));
        interceptor.registry().shutdown().await;
        drop(interceptor);
        drop(shared);
        engine.drain(PATIENCE).await;
    }

    /// Another daemon serves the sandboxes: this one lets go of all that they share, and finishes its connections.
    pub(super) async fn drain(self, taken: Taken, mut end: End) {
        let draining = Arc::new(Draining::new(
            self.settings.clone(),
            Arc::clone(&self.engine),
            Arc::clone(self.interceptor.stats()),
        ));
        let parting = parting(&self.settings.run_dir, &draining);
        taken.surrender(&self.interceptor).await;
        let Self {
            interceptor,
            engine,
            control,
            metrics,
            shared,
            door,
            settings,
        } = self;
        // It waits for requests under way.
        let left = tokio::task::spawn_blocking(move || control.map(Server::surrender));
        door.leave();
        drop(shared);
        drop(interceptor);
        // Whatever starts it again when it ends also asks whether it lives, at an address that no successor wants.
        let metrics = metrics.filter(|_| settings.linger);
        let metrics = metrics.and_then(|metrics| {
            let served = metrics.hand_on(draining);
            served
                .map_err(|error| tracing::error!(%error, "metrics are served no more"))
                .ok()
        });
        tracing::info!("another daemon has taken over: this one finishes its connections");
        let limit = match &parting {
            Some(_) => settings.drain,
            None => {
                tracing::error!(
                    "connections are closed: nobody could tell when one is no longer allowed"
                );
                Duration::ZERO
            }
        };
        select! {
            () = engine.drain(limit) => tracing::info!("all connections have ended"),
            () = end.insisted() => engine.drain(PATIENCE).await,
        }
        if left.await.is_err() {
            tracing::error!("the control thread did not end in order");
        }
        drop((parting, engine));
        if settings.linger {
            end.told().await;
        }
        drop(metrics);
    }
}

/// What the other daemon reaches this one by.
fn parting(run_dir: &Path, draining: &Arc<Draining>) -> Option<Server> {
    let unreachable = |error: &dyn std::error::Error| {
        tracing::error!(
            error = chain(error),
            "the other daemon cannot reach this one"
        )
    };
    let socket = ControlListener::bind_draining(run_dir)
        .map_err(|error| unreachable(&error))
        .ok()?;
    Server::start(socket, Arc::clone(draining))
        .map_err(|error| unreachable(&error))
        .ok()
}

/// What an operator says by signals.
pub(super) struct Signals {
    pub(super) hangup: Signal,
    pub(super) end: End,
}

pub(super) struct End {
    terminate: Signal,
    interrupt: Signal,
    /// A daemon that drains knows that it is to end.
    noted: bool,
}

impl Signals {
    pub(super) fn new() -> Result<Self, RunError> {
        let listen = |kind| signal(kind).map_err(RunError::System);
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            end: End {
                terminate: listen(SignalKind::terminate())?,
                interrupt: listen(SignalKind::interrupt())?,
                noted: false,
            },
        })
    }
}

impl End {
    /// Waits until the daemon is to end.
    pub(super) async fn asked(&mut self) {
        select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits until the daemon is to end before its connections have. Where a supervisor replaces one daemon by another
    /// the first SIGTERM says no more than that the other one is there.
    async fn insisted(&mut self) {
        select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {
                self.noted = true;
                return;
            }
        }
        self.noted = true;
        tracing::info!(
            "it ends with its connections: SIGINT, or SIGTERM once more, gives them five seconds"
        );
        self.asked().await;
    }

    /// Waits until the daemon is to end, if it has not been told so before.
    async fn told(&mut self) {
        if !self.noted {
            tracing::info!("it stays until SIGTERM");
            self.asked().await;
        }
    }
}

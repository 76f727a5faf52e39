//! Daemons that this one, or one before it, has taken over from: they finish their connections, and hear what happens.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use crate::{
    control::{
        api::{DrainingView, Order},
        client::{Client, ClientError},
        draining,
    },
    error::chain,
    stats::{
        Selection,
        view::{ConnectionView, EventView},
    },
};

/// For one of them to answer; they are asked all at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Found by their sockets: also those that a daemon left which has died since.
pub(super) struct Predecessors {
    directory: PathBuf,
}

impl Predecessors {
    pub(super) fn of(run_dir: &Path) -> Self {
        Self {
            directory: draining(run_dir),
        }
    }

    /// Tells all of them, and returns what went wrong, a line each.
    pub(super) async fn order(&self, order: Order) -> Vec<String> {
        let mut failures = Vec::new();
        for (socket, told) in self.ask(move |daemon| daemon.order(&order)).await {
            if let Err(error) = told {
                let name = socket.file_stem().unwrap_or_default().to_string_lossy();
                let line = format!("daemon {name}, which drains, does not follow: {error}");
                tracing::error!("{line}");
                failures.push(line);
            }
        }
        failures
    }

    /// Their connections, each marked.
    pub(super) async fn connections(&self, ended: bool) -> Vec<ConnectionView> {
        let asked = self.ask(move |daemon| {
            let draining = Some(daemon.info()?.pid);
            let connections = daemon.connections(ended)?.into_iter();
            let marked = connections.map(|found| ConnectionView { draining, ..found });
            Ok(marked.collect::<Vec<_>>())
        });
        let mut connections: Vec<_> = answered(asked.await).flatten().collect();
        connections.sort_by_key(|connection| connection.id);
        connections
    }

    /// What they have refused.
    pub(super) async fn events(&self, selection: &Selection) -> Vec<EventView> {
        let selection = selection.clone();
        let asked = self.ask(move |client| {
            let daemon = client.info()?.pid;
            let of_it = Selection {
                sandbox: selection.sandbox.clone(),
                after: selection.after_of(daemon),
                seen: BTreeMap::new(),
            };
            let events = client.events(&of_it)?.into_iter();
            // An older release does not say so itself.
            let marked = events.map(|event| EventView { daemon, ..event });
            Ok(marked.collect::<Vec<_>>())
        });
        answered(asked.await).flatten().collect()
    }

    pub(super) async fn views(&self) -> Vec<DrainingView> {
        let asked = self.ask(|daemon| {
            let info = daemon.info()?;
            Ok(DrainingView {
                pid: info.pid,
                version: info.version,
                live_connections: info.live_connections,
            })
        });
        answered(asked.await).collect()
    }

    /// Asks all that live, each in a thread of its own.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&Client) -> Result<T, ClientError> + Clone + Send + 'static,
    ) -> Vec<(PathBuf, Result<T, String>)> {
        let mut asked = JoinSet::new();
        for socket in self.sockets() {
            let (question, path) = (question.clone(), socket.clone());
            let answer = spawn_blocking(move || question(&Client::of_draining(path)));
            asked.spawn(async move { (socket, timeout(PATIENCE, answer).await) });
        }
        let mut answers = Vec::new();
        for (socket, answer) in asked.join_all().await {
            let answer = match answer {
                Ok(Ok(Ok(answer))) => Ok(answer),
                Ok(Ok(Err(ClientError::NoDaemon(_)))) => {
                    remove(&socket);
                    continue;
                }
                Ok(Ok(Err(error))) => Err(chain(&error)),
                Ok(Err(error)) => Err(chain(&error)),
                Err(_elapsed) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            answers.push((socket, answer));
        }
        answers
    }

    fn sockets(&self) -> Vec<PathBuf> {
        match fs::read_dir(&self.directory) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::error!(path = %self.directory.display(), %error, "cannot look for daemons that drain");
                Vec::new()
            }
        }
    }
}

fn answered<T>(answers: Vec<(PathBuf, Result<T, String>)>) -> impl Iterator<Item = T> {
    answers.into_iter().filter_map(|(socket, answer)| {
        answer
            .inspect_err(|error| {
                tracing::warn!(path = %socket.display(), error, "a daemon that drains does not answer");
            })
            .ok()
    })
}

/// What a daemon left that has died.
fn remove(socket: &Path) {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %socket.display(), %error, "cannot remove a dead daemon's socket");
        }
        _ => {}
    }
}

//! Closing a cgroup, and opening it again.

use std::{io, path::PathBuf, sync::Arc, time::SystemTime};

use super::{
    Inner, Sandbox, Service, State, blocking,
    lookout::WelcomeError,
    report::{SandboxReport, uncontained},
    store::Record,
    survey::Survey,
};
use crate::{
    address::SandboxId,
    config::Existing,
    error::chain,
    flow::EnrollError,
    kernel::{Cgroup, CgroupError, LinkError, MapsError, Netns, Programs, SocketWatch},
    secrets::SecretName,
};

/// What is to become a sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Attach {
    /// Selects policies and secrets in the configuration.
    pub(crate) name: String,
    pub(crate) target: Target,
    /// Beyond those that the configuration gives.
    pub(crate) secrets: Vec<SecretName>,
    pub(crate) existing: Existing,
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    Cgroup(PathBuf),
    /// The cgroup that this process is in.
    Process(u32),
}

/// Why a cgroup is not a sandbox. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    #[error(
        "{0} is the root of the cgroup hierarchy and holds everything, the daemon too: choose a cgroup below it"
    )]
    Root(PathBuf),
    #[error("{0} holds the daemon itself: run the daemon in another cgroup, or choose one below")]
    HoldsDaemon(PathBuf),
    #[error("{path} is sandbox {id} ({name}) already")]
    Already {
        path: PathBuf,
        id: SandboxId,
        name: String,
    },
    #[error(
        "{path} overlaps with sandbox {id} ({name}) at {other}: one cgroup may not be inside the other"
    )]
    Overlaps {
        path: PathBuf,
        id: SandboxId,
        name: String,
        other: PathBuf,
    },
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error(transparent)]
    Welcome(#[from] WelcomeError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("cannot keep the sandbox's state")]
    Store(#[source] io::Error),
    #[error("the daemon is stopping, or another one has taken over: try again")]
    Stopping,
}

/// Why a sandbox is still closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DetachError {
    #[error("there is no sandbox {0:?}: `interceptor sandboxes` lists them")]
    Unknown(String),
    #[error(
        "several sandboxes are called {0:?}: give a number, `interceptor sandboxes` lists them"
    )]
    Ambiguous(String),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the daemon is stopping, or another one has taken over: try again")]
    Stopping,
}

impl<S: Service> Inner<S> {
    pub(super) async fn attach(&self, request: Attach) -> Result<SandboxReport, AttachError> {
        let mut state = self.state.lock().await;
        let cgroup = match &request.target {
            Target::Cgroup(path) => self.hierarchy.cgroup(path)?,
            Target::Process(pid) => self.hierarchy.of_process(*pid)?,
        };
        // Of one that was removed and made anew the old sandbox is in the way.
        let gone = state
            .sandboxes
            .iter()
            .filter(|(_, one)| !one.cgroup.exists());
        let gone: Vec<_> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            self.forget(&mut state, id).await;
        }
        self.check_place(&state, &cgroup)?;
        let id = self.next_id(&state).map_err(AttachError::Store)?;
        self.service.enroll(id, &request.name, &request.secrets)?;
        let sandbox = Sandbox {
            name: request.name,
            capabilities: uncontained(cgroup.clone()).await,
            sockets: Arc::new(SocketWatch::new(id, cgroup.clone(), request.existing)),
            cgroup,
            secrets: request.secrets,
            attached: SystemTime::now(),
        };
        state.sandboxes.insert(id, sandbox.clone());
        if let Err(error) = self.close(&mut state, id, &sandbox).await {
            self.undo(&mut state, id).await;
            return Err(error);
        }
        let sockets = self.clear_sockets(id, &sandbox).await;
        let mut report = state.report(id, &sandbox, &self.programs);
        report.sockets = sockets;
        tracing::info!(sandbox = %id, name = %sandbox.name, cgroup = %sandbox.cgroup.path().display(), "attached");
        for warning in &report.warnings {
            tracing::warn!(sandbox = %id, warning, "not contained");
        }
        for door in &report.doors {
            tracing::warn!(sandbox = %id, door, "left to seccomp");
        }
        Ok(report)
    }

    /// The record first: pins without one could be adopted only as a sandbox without a name. Listeners before links,
    /// so that no connect has to wait.
    async fn close(
        &self,
        state: &mut State,
        id: SandboxId,
        sandbox: &Sandbox,
    ) -> Result<(), AttachError> {
        self.store
            .save(&Record::of(id, sandbox))
            .map_err(AttachError::Store)?;
        self.exempt(id, &sandbox.name).map_err(LinkError::from)?;
        self.settle_all(state, id).await?;
        let (programs, cgroup) = (Arc::clone(&self.programs), sandbox.cgroup.clone());
        blocking(move || programs.attach(id, &cgroup))
            .await
            .map_err(|_stopped| AttachError::Stopping)??;
        Ok(())
    }

    /// Listeners in every namespace that the sandbox's processes are in.
    pub(super) async fn settle_all(
        &self,
        state: &mut State,
        id: SandboxId,
    ) -> Result<(), WelcomeError> {
        let parts = self.survey(state);
        let opened = blocking(move || {
            let tasks = Survey::take(parts.0, parts.1)?.namespaces_of(id);
            // A process that has gone since needs no listeners.
            let netns = tasks
                .into_iter()
                .filter_map(|(_, task)| Netns::of_task(task).ok());
            Ok(netns.collect::<Vec<_>>())
        });
        let opened = opened.await.map_err(|_stopped| WelcomeError::Stopping)?;
        for netns in opened.map_err(WelcomeError::Survey)? {
            match state.namespaces.get_mut(netns.cookie()) {
                Some(known) => {
                    known.users.insert(id);
                }
                None => self.settle(state, id, netns).await?,
            }
        }
        Ok(())
    }

    /// What the configuration lets a sandbox do without the daemon.
    pub(super) fn exempt(&self, id: SandboxId, name: &str) -> Result<(), MapsError> {
        self.programs.exempt(id, &self.service.exemptions(name))
    }

    /// Takes back what a failed attach has done.
    async fn undo(&self, state: &mut State, id: SandboxId) {
        if let Some(sandbox) = state.sandboxes.remove(&id) {
            let cgroup = sandbox.cgroup.id();
            let programs = Arc::clone(&self.programs);
            let undone = blocking(move || programs.detach(id, cgroup)).await;
            if let Ok(Err(error)) = undone {
                tracing::error!(sandbox = %id, error = chain(&error), "cannot undo a failed attach");
            }
        }
        self.clear_out(state, id).await;
    }

    pub(super) async fn detach(&self, sandbox: &str) -> Result<SandboxReport, DetachError> {
        let mut state = self.state.lock().await;
        let id = state.find(sandbox)?;
        let Some(found) = state.sandboxes.get(&id).cloned() else {
            return Err(DetachError::Unknown(sandbox.to_owned()));
        };
        let report = state.report(id, &found, &self.programs);
        let (programs, cgroup) = (Arc::clone(&self.programs), found.cgroup.id());
        blocking(move || programs.detach(id, cgroup))
            .await
            .map_err(|_stopped| DetachError::Stopping)??;
        state.sandboxes.remove(&id);
        self.clear_out(&mut state, id).await;
        tracing::info!(sandbox = %id, name = %found.name, "detached: it is open again");
        Ok(report)
    }

    /// Removes all trace of a sandbox whose cgroup has been removed.
    pub(super) async fn forget(&self, state: &mut State, id: SandboxId) {
        let Some(found) = state.sandboxes.get(&id).cloned() else {
            return;
        };
        let (programs, cgroup) = (Arc::clone(&self.programs), found.cgroup.id());
        match blocking(move || programs.detach(id, cgroup)).await {
            Ok(Ok(())) => {
                state.sandboxes.remove(&id);
                self.clear_out(state, id).await;
            }
            Ok(Err(error)) => {
                tracing::error!(sandbox = %id, error = chain(&error), "cannot remove what is left of a sandbox");
            }
            Err(_stopping) => {}
        }
    }

    /// Listeners that nobody else uses, connections and state of a sandbox.
    async fn clear_out(&self, state: &mut State, id: SandboxId) {
        // Another sandbox may have come into a namespace without a word: only the first one is announced.
        let parts = self.survey(state);
        let survey = blocking(move || Survey::take(parts.0, parts.1)).await;
        for cookie in state
            .namespaces
            .leave(id, survey.ok().and_then(Result::ok).as_ref())
        {
            self.release(state, cookie).await;
        }
        self.service.dismiss(id);
        if let Err(error) = self.store.remove(id) {
            tracing::error!(sandbox = %id, %error, "cannot remove the sandbox's state");
        }
    }

    fn check_place(&self, state: &State, cgroup: &Cgroup) -> Result<(), AttachError> {
        let path = cgroup.path().to_owned();
        if self.hierarchy.is_root(cgroup) {
            return Err(AttachError::Root(path));
        }
        if cgroup.is_threaded() {
            return Err(CgroupError::Threaded(path).into());
        }
        let own = self.hierarchy.of_process(std::process::id());
        if own.is_ok_and(|own| cgroup.holds(&own)) {
            return Err(AttachError::HoldsDaemon(path));
        }
        for (id, other) in &state.sandboxes {
            let (id, name) = (*id, other.name.clone());
            if other.cgroup.id() == cgroup.id() {
                return Err(AttachError::Already { path, id, name });
            }
            if other.cgroup.holds(cgroup) || cgroup.holds(&other.cgroup) {
                return Err(AttachError::Overlaps {
                    path,
                    id,
                    name,
                    other: other.cgroup.path().to_owned(),
                });
            }
        }
        Ok(())
    }

    fn next_id(&self, state: &State) -> io::Result<SandboxId> {
        let pinned = Programs::sandboxes(&self.programs);
        let pinned = pinned.into_iter().map(|(_, id)| id);
        let floor = state.sandboxes.keys().copied().chain(pinned).max();
        self.store.next_id(floor.unwrap_or(SandboxId(0)))
    }
}

impl State {
    fn find(&self, sandbox: &str) -> Result<SandboxId, DetachError> {
        let number = sandbox.parse().ok().map(SandboxId);
        if let Some(id) = number.filter(|id| self.sandboxes.contains_key(id)) {
            return Ok(id);
        }
        let mut named = self.sandboxes.iter().filter(|(_, s)| s.name == sandbox);
        match (named.next(), named.next()) {
            (Some((id, _)), None) => Ok(*id),
            (Some(_), Some(_)) => Err(DetachError::Ambiguous(sandbox.to_owned())),
            (None, _) => Err(DetachError::Unknown(sandbox.to_owned())),
        }
    }
}

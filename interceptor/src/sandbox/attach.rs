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
    locate::{Host, LocateError, Located, Target, locate},
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
    #[error("{} is a threaded cgroup, which holds threads but no processes: choose the one above it", .0.display())]
    Threaded(PathBuf),
    #[error(transparent)]
    Locate(#[from] LocateError),
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
    #[error("{} is no sandbox: `interceptor sandboxes` lists them", .0.display())]
    NoSandbox(PathBuf),
    #[error(
        "{path} is a part of sandbox {id} ({name}), which can only be opened as a whole: `interceptor detach {id}`"
    )]
    Part {
        path: PathBuf,
        id: SandboxId,
        name: String,
    },
    #[error(transparent)]
    Locate(#[from] LocateError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the daemon is stopping, or another one has taken over: try again")]
    Stopping,
}

/// A sandbox that stands.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    /// Its name or its number.
    Called(String),
    At(Target),
}

impl From<&str> for Which {
    fn from(name: &str) -> Self {
        Self::Called(name.to_owned())
    }
}

impl<S: Service> Inner<S> {
    pub(super) async fn attach(&self, request: Attach) -> Result<SandboxReport, AttachError> {
        let Located { cgroup, identity } = self
            .locate(request.target)
            .await
            .ok_or(AttachError::Stopping)??;
        let mut state = self.state.lock().await;
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
            identity,
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

    pub(super) async fn detach(&self, which: Which) -> Result<SandboxReport, DetachError> {
        // Whatever is located, before others have to wait.
        let which = match which {
            Which::Called(name) => Ok(name),
            Which::At(target) => Err(self.locate(target).await.ok_or(DetachError::Stopping)??),
        };
        let mut state = self.state.lock().await;
        let (id, found) = match &which {
            Ok(name) => state.called(name)?,
            Err(located) => state.at(&located.cgroup)?,
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

    /// `None`: the daemon is stopping.
    async fn locate(&self, target: Target) -> Option<Result<Located, LocateError>> {
        let hierarchy = self.hierarchy.clone();
        blocking(move || locate(&hierarchy, &Host::here(), &target))
            .await
            .ok()
    }

    fn check_place(&self, state: &State, cgroup: &Cgroup) -> Result<(), AttachError> {
        let path = cgroup.path().to_owned();
        if self.hierarchy.is_root(cgroup) {
            return Err(AttachError::Root(path));
        }
        if cgroup.is_threaded() {
            return Err(AttachError::Threaded(path));
        }
        // By its list: where paths cannot be followed, the daemon's own cannot be either.
        let inside = cgroup.processes().map_err(CgroupError::Processes);
        if inside
            .map_err(LocateError::from)?
            .contains(&std::process::id())
        {
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
    fn called(&self, sandbox: &str) -> Result<(SandboxId, Sandbox), DetachError> {
        let number = sandbox.parse().ok().map(SandboxId);
        let mut named = self.sandboxes.iter().filter(|(_, s)| s.name == sandbox);
        let (id, found) = match number.and_then(|id| self.sandboxes.get_key_value(&id)) {
            Some(numbered) => numbered,
            None => match (named.next(), named.next()) {
                (Some(found), None) => found,
                (Some(_), Some(_)) => return Err(DetachError::Ambiguous(sandbox.to_owned())),
                (None, _) => return Err(DetachError::Unknown(sandbox.to_owned())),
            },
        };
        Ok((*id, found.clone()))
    }

    fn at(&self, cgroup: &Cgroup) -> Result<(SandboxId, Sandbox), DetachError> {
        let path = cgroup.path().to_owned();
        let mut around = self.sandboxes.iter();
        match around.find(|(_, found)| found.cgroup.holds(cgroup)) {
            Some((id, found)) if found.cgroup.id() == cgroup.id() => Ok((*id, found.clone())),
            Some((id, found)) => Err(DetachError::Part {
                path,
                id: *id,
                name: found.name.clone(),
            }),
            None => Err(DetachError::NoSandbox(path)),
        }
    }
}

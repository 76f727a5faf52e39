//! Namespaces that come, and namespaces and cgroups that go.

use std::{io, sync::Arc, time::Duration};

use interceptor_ebpf::DEFAULT_PORT;

use super::{
    Inner, Sandbox, Service, State, blocking, namespaces::Namespace, serve::Sockets, survey::Survey,
};
use crate::{
    address::{NetnsCookie, SandboxId},
    error::chain,
    kernel::{
        Listeners, ListenersError, MapsError, Netns, NetnsAppeared, NetnsEntry, NetnsState,
        Question, Task,
    },
};

/// A namespace that was announced this long ago and has no listeners is forgotten, so that its next socket announces
/// it again. Connects that are held meanwhile stay so: the programs take an unknown namespace for a pending one.
const FORGET: Duration = Duration::from_secs(5);

/// Why a namespace has no listeners.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WelcomeError {
    #[error("cannot listen in a network namespace of the sandbox")]
    Listeners(#[source] ListenersError),
    #[error("cannot serve the listeners in a network namespace of the sandbox")]
    Serve(#[source] io::Error),
    #[error("cannot tell the programs of the listeners")]
    Maps(#[from] MapsError),
    #[error("cannot look at the sandbox's processes")]
    Survey(#[source] io::Error),
    #[error("the daemon is stopping")]
    Stopping,
}

impl<S: Service> Inner<S> {
    /// Gives a namespace listeners that the programs have announced.
    pub(super) async fn welcome(&self, appeared: NetnsAppeared) {
        let mut state = self.state.lock().await;
        let (id, cookie) = (appeared.sandbox, appeared.netns);
        let Some(sandbox) = state.sandboxes.get(&id).cloned() else {
            tracing::debug!(sandbox = %id, netns = %cookie, "a namespace of an unknown sandbox");
            return;
        };
        let result = if let Some(known) = state.namespaces.get_mut(cookie) {
            // Announced again before its listeners were entered, or by a second sandbox.
            known.users.insert(id);
            self.programs
                .set_netns(cookie, known.entry())
                .map_err(WelcomeError::from)
        } else {
            match self.find(&state, &sandbox, appeared).await {
                Some(netns) => self.settle(&mut state, id, netns).await,
                None => {
                    tracing::debug!(sandbox = %id, netns = %cookie, "nobody is in a new namespace any more");
                    // A sandbox can make namespaces faster than they expire. A socket of it that lives on announces
                    // it again.
                    self.programs
                        .remove_netns(cookie)
                        .map_err(WelcomeError::from)
                }
            }
        };
        if let Err(error) = result {
            tracing::error!(sandbox = %id, netns = %cookie, error = chain(&error), "a network namespace stays without listeners");
        }
    }

    /// Answers a query that came before the listeners of its namespace, which stand now if they can.
    pub(super) async fn answer_late(&self, question: Question) {
        let mut state = self.state.lock().await;
        match state.namespaces.get_mut(question.netns) {
            Some(namespace) => {
                namespace
                    .sockets
                    .answer_late(&self.programs, &self.service, &self.tally, &question)
            }
            None => {
                tracing::debug!(netns = %question.netns, "a query in a namespace without listeners");
            }
        }
    }

    /// The namespace of an event: where the thread is, or if it has gone on, where another of the sandbox is.
    async fn find(
        &self,
        state: &State,
        sandbox: &Sandbox,
        appeared: NetnsAppeared,
    ) -> Option<Netns> {
        let is_it = move |netns: &Netns| netns.cookie() == appeared.netns;
        let cgroup = sandbox.cgroup.clone();
        let direct = blocking(move || Netns::of_task(appeared.task).ok().filter(is_it)).await;
        if let Ok(Some(netns)) = direct {
            return Some(netns);
        }
        let tasks = blocking(move || Task::by_netns(&cgroup.processes()?));
        let tasks = tasks.await.ok()?.ok()?;
        let unknown: Vec<_> = tasks
            .into_iter()
            .filter(|(inode, _)| !state.namespaces.knows(*inode))
            .map(|(_, task)| task)
            .collect();
        blocking(move || {
            let mut opened = unknown
                .into_iter()
                .filter_map(|task| Netns::of_task(task).ok());
            opened.find(is_it)
        })
        .await
        .ok()?
    }

    /// Opens listeners in a namespace and lets connects through to them.
    pub(super) async fn settle(
        &self,
        state: &mut State,
        id: SandboxId,
        netns: Netns,
    ) -> Result<(), WelcomeError> {
        let cookie = netns.cookie();
        let noted = self.noted_port(cookie);
        let wanted = noted.unwrap_or(DEFAULT_PORT);
        if state.namespaces.is_full(id) {
            if state.namespaces.is_newly_crowded(id) {
                tracing::warn!(sandbox = %id, netns = %cookie, "the sandbox has as many network namespaces as it may: others get no listeners, said once");
            }
            let refusal = NetnsEntry {
                state: NetnsState::Refused,
                port: wanted,
                has_v6: false,
                private: false,
            };
            return Ok(self.programs.set_netns(cookie, refusal)?);
        }
        let inode = netns.inode();
        let survey = self.survey(state);
        let opened = blocking(move || {
            // In doubt there is somebody else.
            let survey = Survey::take(survey.0, survey.1);
            let private = survey.is_ok_and(|survey| survey.is_private(inode));
            Listeners::open(&netns, wanted).map(|listeners| (private, listeners, netns))
        });
        let (private, listeners, netns) = opened
            .await
            .map_err(|_stopped| WelcomeError::Stopping)?
            .map_err(WelcomeError::Listeners)?;
        if noted.is_some() && listeners.port != wanted {
            tracing::error!(
                sandbox = %id, netns = %cookie, wanted, port = listeners.port,
                "the port of the listeners was taken by another process: connects that were held will fail"
            );
        }
        let entry = NetnsEntry {
            state: NetnsState::Ready,
            port: listeners.port,
            has_v6: listeners.v6.is_some(),
            private,
        };
        self.programs.mark_listeners(&listeners)?;
        let sockets = Sockets::register(listeners).map_err(WelcomeError::Serve)?;
        let loops = sockets.serve(&self.programs, &self.service, &self.tally);
        self.programs.set_netns(cookie, entry)?;
        let mut namespace = Namespace::new(inode, entry, [id].into(), sockets, loops);
        if private {
            self.fence_devices(&mut namespace, netns).await;
        }
        state.namespaces.insert(cookie, namespace);
        tracing::info!(sandbox = %id, netns = %cookie, port = entry.port, ipv6 = entry.has_v6, private, "listening");
        Ok(())
    }

    /// Closes the devices of a namespace that a sandbox has to itself, to what no other program sees.
    pub(super) async fn fence_devices(&self, namespace: &mut Namespace, netns: Netns) {
        let (programs, cookie) = (Arc::clone(&self.programs), netns.cookie());
        match blocking(move || programs.fence_devices(netns)).await {
            Ok(Ok(Some(fence))) => namespace.watch(fence),
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::warn!(netns = %cookie, error = chain(&error), "devices are not fenced");
            }
        }
    }

    /// Lets go of what ended.
    pub(super) async fn sweep(&self) {
        let mut state = self.state.lock().await;
        let parts = self.survey(&state);
        let survey = match blocking(move || Survey::take(parts.0, parts.1)).await {
            Ok(Ok(survey)) => survey,
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot look at the sandboxes' processes: nothing is let go of");
                return;
            }
            Err(_stopping) => return,
        };
        for id in survey.gone() {
            tracing::info!(sandbox = %id, "the sandbox's cgroup is gone");
            self.forget(&mut state, id).await;
        }
        self.review_capabilities(&mut state).await;
        let (mut empty, mut unfenced) = (Vec::new(), Vec::new());
        for (cookie, namespace) in state.namespaces.iter_mut() {
            if namespace.revise(survey.users(namespace.inode)) {
                empty.push(cookie);
                continue;
            }
            let private = survey.is_private(namespace.inode);
            if private && !namespace.fenced {
                unfenced.push(cookie);
            }
            if private != namespace.private {
                namespace.private = private;
                tracing::info!(netns = %cookie, private, "who lives in a network namespace has changed");
                if let Err(error) = self.programs.set_netns(cookie, namespace.entry()) {
                    tracing::error!(netns = %cookie, error = chain(&error), "cannot tell the programs of a change");
                }
            }
        }
        for cookie in unfenced {
            if let Some(namespace) = state.namespaces.get_mut(cookie)
                && let Ok(netns) = namespace.sockets.netns()
            {
                self.fence_devices(namespace, netns).await;
            }
        }
        for cookie in empty {
            self.release(&mut state, cookie).await;
        }
        self.expire(&state);
        drop(state);
        let programs = Arc::clone(&self.programs);
        let _stopping = blocking(move || programs.expire_flows()).await;
    }

    /// Closes the listeners of a namespace, which may be what keeps it alive. The entry goes first: a socket that
    /// appears now announces the namespace again, and that is answered after this.
    pub(super) async fn release(&self, state: &mut State, cookie: NetnsCookie) {
        if let Err(error) = self.programs.remove_netns(cookie) {
            tracing::error!(netns = %cookie, error = chain(&error), "cannot remove a namespace from the maps");
        }
        state.namespaces.close(cookie).await;
        let programs = Arc::clone(&self.programs);
        let _stopping = blocking(move || programs.unfence_devices(|fenced| fenced == cookie)).await;
        tracing::info!(netns = %cookie, "stopped listening");
    }

    /// What [`Survey::take`] needs.
    pub(super) fn survey(
        &self,
        state: &State,
    ) -> (
        crate::kernel::Hierarchy,
        Vec<(SandboxId, crate::kernel::Cgroup)>,
    ) {
        let sandboxes = state.sandboxes.iter();
        let parts = sandboxes.map(|(id, sandbox)| (*id, sandbox.cgroup.clone()));
        (self.hierarchy.clone(), parts.collect())
    }

    /// Removes entries of namespaces that never got listeners: dead ones would fill the map, and one that was
    /// refused may be allowed by now.
    pub(super) fn expire(&self, state: &State) {
        for (cookie, entry, age) in self.programs.netns() {
            let stale = entry.state == NetnsState::Refused || age > FORGET;
            if stale
                && !state.namespaces.contains(cookie)
                && let Err(error) = self.programs.remove_netns(cookie)
            {
                tracing::warn!(netns = %cookie, error = chain(&error), "cannot remove a namespace from the maps");
            }
        }
    }

    /// The port to which connects in a namespace have been steered already.
    fn noted_port(&self, cookie: NetnsCookie) -> Option<u16> {
        self.programs.netns_entry(cookie).map(|entry| entry.port)
    }
}

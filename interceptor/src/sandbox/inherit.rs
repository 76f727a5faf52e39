//! Taking over from a daemon that runs: the one stands still while it says what it has, the other begins where it
//! stood. Up to [`Registry::surrender`] and [`Successor::begin`] either can fail, and the first goes on as before.

use std::{collections::BTreeSet, convert::Infallible, os::fd::BorrowedFd, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::{
    select,
    sync::{MutexGuard, OwnedMutexGuard},
    task::JoinSet,
};

use super::{
    Inner, Loaded, Registry, Service, StartError, State, namespaces::Namespace, serve::Sockets,
};
use crate::{
    address::{NetnsCookie, SandboxId},
    error::chain,
    kernel::{Events, Listeners, NetnsEntry, NetnsInode, NetnsState},
};

/// What the next daemon is told of a namespace with listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bequest {
    pub(crate) cookie: NetnsCookie,
    pub(crate) inode: NetnsInode,
    pub(crate) port: u16,
    pub(crate) private: bool,
    /// Whether its devices have a fence of their own.
    pub(crate) fenced: bool,
    pub(crate) users: BTreeSet<SandboxId>,
}

/// As long as it lives, its registry changes nothing and reads no event. Connections are accepted all the same.
pub(crate) struct Frozen {
    state: OwnedMutexGuard<State>,
    _events: OwnedMutexGuard<Events>,
}

impl Frozen {
    /// Each with its listeners, in the order of [`Listeners::inherit`].
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = (Bequest, Vec<BorrowedFd<'_>>)> {
        let open = self.state.namespaces.iter();
        open.map(|(cookie, namespace)| {
            let bequest = Bequest {
                cookie,
                inode: namespace.inode,
                port: namespace.port,
                private: namespace.private,
                fenced: namespace.fenced,
                users: namespace.users.clone(),
            };
            (bequest, namespace.sockets.handles())
        })
    }
}

impl<S: Service> Registry<S> {
    /// Waits for what is under way: an event, an attach, a detach, a sweep.
    pub(crate) async fn freeze(&self) -> Frozen {
        let inner = &self.inner;
        // In this order: it stands in the queue for the events before their reader is asked to let go of them.
        let ask = async {
            inner.pausing.notify_one();
            std::future::pending::<Infallible>().await
        };
        let events = select! {
            biased;
            events = Arc::clone(&inner.events).lock_owned() => events,
            never = ask => match never {},
        };
        Frozen {
            state: Arc::clone(&inner.state).lock_owned().await,
            _events: events,
        }
    }

    /// Whether another daemon has taken over.
    pub(crate) fn is_surrendered(&self) -> bool {
        *self.inner.surrendered.borrow()
    }

    /// Accepts nothing more, and leaves everything to the daemon that has taken over. Connections go on.
    pub(crate) async fn surrender(&self, mut frozen: Frozen) {
        // Whoever waits for the state is turned away instead.
        self.inner.surrendered.send_replace(true);
        self.tasks.lock().await.shutdown().await;
        self.inner.leash.stop().await;
        frozen.state.namespaces.close_all().await;
        frozen.state.sandboxes.clear();
    }
}

/// A registry that could begin at once. Dropping it leaves everything to the daemon that it was to take over from.
pub(crate) struct Successor<S> {
    inner: Arc<Inner<S>>,
}

impl<S: Service> Successor<S> {
    /// To be called while the other registry is frozen. Sandboxes are known to `service` afterwards.
    ///
    /// # Errors
    /// Anything that would leave sandboxes half-protected.
    pub(crate) async fn prepare(
        run_dir: &Path,
        loaded: Loaded,
        service: Arc<S>,
        inherited: Vec<(Bequest, Listeners)>,
    ) -> Result<Self, StartError> {
        let inner = Inner::new(run_dir, loaded, service)?;
        let mut state = inner.state.lock().await;
        for heir in inner.heirs()? {
            if let Some(sandbox) = heir.sandbox {
                inner.enter(&mut state, heir.id, sandbox);
            }
        }
        for (bequest, listeners) in inherited {
            let entry = NetnsEntry {
                state: NetnsState::Ready,
                port: bequest.port,
                has_v6: listeners.v6.is_some(),
                private: bequest.private,
            };
            let sockets = Sockets::register(listeners).map_err(StartError::Inherited)?;
            let (inode, users) = (bequest.inode, bequest.users);
            let mut namespace = Namespace::new(inode, entry, users, sockets, JoinSet::new());
            namespace.fenced = bequest.fenced;
            state.namespaces.insert(bequest.cookie, namespace);
        }
        drop(state);
        Ok(Self { inner })
    }

    /// Accepts and reads events from now on, and puts this release's programs into the links.
    pub(crate) async fn begin(self) -> Registry<S> {
        let inner = self.inner;
        let mut state = inner.state.lock().await;
        inner.serve_inherited(&mut state);
        let registry = Registry::running(Arc::clone(&inner));
        inner.fence_inherited(&mut state).await;
        let sandboxes: Vec<_> = state.sandboxes.keys().copied().collect();
        for id in sandboxes {
            inner.renew(&mut state, id).await;
        }
        drop(state);
        registry
    }
}

impl<S: Service> Inner<S> {
    /// Looks after devices that come where the other daemon did, and after those that came in between.
    async fn fence_inherited(&self, state: &mut State) {
        for (cookie, namespace) in state.namespaces.iter_mut() {
            if !std::mem::take(&mut namespace.fenced) {
                continue;
            }
            match namespace.sockets.netns() {
                Ok(netns) => self.fence_devices(namespace, netns).await,
                Err(error) => {
                    tracing::error!(netns = %cookie, error = chain(&error), "devices that come are not fenced");
                }
            }
        }
    }

    fn serve_inherited(&self, state: &mut MutexGuard<'_, State>) {
        for (cookie, namespace) in state.namespaces.iter_mut() {
            namespace.loops = namespace
                .sockets
                .serve(&self.programs, &self.service, &self.tally);
            tracing::info!(netns = %cookie, port = namespace.port, "listening, taken over");
        }
    }
}

//! The control interface: HTTP/JSON over a Unix socket that only root may use.

pub(crate) mod api;
pub(crate) mod client;
pub(crate) mod listener;
pub(crate) mod metrics;
pub(crate) mod server;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    path::{Path, PathBuf},
};

use self::api::{
    AttachRequest, CountsView, DetachRequest, Info, Order, ReloadView, SandboxView, StatsView,
};
use crate::kernel::Peer;
use crate::stats::{
    Selection,
    view::{ConnectionView, EventView},
};

/// Where the daemon listens, below its run directory.
pub(crate) fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("control.sock")
}

/// Where daemons listen that another one has taken over from, below the run directory.
pub(crate) fn draining(run_dir: &Path) -> PathBuf {
    run_dir.join("draining")
}

/// What the daemon does when asked. Called on the control interface's own thread: what takes long is awaited.
pub(crate) trait Backend: Send + Sync + 'static {
    /// Whether a process may ask for anything at all. `Err` says why not, and has been recorded.
    fn admit(&self, peer: Peer) -> impl Future<Output = Result<(), String>> + Send;

    /// Makes a cgroup a sandbox.
    fn attach(
        &self,
        request: AttachRequest,
    ) -> impl Future<Output = Result<SandboxView, Refusal>> + Send;

    /// Opens a sandbox, and closes its connections.
    fn detach(
        &self,
        request: DetachRequest,
    ) -> impl Future<Output = Result<SandboxView, Refusal>> + Send;

    fn sandboxes(&self) -> impl Future<Output = Vec<SandboxView>> + Send;

    /// Live connections, oldest first; with `ended` also the last that ended, before them.
    fn connections(&self, ended: bool) -> impl Future<Output = Vec<ConnectionView>> + Send;

    /// What was refused, the oldest first.
    fn events(&self, selection: Selection) -> impl Future<Output = Vec<EventView>> + Send;

    fn stats(&self) -> impl Future<Output = StatsView> + Send;

    /// The part of [`Self::stats`] that costs little, and is of this daemon alone.
    fn totals(&self) -> impl Future<Output = CountsView> + Send;

    /// Reads the configuration again. A refusal leaves what runs untouched.
    fn reload(&self) -> impl Future<Output = Result<ReloadView, Refusal>> + Send;

    /// Does what the daemon that has taken over says.
    fn obey(&self, order: Order) -> impl Future<Output = Result<(), Refusal>> + Send;

    fn info(&self) -> impl Future<Output = Info> + Send;

    /// `Err` says what is missing before connections can be served.
    fn ready(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// What an operator should see to although connections are served, one line each.
    fn remarks(&self) -> impl Future<Output = Vec<String>> + Send {
        async { Vec::new() }
    }
}

/// Why the daemon did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    /// One line for an operator.
    pub(crate) error: String,
    /// More lines: every fault of a configuration.
    pub(crate) detail: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// No such sandbox, cgroup or process.
    NotFound,
    /// It is already so: a sandbox of that name, a cgroup inside another sandbox.
    Conflict,
    /// The request or the configuration is faulty.
    Invalid,
    /// It went wrong here.
    Failed,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, error: impl Into<String>) -> Self {
        Self {
            kind,
            error: error.into(),
            detail: Vec::new(),
        }
    }

    pub(crate) fn with_detail(mut self, detail: Vec<String>) -> Self {
        self.detail = detail;
        self
    }
}

//! One connection from accept to close: identify, sniff, decide, relay.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use tokio::net::TcpStream;

use crate::{
    address::{NetnsCookie, OriginalDst, SandboxId},
    secrets::SecretName,
};

/// Who opened a connection or sent a datagram, as the kernel saw it.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) sandbox: SandboxId,
    pub(crate) netns: NetnsCookie,
    pub(crate) process: Process,
    pub(crate) original: OriginalDst,
    pub(crate) connected_at: SystemTime,
}

/// The thread that called connect() or sendmsg().
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) uid: u32,
    pub(crate) comm: Box<str>,
}

/// A refusal by the cgroup programs.
#[derive(Clone, Debug)]
pub(crate) struct KernelDenial {
    /// `None`: the socket has no owner.
    pub(crate) sandbox: Option<SandboxId>,
    pub(crate) netns: NetnsCookie,
    pub(crate) process: Process,
    pub(crate) destination: Option<SocketAddr>,
    /// For an operator, lower case.
    pub(crate) reason: &'static str,
}

/// Serves what the listeners accept.
#[derive(Debug)]
pub(crate) struct Engine {}

impl Engine {
    /// Makes a sandbox known before its first connection. `name` selects policies and secrets in the configuration,
    /// `extra` are secrets added by `attach --secret`.
    ///
    /// # Errors
    /// The configuration has no sandbox of that name, or no such secret.
    pub(crate) fn enroll(
        &self,
        _id: SandboxId,
        _name: &str,
        _extra: &[SecretName],
    ) -> Result<(), EnrollError> {
        Ok(())
    }

    /// Forgets a sandbox; its live connections are closed.
    pub(crate) fn dismiss(&self, _id: SandboxId) {}

    /// Records and logs a refusal by the cgroup programs.
    pub(crate) fn report(&self, _denial: KernelDenial) {}

    /// Carries one connection to its end. Never fails: what goes wrong is recorded and shown to the client.
    pub(crate) async fn serve(self: Arc<Self>, _client: TcpStream, _origin: Origin) {}

    /// Answers one DNS datagram; `None` for one that deserves no answer.
    pub(crate) async fn answer(
        self: Arc<Self>,
        _query: &[u8],
        _origin: &Origin,
    ) -> Option<Vec<u8>> {
        None
    }
}

/// Why a sandbox could not be made known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrollError {
    #[error(
        "the configuration has no sandbox named {0:?}: add it under `sandboxes`, then `interceptor reload`"
    )]
    UnknownSandbox(String),
    #[error(
        "the configuration has no secret named {0}: add it under `secrets`, then `interceptor reload`"
    )]
    UnknownSecret(SecretName),
}

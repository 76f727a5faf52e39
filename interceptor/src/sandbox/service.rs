//! What sandboxes need of those who serve their connections.

use std::{future::Future, sync::Arc};

use tokio::net::TcpStream;

use crate::{
    address::SandboxId,
    config::Exemptions,
    flow::{Engine, EnrollError, Incident, KernelDenial, Origin},
    secrets::SecretName,
};

/// Takes over what the listeners accept.
pub(crate) trait Service: Send + Sync + 'static {
    /// Before a sandbox's first connection.
    fn enroll(&self, id: SandboxId, name: &str, extra: &[SecretName]) -> Result<(), EnrollError>;

    /// What of a sandbox goes past the daemon, by its name.
    fn exemptions(&self, name: &str) -> Exemptions;

    /// After a sandbox is open again.
    fn dismiss(&self, id: SandboxId);

    /// The programs have refused something.
    fn report(&self, denial: KernelDenial);

    /// Something has happened to a sandbox, or was done about it, that belongs to no connection.
    fn note(&self, incident: Incident);

    /// Carries one connection to its end.
    fn serve(self: Arc<Self>, client: TcpStream, origin: Origin)
    -> impl Future<Output = ()> + Send;

    /// Answers one DNS datagram, or does not.
    fn answer(
        self: Arc<Self>,
        query: &[u8],
        origin: &Origin,
    ) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

impl Service for Engine {
    fn enroll(&self, id: SandboxId, name: &str, extra: &[SecretName]) -> Result<(), EnrollError> {
        Self::enroll(self, id, name, extra)
    }

    fn exemptions(&self, name: &str) -> Exemptions {
        let configuration = self.configuration();
        let rules = configuration.snapshot.sandbox(name);
        rules.map_or_else(Exemptions::default, |rules| rules.exemptions.clone())
    }

    fn dismiss(&self, id: SandboxId) {
        Self::dismiss(self, id);
    }

    fn report(&self, denial: KernelDenial) {
        Self::report(self, denial);
    }

    fn note(&self, incident: Incident) {
        Self::note(self, incident);
    }

    fn serve(
        self: Arc<Self>,
        client: TcpStream,
        origin: Origin,
    ) -> impl Future<Output = ()> + Send {
        Self::serve(self, client, origin)
    }

    fn answer(
        self: Arc<Self>,
        query: &[u8],
        origin: &Origin,
    ) -> impl Future<Output = Option<Vec<u8>>> + Send {
        Self::answer(self, query, origin)
    }
}

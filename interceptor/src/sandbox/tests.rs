//! Sandboxes on the real kernel, in cgroups, namespaces and directories of pins that each test makes and removes.

mod adoption;
mod around;
mod capture;
mod devices;
mod exemptions;
mod exhaustion;
mod lives;
mod succession;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::net::TcpStream;

use super::{Attach, Proven, Registry, Service, StartError};
use crate::{
    address::SandboxId,
    config::{Exemptions, Existing},
    flow::{EnrollError, Incident, KernelDenial, Origin},
    kernel::{
        Cgroup, LoadError, PinsError,
        fixtures::{ScratchPins, Visitor},
    },
    locate::Target,
    secrets::SecretName,
};

/// A service that keeps every connection open and remembers it, and answers every question with itself.
#[derive(Debug, Default)]
struct Recorder {
    served: Mutex<Vec<Origin>>,
    asked: Mutex<Vec<Origin>>,
    denied: Mutex<Vec<KernelDenial>>,
    noted: Mutex<Vec<Incident>>,
    exemptions: Mutex<Exemptions>,
}

impl Service for Recorder {
    fn enroll(&self, _: SandboxId, name: &str, _: &[SecretName]) -> Result<(), EnrollError> {
        if name == "unknown" {
            return Err(EnrollError::UnknownSandbox(name.to_owned()));
        }
        Ok(())
    }

    fn exemptions(&self, _: &str) -> Exemptions {
        self.exemptions.lock().unwrap().clone()
    }

    fn dismiss(&self, _: SandboxId) {}

    fn report(&self, denial: KernelDenial) {
        self.denied.lock().unwrap().push(denial);
    }

    fn note(&self, incident: Incident) {
        self.noted.lock().unwrap().push(incident);
    }

    async fn serve(self: Arc<Self>, client: TcpStream, origin: Origin) {
        self.served.lock().unwrap().push(origin);
        client.readable().await.unwrap();
    }

    async fn answer(self: Arc<Self>, query: &[u8], origin: &Origin) -> Option<Vec<u8>> {
        self.asked.lock().unwrap().push(origin.clone());
        Some(query.to_owned())
    }
}

/// The directories that outlive a daemon.
struct House {
    run_dir: tempfile::TempDir,
    pins: ScratchPins,
}

impl House {
    fn new(test: &str) -> Self {
        Self {
            run_dir: tempfile::tempdir().unwrap(),
            pins: ScratchPins::new(test),
        }
    }

    fn pinned_sandboxes(&self) -> PathBuf {
        let version = interceptor_ebpf::VERSION;
        self.pins.path().join(format!("v{version}/sandboxes"))
    }

    async fn start(&self) -> (Registry<Recorder>, Arc<Recorder>) {
        start(self.run_dir.path(), self.pins.path()).await
    }
}

async fn start(run_dir: &Path, bpf_dir: &Path) -> (Registry<Recorder>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    for _ in 0..1000 {
        let proven = Proven::try_out().await.unwrap();
        match proven.load(bpf_dir.to_owned()).await {
            Ok(loaded) => {
                let started = Registry::start(run_dir, loaded, Arc::clone(&recorder)).await;
                return (started.unwrap(), recorder);
            }
            // A child that another test has forked meanwhile holds a copy of the lock until it ends.
            Err(StartError::Load(LoadError::Pins(PinsError::Held(_)))) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
    panic!("the directory of pins stays locked");
}

fn request(name: &str, cgroup: &Cgroup) -> Attach {
    Attach {
        name: name.to_owned(),
        target: Target::Cgroup(cgroup.path().to_owned()),
        secrets: Vec::new(),
        existing: Existing::Destroy,
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Waits for what another task or process is about to do.
async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen within 20 s");
}

/// Blocks a thread that is not the runtime's.
async fn outcome(visitor: Visitor) -> (Visitor, Result<SocketAddr, i32>) {
    tokio::task::spawn_blocking(move || {
        let outcome = visitor.outcome();
        (visitor, outcome)
    })
    .await
    .unwrap()
}

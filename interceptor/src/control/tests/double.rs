//! A backend that remembers names and has fixed answers.

use std::{
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;

use crate::{
    address::{OriginalDst, SandboxId},
    control::{
        Backend, Refusal, RefusalKind,
        api::{
            AttachRequest, CountsView, DetachRequest, Info, Order, ReloadView, SandboxView,
            StatsView,
        },
    },
    kernel::Peer,
    locate::Target,
    stats::{
        Denial, Opening, ProcessFacts, Selection, Stats,
        view::{ConnectionView, EventView},
    },
};

#[derive(Default)]
pub(super) struct Double {
    sandboxes: Mutex<Vec<SandboxView>>,
    broken: AtomicBool,
    attaching: AtomicBool,
    listed_events: AtomicBool,
    may_finish: Notify,
}

impl Double {
    pub(super) fn break_configuration(&self) {
        self.broken.store(true, SeqCst);
    }

    /// Until `attach` of "slow" is under way.
    pub(super) fn wait_until_attaching(&self) {
        for _ in 0..1000 {
            if self.attaching.load(SeqCst) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("no attach came");
    }

    pub(super) fn has_listed_events(&self) -> bool {
        self.listed_events.load(SeqCst)
    }

    pub(super) fn let_attach_finish(&self) {
        self.may_finish.notify_one();
    }
}

impl Backend for Double {
    async fn admit(&self, peer: Peer) -> Result<(), String> {
        if peer.uid == 0 {
            Ok(())
        } else {
            Err("not root".into())
        }
    }

    async fn attach(&self, request: AttachRequest) -> Result<SandboxView, Refusal> {
        match request.name.as_str() {
            "panic" => panic!("a fault of the backend"),
            "slow" => {
                self.attaching.store(true, SeqCst);
                self.may_finish.notified().await;
            }
            _ => {}
        }
        let view = SandboxView {
            id: 1,
            name: request.name,
            cgroup: match request.target {
                Target::Cgroup(path) => path,
                _ => PathBuf::new(),
            },
            cgroup_id: 99,
            identity: None,
            netns: Vec::new(),
            policies: Vec::new(),
            secrets: Vec::new(),
            secret_keys: request.secrets,
            sockets: Vec::new(),
            exemptions: Vec::new(),
            kernel_denials: 0,
            doors: Vec::new(),
            warnings: Vec::new(),
            attached_at: String::new(),
            live_connections: 0,
        };
        self.sandboxes.lock().unwrap().push(view.clone());
        Ok(view)
    }

    async fn detach(&self, request: DetachRequest) -> Result<SandboxView, Refusal> {
        let DetachRequest::Sandbox(sandbox) = request else {
            panic!("the double finds nothing");
        };
        let mut sandboxes = self.sandboxes.lock().unwrap();
        match sandboxes.iter().position(|view| view.name == sandbox) {
            Some(index) => Ok(sandboxes.remove(index)),
            None => Err(Refusal::new(
                RefusalKind::NotFound,
                format!("no sandbox {sandbox}"),
            )),
        }
    }

    async fn sandboxes(&self) -> Vec<SandboxView> {
        self.sandboxes.lock().unwrap().clone()
    }

    async fn connections(&self, ended: bool) -> Vec<ConnectionView> {
        let stats = std::sync::Arc::new(Stats::default());
        let open = || {
            stats.open(Opening {
                sandbox: SandboxId(1),
                sandbox_name: "micky".into(),
                process: ProcessFacts {
                    pid: 1,
                    uid: 0,
                    comm: "node".into(),
                },
                original: OriginalDst(([127, 0, 0, 1], 443).into()),
                connected_at: SystemTime::UNIX_EPOCH,
            })
        };
        drop(open());
        let _live = open();
        stats.connections(ended)
    }

    async fn events(&self, selection: Selection) -> Vec<EventView> {
        let stats = Stats::default();
        for name in ["micky", "a b&c"] {
            stats.deny(Denial {
                sandbox: None,
                sandbox_name: Some(name.into()),
                process: ProcessFacts {
                    pid: 1,
                    uid: 0,
                    comm: "node".into(),
                },
                destination: None,
                name: None,
                connection: None,
                reason: "policy",
                detail: format!("no rule for {name}"),
            });
        }
        stats.events(&selection)
    }

    async fn totals(&self) -> CountsView {
        CountsView {
            kernel: [("connects".to_owned(), 3)].into(),
            ..CountsView::default()
        }
    }

    async fn stats(&self) -> StatsView {
        self.listed_events.store(true, SeqCst);
        StatsView {
            since: String::new(),
            counts: self.totals().await,
            denials: Vec::new(),
            draining: Vec::new(),
        }
    }

    async fn reload(&self) -> Result<ReloadView, Refusal> {
        if self.broken.load(SeqCst) {
            let faults = [
                "interceptor.yaml:3:1: unknown key",
                "interceptor.yaml:9:5: no such file",
            ];
            return Err(Refusal::new(
                RefusalKind::Invalid,
                "the configuration has 2 faults: what runs is untouched",
            )
            .with_detail(faults.map(str::to_owned).to_vec()));
        }
        Ok(ReloadView {
            changed: vec!["secret A: new value".into()],
            reports: Vec::new(),
        })
    }

    async fn obey(&self, _: Order) -> Result<(), Refusal> {
        Ok(())
    }

    async fn info(&self) -> Info {
        Info {
            version: "1.2.3".into(),
            pid: 1,
            live_connections: 0,
            config: PathBuf::new(),
            ca_certificate: PathBuf::new(),
            ca_bundle: PathBuf::new(),
        }
    }

    async fn ready(&self) -> Result<(), String> {
        if self.broken.load(SeqCst) {
            Err("the programs are not attached".into())
        } else {
            Ok(())
        }
    }
}

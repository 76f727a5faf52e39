//! One connection: sniff, decide, dial, verify, relay.

mod carriage;
mod keeper;
mod plain;
mod raw;
mod secured;
mod standing;
mod translated;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use self::carriage::Carriage;
use super::{
    Origin,
    denial::Denial,
    dial::{self, DialError},
    engine::{Configuration, Engine, GOODBYE},
    names::Names,
    sandbox::{Sandbox, Seat},
    socket,
};
use crate::{
    address::Host,
    dns,
    error::chain,
    policy::{Caller, Endpoint, Policy, Verdict},
    stats::{Live, Opening, connection::Connection},
};

/// Time for a client's first byte.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// The same where no rule names the port: whatever comes, it is a denial.
const FIRST_BYTE_OF_DENIED: Duration = Duration::from_secs(1);
/// First byte of a TLS record that carries a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// Port of DNS; the kernel steers it here whatever address it was meant for.
const DNS: u16 = 53;

/// One connection of a sandbox, with everything that decides about it.
pub(super) struct Call {
    engine: Arc<Engine>,
    /// The one that it goes by: that of its beginning, until it is held against a newer one.
    configuration: ArcSwap<Configuration>,
    reloads: watch::Receiver<()>,
    sandbox: Arc<Sandbox>,
    origin: Origin,
    caller: OnceLock<Caller>,
    live: Live,
    stop: watch::Receiver<bool>,
    seat: Result<Seat, Denial>,
}

impl Call {
    pub(super) fn new(engine: Arc<Engine>, sandbox: Arc<Sandbox>, origin: Origin) -> Self {
        let live = engine.stats.open(Opening {
            sandbox: sandbox.id,
            sandbox_name: Arc::clone(&sandbox.name),
            process: origin.process.clone().into(),
            original: origin.original,
            connected_at: origin.connected_at,
        });
        let stop = sandbox.stopped();
        let seat = sandbox.seat(engine.limits(&sandbox));
        // In this order: a reload in between is heard of, if for nothing.
        let reloads = engine.reloads();
        let configuration = ArcSwap::new(engine.configuration());
        Self {
            engine,
            configuration,
            reloads,
            sandbox,
            origin,
            caller: OnceLock::new(),
            live,
            stop,
            seat,
        }
    }

    /// Carries the connection to its end.
    pub(super) async fn run(self: Arc<Self>, client: TcpStream) {
        let mut stop = self.stop.clone();
        let cut = async move {
            // The sender lives in `self.sandbox`: this ends by the signal only.
            if stop.wait_for(|stop| *stop).await.is_ok() {
                sleep(GOODBYE).await;
            }
        };
        // Each stage has its memory to itself: what an idle connection keeps is the last one's.
        let stages = async {
            let prepared = if self.origin.original.port() == DNS {
                // As many questions as its client likes: the runtime sees to it that others have their turn.
                Box::pin(self.prepare(client)).await
            } else {
                let call = Arc::clone(&self);
                let prepare = Box::pin(async move { call.prepare(client).await });
                let prepared = self.engine.workers.run(self.sandbox.id, prepare);
                prepared.await.flatten()
            };
            if let Some(carriage) = prepared {
                Box::pin(carriage.carry(&self)).await;
            }
        };
        tokio::select! {
            biased;
            () = stages => {}
            () = cut => self.end("cut: the sandbox was detached, or the daemon stopped"),
        }
    }

    /// Everything up to the first relayed byte; `None` where there is nothing to relay.
    async fn prepare(&self, client: TcpStream) -> Option<Carriage> {
        if let Err(error) = socket::tune(&client) {
            tracing::debug!(%error, "socket options could not be set");
        }
        if let Err(denial) = &self.seat {
            self.refuse(denial);
            return None;
        }
        let port = self.origin.original.port();
        if port == DNS {
            self.dns(client).await;
            return None;
        }
        if let Some((target, endpoint)) = self.raw_endpoint() {
            return self.raw(client, target, &endpoint).await;
        }
        let names_port = self.names_port(port);
        let patience = if names_port {
            FIRST_BYTE
        } else {
            FIRST_BYTE_OF_DENIED
        };
        let mut first = [0];
        match timeout(patience, client.peek(&mut first)).await {
            Err(_elapsed) if names_port => self.refuse(&Denial::Silent),
            Err(_elapsed) => self.refuse(&Denial::Port(port)),
            Ok(Ok(0)) => self.end("the client closed before it sent anything"),
            Ok(Err(error)) => self.end(&chain(&error)),
            Ok(Ok(_)) if first == [HANDSHAKE] => return self.secured(client).await,
            Ok(Ok(_)) if first.iter().all(u8::is_ascii_uppercase) => {
                return self.plain(client).await;
            }
            Ok(Ok(_)) if names_port => self.refuse(&Denial::Unreadable),
            Ok(Ok(_)) => self.refuse(&Denial::Port(port)),
        }
        None
    }

    async fn dns(&self, client: TcpStream) {
        self.stats().note(|facts| facts.protocol = Some("dns"));
        let names = Names {
            engine: &self.engine,
            sandbox: &self.sandbox,
            origin: &self.origin,
        };
        match dns::tcp::serve(client, &names).await {
            Ok(()) => self.end("the client closed"),
            Err(error) => self.end(&chain(&error)),
        }
    }

    fn decide(&self, host: &Host) -> Verdict {
        let port = self.origin.original.port();
        let configuration = self.configuration.load();
        match configuration.snapshot.sandbox(&self.sandbox.name) {
            Some(rules) => rules.policy.decide(host, port, self.caller(&rules.policy)),
            // The sandbox has left the configuration in a reload: it may reach nothing.
            None => Policy::default().decide(host, port, &Caller::default()),
        }
    }

    /// Who opened the connection, found out when a policy first asks.
    fn caller(&self, policy: &Policy) -> &Caller {
        static NOBODY: Caller = Caller {
            executables: Vec::new(),
        };
        if policy.asks_for_the_caller() {
            self.caller.get_or_init(|| Caller::of(&self.origin))
        } else {
            &NOBODY
        }
    }

    /// The same as far as a policy has asked.
    fn known_caller(&self) -> Caller {
        self.caller.get().cloned().unwrap_or_default()
    }

    /// Some rule of the sandbox allows something at `port`.
    fn names_port(&self, port: u16) -> bool {
        let configuration = self.configuration.load();
        let rules = configuration.snapshot.sandbox(&self.sandbox.name);
        rules.is_some_and(|rules| rules.policy.names_port(port))
    }

    async fn dial(&self, host: &Host, endpoint: &Endpoint) -> Result<TcpStream, DialError> {
        let begun = Instant::now();
        let dialled = dial::dial(
            &self.engine.resolver,
            &self.sandbox,
            host,
            self.origin.original.port(),
            endpoint,
        )
        .await;
        self.stats()
            .note(|facts| facts.dial = Some(begun.elapsed()));
        dialled.and_then(|dialled| self.engine.outward(dialled.stream))
    }

    fn decided(&self, verdict: &'static str, endpoint: &Endpoint) {
        self.stats().note(|facts| {
            facts.verdict = Some(verdict);
            facts.rule = Some(endpoint.rule.to_string());
        });
    }

    fn refuse(&self, denial: &Denial) {
        self.deny(denial.reason(), &denial.detail());
    }

    /// Records a denial; what the client is told is up to the caller.
    fn deny(&self, reason: &'static str, detail: &str) {
        self.live.deny(reason, detail);
    }

    /// The same for one request of several: the connection goes on.
    fn deny_request(&self, reason: &'static str, detail: &str) {
        self.live.deny_request(reason, detail);
    }

    fn end(&self, how: &str) {
        self.stats().note(|facts| facts.end = Some(how.to_owned()));
    }

    fn stats(&self) -> &Arc<Connection> {
        self.live.connection()
    }
}

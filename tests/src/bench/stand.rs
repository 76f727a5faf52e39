//! A daemon, a sandbox, a server, and clients in the sandbox and beside it.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::{
    order::{Answer, Order, Version, Work},
    server::Server,
};
use crate::{
    configuration::Configuration,
    daemon::Daemon,
    netns::Netns,
    process::Running,
    programs::{built, copy},
    sandbox::Sandbox,
    scenario::{TOKEN, directory},
};

/// Where the secret is bound: in `authorization`, and in a field of JSON bodies.
pub const API: &str = "api.bench.example";
/// Opened, with no secret bound.
pub const PLAIN: &str = "plain.bench.example";
/// Where the secret is bound in a field of WebSocket messages.
pub const SOCKET: &str = "socket.bench.example";
/// Carried unopened.
pub const TUNNEL: &str = "tunnel.bench.example";

/// What the sandbox holds instead of the token.
pub const PLACEHOLDER: &str = "openshell:resolve:env:BENCH_TOKEN";

const POLICY: &str = "\
version: 1
network_policies:
  bench:
    endpoints:
      - { host: api.bench.example, port: 443, protocol: rest, enforcement: enforce, access: full }
      - { host: plain.bench.example, port: 443, protocol: rest, enforcement: enforce, access: full }
      - { host: socket.bench.example, port: 443, protocol: websocket, enforcement: enforce, access: full }
      - { host: tunnel.bench.example, port: 443, tls: skip }
";

const BINDINGS: &str = "\
bindings:
      - { hosts: [api.bench.example], header: authorization }
      - { hosts: [api.bench.example], body.json: /token }
      - { hosts: [socket.bench.example], websocket.json: { op: 2, path: /d/token } }";

/// Long enough for gibibytes through a daemon that was compiled for debugging.
const LIMIT: Duration = Duration::from_secs(300);

/// Fields are dropped in order: the daemon before its files.
#[derive(Debug)]
pub struct Stand {
    sandbox: Sandbox,
    netns: Netns,
    daemon: Daemon,
    server: Server,
    program: PathBuf,
    directory: TempDir,
}

/// A client that waits for orders.
#[derive(Debug)]
pub struct Client {
    running: Running,
    credential: &'static str,
    next: u64,
}

impl Stand {
    /// # Errors
    /// Something does not come up.
    pub fn new() -> Result<Self> {
        let directory = directory()?;
        let server = Server::start(TOKEN)?;
        let mut configuration = Configuration::default()
            .bound_secret("BENCH_TOKEN", TOKEN, BINDINGS)
            .sandbox("bench", POLICY, &["BENCH_TOKEN"])
            .setting("limits: { connects_per_second: 1000000 }")
            .root(server.authority().pem());
        for host in [API, PLAIN, SOCKET, TUNNEL] {
            configuration = configuration.resolve(host, server.address());
        }
        let config = configuration.write(directory.path())?;
        let daemon = Daemon::start_logging(&config, directory.path(), "info")?;
        let program = directory.path().join("bench");
        copy(&built("bench")?, &program)?;
        server
            .authority()
            .write_pem(&directory.path().join("server.pem"))?;
        let netns = Netns::new()?;
        let sandbox = Sandbox::attach(&daemon, "bench", &[&netns])?;
        Ok(Self {
            sandbox,
            netns,
            daemon,
            server,
            program,
            directory,
        })
    }

    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// One in the sandbox, which holds the placeholder.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn through(&self) -> Result<Client> {
        let mut arguments = self.arguments();
        let trust = self.daemon.trust();
        let authority = trust
            .iter()
            .find(|(name, _)| *name == "NODE_EXTRA_CA_CERTS");
        let (_, path) = authority.context("the daemon has no authority")?;
        arguments.extend(["--trust".to_owned(), path.clone()]);
        let running = self.sandbox.spawn(&self.netns, &arguments)?;
        Ok(Client::new(running, PLACEHOLDER))
    }

    /// One beside the server, which holds the token.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn direct(&self) -> Result<Client> {
        let mut arguments = self.arguments();
        for host in [API, PLAIN, SOCKET, TUNNEL] {
            let at = format!("{host}={}", self.server.address());
            arguments.extend(["--at".to_owned(), at]);
        }
        let mut command = Command::new(&self.program);
        command.args(arguments.iter().skip(1));
        Ok(Client::new(Running::spawn(command)?, TOKEN))
    }

    fn arguments(&self) -> Vec<String> {
        let server = self.directory.path().join("server.pem");
        let program = self.program.display().to_string();
        let server = server.display().to_string();
        vec![program, "client".into(), "--trust".into(), server]
    }
}

impl Client {
    fn new(running: Running, credential: &'static str) -> Self {
        Self {
            running,
            credential,
            next: 0,
        }
    }

    /// Has one thing done.
    ///
    /// # Errors
    /// It fails.
    pub fn order(
        &mut self,
        host: &str,
        version: Version,
        bearer: bool,
        work: Work,
    ) -> Result<Answer> {
        self.next += 1;
        let number = self.next;
        let order = Order {
            number,
            host: host.into(),
            version,
            credential: self.credential.into(),
            bearer,
            work,
        };
        let mut line = serde_json::to_vec(&order)?;
        line.push(b'\n');
        self.running.write(&line)?;
        let answer = self
            .running
            .wait_for_line_within(LIMIT, "an answer", |line| {
                let answer: Answer = serde_json::from_str(line).ok()?;
                (answer.number == number).then_some(answer)
            })?;
        if let Some(error) = &answer.error {
            bail!("{order:?}: {error}");
        }
        Ok(answer)
    }
}

//! The servers, and the two ways to them.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rcgen::generate_simple_self_signed;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    Fuzzer, Way,
    suite::{Suite, command},
    verdict::{Verdict, Verdicts},
};
use crate::{
    configuration::Configuration,
    daemon::Daemon,
    interrupt,
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{TOKEN, directory},
};

/// Names of the servers, each with a port of its own.
const FUZZING: &str = "fuzzing.test";
const ECHO: &str = "echo.test";
/// Between two looks at how far a run has come.
const POLL: Duration = Duration::from_millis(100);

/// A daemon, a sandbox, and the suite. Fields are dropped in order.
#[derive(Debug)]
pub struct Stage {
    sandbox: Sandbox,
    netns: Netns,
    daemon: Daemon,
    echo: Running,
    echo_port: u16,
    fuzzing_port: u16,
    suite: Suite,
    stall: Duration,
    certificate: PathBuf,
    key: PathBuf,
    _place: TempDir,
}

impl Stage {
    /// `messages` is how many each case of sections 12 and 13 sends; after `stall` without a verdict, a run is given up.
    ///
    /// # Errors
    /// Something is not installed or does not come up.
    pub fn new(messages: u32, stall: Duration) -> Result<Self> {
        let place = directory()?;
        let suite = Suite::install(place.path(), messages)?;
        let certified =
            generate_simple_self_signed([FUZZING, ECHO, "localhost"].map(str::to_owned))?;
        let certificate = place.path().join("server.pem");
        let key = place.path().join("server.key");
        fs::write(&certificate, certified.cert.pem())?;
        fs::write(&key, certified.signing_key.serialize_pem())?;

        let mut echo = command(&suite.testee(&["server".into(), text(&certificate), text(&key)]))?;
        echo.env("EXPECTED", TOKEN);
        let echo = Running::spawn(echo)?;
        let echo_port = echo.wait_for_event("listening")?;
        let echo_port = echo_port.get("port").and_then(Value::as_u64);
        let echo_port = u16::try_from(echo_port.context("no port")?)?;
        // Its server is started anew for each run, on a port that a policy can name.
        let fuzzing_port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();

        let configuration = Configuration::default()
            .bound_secret("DISCORD_BOT_TOKEN", TOKEN, &bindings())
            .sandbox(
                "autobahn",
                &policy(fuzzing_port, echo_port),
                &["DISCORD_BOT_TOKEN"],
            )
            .resolve(FUZZING, format!("127.0.0.1:{fuzzing_port}"))
            .resolve(ECHO, format!("127.0.0.1:{echo_port}"))
            .root(certified.cert.pem());
        let daemon = Daemon::start(&configuration.write(place.path())?, place.path())?;
        let netns = Netns::new()?;
        Ok(Self {
            sandbox: Sandbox::attach(&daemon, "autobahn", &[&netns])?,
            netns,
            daemon,
            echo,
            echo_port,
            fuzzing_port,
            suite,
            stall,
            certificate,
            key,
            _place: place,
        })
    }

    /// The cases that match any of `patterns`, in order.
    ///
    /// # Errors
    /// The suite does not run.
    pub fn cases(&self, patterns: &[String]) -> Result<Vec<String>> {
        self.suite.cases(patterns)
    }

    /// Makes sure that messages of the sandbox are rewritten: the echo server is to see the secret.
    ///
    /// # Errors
    /// They are not.
    pub fn check_rewriting(&self) -> Result<()> {
        let url = format!("wss://{ECHO}:{}", self.echo_port);
        let client = self.suite.testee(&["login".into(), url]);
        let client = self.sandbox.run(&self.netns, &client)?.success()?;
        client.event("close")?;
        self.echo.wait_for_event("expected").map(drop)
    }

    /// Runs cases, `lanes` of them at a time, and tells `progress` each time that there are more verdicts.
    /// A case whose connection fails altogether has none.
    ///
    /// # Errors
    /// A server or client does not start or ends with an error, no verdict comes for a long time, or what was to go
    /// through the daemon went past it.
    pub fn run(
        &self,
        fuzzer: Fuzzer,
        way: Way,
        cases: &[String],
        lanes: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Verdicts> {
        let opened = self.opened()?;
        let server = match fuzzer {
            Fuzzer::Server => Some(self.serve(cases)?),
            Fuzzer::Client => None,
        };
        let mut client = self.client(fuzzer, way, cases, lanes)?;
        let mut verdicts = Verdicts::new();
        let mut last = Instant::now();
        loop {
            let ended = !client.is_running();
            let told = read(server.as_ref().unwrap_or(&client));
            if told.len() > verdicts.len() {
                last = Instant::now();
                progress(told.len());
            }
            verdicts = told;
            if ended {
                break;
            }
            interrupt::check()?;
            ensure!(
                last.elapsed() < self.stall,
                "{fuzzer}, {way}: no verdict for {:?}",
                self.stall
            );
            thread::sleep(POLL);
        }
        client.finish()?.success()?;
        let opened = self.opened()? - opened;
        let expected = match way {
            Way::Direct => 0,
            Way::Through => u64::try_from(cases.len())?,
        };
        ensure!(
            opened == expected,
            "{fuzzer}, {way}: {opened} connections went through the daemon, not {expected}"
        );
        Ok(verdicts)
    }

    fn serve(&self, cases: &[String]) -> Result<Running> {
        let mut arguments = vec![
            "server".to_owned(),
            self.fuzzing_port.to_string(),
            text(&self.certificate),
            text(&self.key),
        ];
        arguments.extend_from_slice(cases);
        let server = Running::spawn(command(&self.suite.autobahn(&arguments))?)?;
        server.wait_for_event("listening")?;
        Ok(server)
    }

    fn client(&self, fuzzer: Fuzzer, way: Way, cases: &[String], lanes: usize) -> Result<Running> {
        let (name, port) = match fuzzer {
            Fuzzer::Server => (FUZZING, self.fuzzing_port),
            Fuzzer::Client => (ECHO, self.echo_port),
        };
        let name = match way {
            Way::Direct => "localhost",
            Way::Through => name,
        };
        let mut arguments = vec![
            "client".to_owned(),
            format!("wss://{name}:{port}"),
            lanes.to_string(),
        ];
        arguments.extend_from_slice(cases);
        let arguments = match fuzzer {
            Fuzzer::Server => self.suite.testee(&arguments),
            Fuzzer::Client => self.suite.autobahn(&arguments),
        };
        match way {
            Way::Through => self.sandbox.spawn(&self.netns, &arguments),
            Way::Direct => {
                let mut command = command(&arguments)?;
                command
                    .env("NODE_EXTRA_CA_CERTS", &self.certificate)
                    .env("SSL_CERT_FILE", &self.certificate);
                Running::spawn(command)
            }
        }
    }

    /// Connections that have come to the daemon so far.
    fn opened(&self) -> Result<u64> {
        let stats = self.daemon.json(&["stats"])?;
        let opened = stats.pointer("/overall/opened").and_then(Value::as_u64);
        opened.with_context(|| format!("no number of connections: {stats}"))
    }
}

fn bindings() -> String {
    format!(
        "bindings: [{{ hosts: [{FUZZING}, {ECHO}], websocket.json: {{ op: [2, 6], path: /d/token }} }}]"
    )
}

fn policy(fuzzing_port: u16, echo_port: u16) -> String {
    let rules = "protocol: websocket, enforcement: enforce, access: full";
    format!(
        "\
version: 1
network_policies:
  autobahn:
    name: autobahn
    endpoints:
      - {{ host: {FUZZING}, port: {fuzzing_port}, {rules} }}
      - {{ host: {ECHO}, port: {echo_port}, {rules} }}
"
    )
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The verdicts that a process of the suite has told so far.
fn read(suite: &Running) -> Verdicts {
    suite
        .stdout()
        .lines()
        .filter_map(|line| Verdict::read(&serde_json::from_str(line).ok()?))
        .collect()
}

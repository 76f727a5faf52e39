//! How much memory the daemon takes for what it carries.

mod http;

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    bulk::Bulk,
    daemon::Daemon,
    gateway::{Options, record::Token},
    memory,
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

/// How much is carried.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Bytes of one message.
    pub message: u64,
    /// Small messages each way.
    pub messages: u64,
    /// Connections at a time.
    pub connections: u64,
    /// Bytes of one body over HTTP.
    pub body: u64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Figure {
    pub what: String,
    /// Bytes of resident memory beyond what was there before.
    pub bytes: u64,
    pub limit: u64,
}

/// What a message or a stream of messages may take: its buffers, and what the allocator keeps of them.
const FLAT: u64 = 1 << 20;

/// Two TLS sessions with their buffers, and what the allocator keeps. The kernel's buffers for sockets are not counted: they
/// are not the daemon's.
const IDLE: u64 = 48 << 10;

/// Connections that stand before idle ones are counted, so that what the first ones need for all is not in the figure.
const FIRST: u64 = 20;

/// Long enough for a gibibyte through a daemon that was compiled for debugging.
const LIMIT: Duration = Duration::from_secs(300);

/// A daemon, a sandbox, and a gateway that keeps nothing.
struct Stand {
    scenario: Scenario,
    netns: Netns,
    sandbox: Sandbox,
}

/// Lets this process open as many files as it may at most: it needs one for each connection.
///
/// # Errors
/// The kernel refuses.
pub fn open_many_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current, ..limit })?)
}

/// # Errors
/// Something does not come up, or does not arrive.
pub fn measure(load: &Load) -> Result<Vec<Figure>> {
    open_many_files()?;
    let mut figures = Vec::new();
    for deflate in [false, true] {
        // Each with a daemon of its own: one that had to hold more before has room for this.
        let stand = Stand::new()?;
        let kind = if deflate { ", compressed" } else { "" };
        let connections = load.connections;
        figures.push(Figure {
            what: format!("each of {connections} idle connections{kind}"),
            bytes: stand.idle(deflate, connections)?,
            limit: IDLE,
        });
        let length = load.message.to_string();
        let messages = load.messages.to_string();
        let mib = load.message >> 20;
        for (what, traffic) in [
            (
                format!("one message of {mib} MiB up, token last{kind}"),
                ["up", &length].as_slice(),
            ),
            (
                format!("one message of {mib} MiB up, token first{kind}"),
                &["up", &length, "--token-first"],
            ),
            (
                format!("one message of {mib} MiB down{kind}"),
                &["down", &length],
            ),
            (
                format!("{messages} small messages each way{kind}"),
                &["many", &messages],
            ),
        ] {
            // What the first of its kind takes is not the long one's.
            let [kind, _, rest @ ..] = traffic else {
                bail!("traffic without an amount");
            };
            stand.run(deflate, &[&[*kind, "200000"], rest].concat())?;
            let bytes = growth(&stand.scenario.daemon, || stand.run(deflate, traffic))?;
            figures.push(Figure {
                what,
                bytes,
                limit: FLAT,
            });
        }
        let tokens = stand.scenario.gateway.record().tokens();
        ensure!(
            tokens.iter().all(|token| *token == Token::Real),
            "a login came with something else than the token"
        );
        // Each kind of traffic twice.
        let logins = FIRST + connections + 8;
        ensure!(
            tokens.len() as u64 == logins,
            "{} logins came, not {logins}",
            tokens.len()
        );
    }
    figures.extend(http::measure(load)?);
    Ok(figures)
}

/// The most that a daemon held while `work` went on, beyond what it held before.
fn growth(daemon: &Daemon, work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let daemon = daemon.pid()?;
    memory::reset_peak(daemon)?;
    let before = memory::resident(daemon)?;
    work()?;
    Ok(memory::peak(daemon)?.saturating_sub(before))
}

impl Stand {
    fn new() -> Result<Self> {
        let mut options = Options::new(TOKEN);
        options.sink = true;
        let scenario = Scenario::with(options, |configuration, _| configuration)?;
        let netns = Netns::new()?;
        let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
        Ok(Self {
            scenario,
            netns,
            sandbox,
        })
    }

    fn probe(&self, deflate: bool, traffic: &[&str]) -> Vec<String> {
        let mut all = vec!["load"];
        all.extend(deflate.then_some("--deflate"));
        all.extend(traffic);
        self.scenario.clients.probe(&all)
    }

    fn run(&self, deflate: bool, traffic: &[&str]) -> Result<()> {
        let running = self
            .sandbox
            .spawn(&self.netns, &self.probe(deflate, traffic))?;
        let finished = running.finish_within(LIMIT)?.success()?;
        match traffic.first().copied() {
            Some("up") => {
                let sent = finished.event("sent")?;
                let longer = (TOKEN.len() as i64) - (crate::clients::PLACEHOLDER.len() as i64);
                let text = sent["text"].as_i64().context("a length")?;
                let received = sent["received"].as_i64().context("a length")?;
                ensure!(text + longer == received, "{sent}");
            }
            Some("down") => {
                let length = traffic.get(1).context("a length")?.parse()?;
                // What is too long to be held while the token is looked for in it comes without its compression.
                let expected = Bulk::poured(length, false)?.length();
                let poured = finished.event("poured")?;
                ensure!(poured["bytes"] == expected, "{poured}, not {expected}");
            }
            Some("many") => finished.event("exchanged").map(drop)?,
            other => bail!("unknown traffic {other:?}"),
        }
        Ok(())
    }

    fn idle(&self, deflate: bool, connections: u64) -> Result<u64> {
        let daemon = self.scenario.daemon.pid()?;
        let first = self.hold(deflate, FIRST)?;
        let before = memory::resident(daemon)?;
        let counted = self.hold(deflate, connections)?;
        let held = memory::resident(daemon)?.saturating_sub(before);
        for holder in [counted, first] {
            holder.finish_within(LIMIT)?.success()?;
        }
        Ok(held / connections)
    }

    /// Connections that have logged in, held until the process ends.
    fn hold(&self, deflate: bool, connections: u64) -> Result<Running> {
        let count = connections.to_string();
        let probe = self.probe(deflate, &["idle", &count]);
        let holder = self.sandbox.spawn(&self.netns, &probe)?;
        holder.wait_for_line_within(LIMIT, "all connections", |line| {
            line.contains("\"idle\"").then_some(())
        })?;
        Ok(holder)
    }
}

impl Figure {
    pub fn holds(&self) -> bool {
        self.bytes <= self.limit
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, bytes, limit } = self;
        let verdict = if self.holds() { "ok" } else { "TOO MUCH" };
        write!(f, "{what:<60} {bytes:>10} of {limit:>8} bytes  {verdict}")
    }
}

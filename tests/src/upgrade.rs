//! Connections that outlive the daemon that accepted them.

use std::{fmt, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    bytes,
    configuration::{Configuration, DISCORD_POLICY},
    gateway::{Gateway, Options},
    load::open_many_files,
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

/// Discord's binding, and messages that the test gateway answers.
const BINDING: &str = r#"bindings: [{ hosts: ["*.discord.gg"], websocket.json: { op: [2, 6, 100], path: /d/token } }]"#;

/// A sandbox `demo`, and one `other`, under a policy with a secret.
pub fn configuration(gateway: &Gateway, policy: &str) -> Configuration {
    Configuration::default()
        .bound_secret("DISCORD_BOT_TOKEN", TOKEN, BINDING)
        .sandbox("demo", policy, &["DISCORD_BOT_TOKEN"])
        .sandbox("other", DISCORD_POLICY, &["DISCORD_BOT_TOKEN"])
        .resolve("gateway.discord.gg", gateway.address())
        .root(gateway.authority().pem())
}

/// WebSockets that one process in the sandbox holds.
#[derive(Debug)]
pub struct Held {
    holder: Running,
    connections: u64,
    rounds: u64,
}

impl Held {
    /// # Errors
    /// One of them does not come about.
    pub fn open(stage: &Stage, connections: u64) -> Result<Self> {
        let probe = ["hold", &connections.to_string()];
        let probe = stage.scenario.clients.probe(&probe);
        let holder = stage.sandbox.spawn(&stage.netns, &probe)?;
        let limit = crate::process::PATIENCE * 10;
        holder.wait_for_line_within(limit, "all connections", |line| {
            line.contains("\"held\"").then_some(())
        })?;
        Ok(Self {
            holder,
            connections,
            rounds: 0,
        })
    }

    /// A message with the secret over each, and what became of it.
    ///
    /// # Errors
    /// The process is gone.
    pub fn round(&mut self) -> Result<Value> {
        self.holder.write(b"\n")?;
        let round = self.rounds;
        self.rounds += 1;
        self.holder.wait_for_line("a round", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let is_it = event.get("event")? == "echoed" && event.get("round")? == round;
            is_it.then_some(event)
        })
    }

    /// The same, and makes sure that each was answered and came with the secret.
    ///
    /// # Errors
    /// One was lost.
    pub fn all_echo(&mut self, gateway: &Gateway) -> Result<()> {
        let earlier = with_secret(gateway);
        let echoed = self.round()?;
        ensure!(
            echoed.get("echoed").and_then(Value::as_u64) == Some(self.connections),
            "{echoed}"
        );
        let came = with_secret(gateway) - earlier;
        ensure!(
            came >= self.connections,
            "{came} messages came with the secret"
        );
        Ok(())
    }

    /// Closes them.
    ///
    /// # Errors
    /// The process does not end in order.
    pub fn close(self) -> Result<()> {
        self.holder.finish()?.success().map(drop)
    }
}

fn with_secret(gateway: &Gateway) -> u64 {
    let payloads = gateway.record().payloads();
    let holds = |payload: &&Vec<u8>| bytes::holds(payload, TOKEN.as_bytes());
    payloads.iter().filter(holds).count() as u64
}

/// A daemon and a sandbox.
#[derive(Debug)]
pub struct Stage {
    pub scenario: Scenario,
    pub netns: Netns,
    pub sandbox: Sandbox,
}

impl Stage {
    /// # Errors
    /// Something does not come up.
    pub fn new() -> Result<Self> {
        let scenario = Scenario::with(Options::new(TOKEN), |_, gateway| {
            configuration(gateway, DISCORD_POLICY)
        })?;
        let netns = Netns::new()?;
        let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
        Ok(Self {
            scenario,
            netns,
            sandbox,
        })
    }

    /// A process that connects again and again until its standard input ends, and then tells how that went.
    ///
    /// # Errors
    /// It cannot be started, or cannot connect.
    pub fn renew(&self) -> Result<Running> {
        let renew = self.scenario.clients.probe(&["renew"]);
        let renewing = self.sandbox.spawn(&self.netns, &renew)?;
        renewing.wait_for_event("begun")?;
        Ok(renewing)
    }

    /// One daemon after another. None of the connections is lost, and no new one is refused.
    ///
    /// # Errors
    /// It is not so.
    pub fn upgrade(&mut self, held: &mut Held, upgrades: usize) -> Result<Figures> {
        open_many_files()?;
        let quiet = self.renew()?;
        held.all_echo(&self.scenario.gateway)?;
        let quiet = renewed(quiet)?;
        let renewing = self.renew()?;
        let begun = Instant::now();
        for _ in 0..upgrades {
            self.scenario.daemon.take_over(&[])?;
            held.all_echo(&self.scenario.gateway)?;
            self.scenario.gateway.record().clear();
        }
        let seconds = begun.elapsed().as_secs_f64();
        let renewed = renewed(renewing)?;
        ensure!(
            renewed.get("failed") == Some(&Value::Array(Vec::new())),
            "connections were refused: {renewed}"
        );
        let number = |report: &Value, name| {
            report
                .get(name)
                .and_then(Value::as_u64)
                .context("no figure")
        };
        Ok(Figures {
            upgrades,
            held: held.connections,
            opened: number(&renewed, "opened")?,
            longest_ms: number(&renewed, "longest_ms")?,
            mean_us: number(&renewed, "mean_us")?,
            quiet_longest_ms: number(&quiet, "longest_ms")?,
            quiet_mean_us: number(&quiet, "mean_us")?,
            seconds,
        })
    }
}

fn renewed(renewing: Running) -> Result<Value> {
    renewing.finish()?.success()?.event("renewed")
}

/// What upgrades were like for those who connected meanwhile.
#[derive(Clone, Debug)]
pub struct Figures {
    pub upgrades: usize,
    pub held: u64,
    pub opened: u64,
    /// From connect() to the gateway's first message.
    pub longest_ms: u64,
    pub mean_us: u64,
    /// The same while nothing was upgraded.
    pub quiet_longest_ms: u64,
    pub quiet_mean_us: u64,
    pub seconds: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            upgrades,
            held,
            opened,
            longest_ms,
            mean_us,
            quiet_longest_ms,
            quiet_mean_us,
            seconds,
        } = self;
        write!(
            f,
            "{upgrades} upgrades in {seconds:.1} s: of {held} connections none lost; {opened} opened meanwhile, none \
             refused, the slowest in {longest_ms} ms, on average {mean_us} µs (without: {quiet_longest_ms} ms, \
             {quiet_mean_us} µs)"
        )
    }
}

//! One daemon takes over from another, and nothing is lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::{
    configuration::{Configuration, DISCORD_POLICY},
    gateway::{Gateway, Options},
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

/// Discord's binding, and messages that the test gateway answers.
const BINDING: &str = r#"bindings: [{ hosts: ["*.discord.gg"], websocket.json: { op: [2, 6, 100], path: /d/token } }]"#;

const NOTHING: &str = "\
version: 1
network_policies:
  docs:
    name: docs
    endpoints:
      - { host: docs.example.com, port: 443, protocol: rest, enforcement: enforce, access: full }
";

fn configuration(gateway: &Gateway, policy: &str) -> Configuration {
    Configuration::default()
        .bound_secret("DISCORD_BOT_TOKEN", TOKEN, BINDING)
        .sandbox("demo", policy, &["DISCORD_BOT_TOKEN"])
        .resolve("gateway.discord.gg", gateway.address())
        .root(gateway.authority().pem())
}

/// A daemon, a sandbox, and connections that stand.
struct Stage {
    scenario: Scenario,
    netns: Netns,
    sandbox: Sandbox,
    held: Running,
    connections: u64,
    rounds: u64,
}

impl Stage {
    fn new(connections: u64) -> Result<Self> {
        let scenario = Scenario::with(Options::new(TOKEN), |_, gateway| {
            configuration(gateway, DISCORD_POLICY)
        })?;
        let netns = Netns::new()?;
        let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
        let probe = scenario.clients.probe(&["hold", &connections.to_string()]);
        let held = sandbox.spawn(&netns, &probe)?;
        held.wait_for_event("held")?;
        Ok(Self {
            scenario,
            netns,
            sandbox,
            held,
            connections,
            rounds: 0,
        })
    }

    /// A message over each connection, with its secret, and back.
    fn all_echo(&mut self) -> Result<()> {
        self.scenario.gateway.record().clear();
        self.held.write(b"\n")?;
        let round = self.rounds;
        self.rounds += 1;
        let echoed = self.held.wait_for_line("a round", |line| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            (event["event"] == "echoed" && event["round"] == round).then_some(event)
        })?;
        ensure!(echoed["echoed"] == self.connections, "{echoed}");
        let payloads = self.scenario.gateway.record().payloads();
        let real = payloads
            .iter()
            .filter(|payload| payload.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes()))
            .count();
        ensure!(real as u64 == self.connections, "{real} came with the secret");
        Ok(())
    }
}

#[test]
fn connections_outlive_three_upgrades_in_a_row_and_new_ones_are_served_all_the_while() -> Result<()>
{
    let mut stage = Stage::new(20)?;
    let renewing = stage.sandbox.spawn(
        &stage.netns,
        &stage.scenario.clients.probe(&["renew"]),
    )?;
    renewing.wait_for_event("begun")?;
    for _ in 0..3 {
        stage.scenario.daemon.take_over(&[])?;
        stage.all_echo()?;
    }
    let renewed = renewing.finish()?.success()?.event("renewed")?;
    assert_eq!(renewed["failed"], serde_json::json!([]), "{renewed}");

    // They are shown, by whom they are carried, and no number is given twice.
    let shown = stage.scenario.daemon.json(&["conns"])?;
    let shown = shown.as_array().cloned().unwrap_or_default();
    let first = stage.scenario.daemon.draining()[0].pid();
    let carried = shown.iter().filter(|c| c["draining"] == first).count();
    assert_eq!(carried, 20, "{shown:?}");
    let all = stage.scenario.daemon.connections()?;
    let mut numbers: Vec<_> = all.iter().map(|c| c["id"].as_u64()).collect();
    numbers.sort_unstable();
    let count = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), count);

    // When their connections have ended, they end.
    stage.held.finish()?.success()?;
    for drained in stage.scenario.daemon.draining().drain(..) {
        drained.finish()?.success()?;
    }
    let stats = stage.scenario.daemon.json(&["stats"])?;
    assert_eq!(stats["draining"], serde_json::json!([]), "{stats}");
    Ok(())
}

#[test]
fn detach_and_reload_reach_connections_of_a_daemon_that_drains() -> Result<()> {
    let mut stage = Stage::new(3)?;
    stage.scenario.daemon.take_over(&[])?;
    stage.all_echo()?;
    configuration(&stage.scenario.gateway, NOTHING).write(stage.scenario.directory())?;
    stage.scenario.daemon.cli(&["reload"])?.success()?;
    stage.held.write(b"\n")?;
    let closed = stage.held.wait_for_event("echoed")?;
    assert_eq!(closed["round"], 0);
    let lost = stage.held.wait_for_line("the second round", |line| {
        line.contains("\"round\":1").then(|| line.to_owned())
    })?;
    assert!(lost.contains("closed with Some(1008) policy_denied"), "{lost}");
    for drained in stage.scenario.daemon.draining().drain(..) {
        drained.finish()?.success()?;
    }

    let mut stage = Stage::new(3)?;
    stage.scenario.daemon.take_over(&[])?;
    stage.sandbox.detach(&stage.scenario.daemon)?;
    for drained in stage.scenario.daemon.draining().drain(..) {
        drained.finish()?.success()?;
    }
    Ok(())
}

#[test]
fn what_is_over_when_the_drain_limit_passes_is_closed_with_1001() -> Result<()> {
    let mut stage = Stage::new(1)?;
    // The limit is its own when it drains.
    stage.scenario.daemon.take_over(&["--drain", "1s"])?;
    let probe = stage.scenario.clients.probe(&["hold", "2"]);
    let mut held = stage.sandbox.spawn(&stage.netns, &probe)?;
    held.wait_for_event("held")?;
    stage.scenario.daemon.take_over(&[])?;
    let drained = stage.scenario.daemon.draining().remove(1);
    drained.finish_within(Duration::from_secs(10))?.success()?;
    held.write(b"\n")?;
    let lost = held.wait_for_event("echoed")?.to_string();
    assert_eq!(lost.matches("closed with Some(1001)").count(), 2, "{lost}");
    // Those of another daemon have time.
    stage.all_echo()
}

#[test]
fn a_daemon_that_cannot_take_over_leaves_the_other_one_as_it_was() -> Result<()> {
    let mut stage = Stage::new(3)?;
    // A bad configuration: it never comes to the other one.
    let directory = stage.scenario.directory().to_owned();
    let config = directory.join("interceptor.yaml");
    let good = std::fs::read(&config)?;
    std::fs::write(&config, "sandboxes: [{ name: demo, colour: green }]\n")?;
    let takeover = stage.scenario.daemon.run(&["--takeover"]);
    let refused = Running::spawn(takeover)?.finish()?;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    std::fs::write(&config, good)?;

    // Killed at moments all over it.
    for delay in (0..400).step_by(40) {
        let mut takeover = Running::spawn(stage.scenario.daemon.run(&["--takeover"]))?;
        std::thread::sleep(Duration::from_millis(delay));
        if takeover.stderr().contains("taken over") {
            break;
        }
        takeover.kill()?;
        // It may have been just in time: then the first one drains, and the next one begins.
        if takeover.stderr().contains("taken over") {
            break;
        }
    }
    stage.all_echo()?;
    Ok(())
}

#[test]
fn a_daemon_that_takes_over_and_dies_leaves_its_sandboxes_closed_and_the_draining_one_draining()
-> Result<()> {
    let mut stage = Stage::new(3)?;
    stage.scenario.daemon.take_over(&[])?;
    stage.scenario.daemon.kill()?;
    let connect = stage.scenario.clients.probe(&["connect", "192.0.2.1:443"]);
    stage
        .sandbox
        .run(&stage.netns, &connect)?
        .event("refused")?;
    stage.all_echo()?;
    stage.scenario.daemon.restart()?;
    let login = stage.scenario.clients.rust();
    stage.sandbox.run(&stage.netns, &login)?.success()?;
    stage.all_echo()?;
    let first = stage.scenario.daemon.draining()[0].pid();
    let stats = stage.scenario.daemon.json(&["stats"])?;
    assert_eq!(stats["draining"][0]["pid"], first, "{stats}");
    stage.scenario.daemon.draining()[0].signal(Signal::TERM)?;
    Ok(())
}

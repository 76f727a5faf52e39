//! One daemon takes over from another, and nothing is lost. `cargo xtask upgrades` does more of it.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{
    netns::Netns,
    process::{PATIENCE, Running},
    sandbox::Sandbox,
    upgrade::{Held, Stage, configuration},
};

const NOTHING: &str = "\
version: 1
network_policies:
  docs:
    name: docs
    endpoints:
      - { host: docs.example.com, port: 443, protocol: rest, enforcement: enforce, access: full }
";

#[test]
fn connections_outlive_three_upgrades_in_a_row_and_new_ones_are_served_all_the_while() -> Result<()>
{
    let mut stage = Stage::new()?;
    let mut held = Held::open(&stage, 20)?;
    stage.upgrade(&mut held, 3)?;

    // They are shown, by whom they are carried, and no number is given twice.
    let daemon = &mut stage.scenario.daemon;
    let first = daemon.draining()[0].pid();
    let shown = daemon.json(&["conns"])?;
    let shown = shown.as_array().cloned().unwrap_or_default();
    let carried = shown.iter().filter(|c| c["draining"] == first).count();
    assert_eq!(carried, 20, "{shown:?}");
    let sandboxes = daemon.json(&["sandboxes"])?;
    assert_eq!(sandboxes[0]["live_connections"], 20, "{sandboxes}");
    let all = daemon.connections()?;
    let mut numbers: Vec<_> = all.iter().map(|c| c["id"].as_u64()).collect();
    numbers.sort_unstable();
    let count = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), count);

    // When their connections have ended, they end.
    held.close()?;
    for drained in daemon.draining().drain(..) {
        drained.finish()?.success()?;
    }
    let stats = daemon.json(&["stats"])?;
    assert_eq!(stats["draining"], json!([]), "{stats}");
    Ok(())
}

#[test]
fn a_reload_closes_what_it_denies_in_a_daemon_that_drains_too() -> Result<()> {
    let mut stage = Stage::new()?;
    let mut held = Held::open(&stage, 3)?;
    stage.scenario.daemon.take_over(&[])?;
    held.all_echo(&stage.scenario.gateway)?;
    configuration(&stage.scenario.gateway, NOTHING).write(stage.scenario.directory())?;
    stage.scenario.daemon.cli(&["reload"])?.success()?;
    let lost = held.round()?.to_string();
    let closed = lost.matches("closed with Some(1008) policy_denied").count();
    assert_eq!(closed, 3, "{lost}");
    for drained in stage.scenario.daemon.draining().drain(..) {
        drained.finish()?.success()?;
    }
    Ok(())
}

#[test]
fn what_a_daemon_that_drains_refuses_is_shown_with_what_the_other_one_refuses() -> Result<()> {
    let mut stage = Stage::new()?;
    let mut revoked = Held::open(&stage, 1)?;
    // Another sandbox has it drain on.
    let netns = Netns::new()?;
    let other = Sandbox::attach(&stage.scenario.daemon, "other", &[&netns])?;
    let demo = std::mem::replace(&mut stage.sandbox, other);
    let demo_netns = std::mem::replace(&mut stage.netns, netns);
    let mut kept = Held::open(&stage, 1)?;
    let daemon = &mut stage.scenario.daemon;
    daemon.take_over(&[])?;
    let drains = daemon.draining()[0].pid();

    let follower = Running::spawn(daemon.command(&["events", "--follow", "--json"]))?;
    let follow = |reason: &'static str| {
        follower.wait_for_line(reason, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["reason"] == reason).then_some(event)
        })
    };
    let evil = ["request", "evil.example", "/", "--address=192.0.2.1:443"];
    let evil = stage.scenario.clients.probe(&evil);
    demo.run(&demo_netns, &evil)?.event("failed")?;
    let own = follow("policy")?;
    assert_eq!(own["daemon"], stage.scenario.daemon.pid()?);

    // Its events have lower numbers than the one that was just shown.
    configuration(&stage.scenario.gateway, NOTHING).write(stage.scenario.directory())?;
    stage.scenario.daemon.cli(&["reload"])?.success()?;
    let closed = revoked.round()?.to_string();
    assert!(closed.contains("policy_denied"), "{closed}");
    let elsewhere = follow("policy_denied")?;
    assert_eq!(elsewhere["daemon"], drains);
    assert!(elsewhere["id"].as_u64() < own["id"].as_u64());
    let listed = stage
        .scenario
        .daemon
        .json(&["events", "--sandbox", "demo"])?;
    let listed: Vec<_> = listed.as_array().into_iter().flatten().collect();
    let reasons: Vec<_> = listed.iter().map(|event| &event["reason"]).collect();
    assert_eq!(reasons, ["policy", "policy_denied"], "{listed:?}");
    let stats = stage.scenario.daemon.json(&["stats"])?;
    assert_eq!(stats["draining"][0]["live_connections"], 1, "{stats}");
    kept.all_echo(&stage.scenario.gateway)
}

#[test]
fn detach_closes_connections_of_a_daemon_that_drains_too() -> Result<()> {
    let mut stage = Stage::new()?;
    let _held = Held::open(&stage, 3)?;
    stage.scenario.daemon.take_over(&[])?;
    stage.sandbox.detach(&stage.scenario.daemon)?;
    for drained in stage.scenario.daemon.draining().drain(..) {
        drained.finish()?.success()?;
    }
    Ok(())
}

#[test]
fn what_is_over_when_the_drain_limit_passes_is_closed_with_1001() -> Result<()> {
    let mut stage = Stage::new()?;
    let mut standing = Held::open(&stage, 1)?;
    // The limit is its own when it drains.
    stage.scenario.daemon.take_over(&["--drain", "1s"])?;
    let mut held = Held::open(&stage, 2)?;
    stage.scenario.daemon.take_over(&[])?;
    let drained = stage.scenario.daemon.draining().remove(1);
    drained.finish_within(Duration::from_secs(10))?.success()?;
    let lost = held.round()?.to_string();
    assert_eq!(lost.matches("closed with Some(1001)").count(), 2, "{lost}");
    // Those of another daemon have time.
    standing.all_echo(&stage.scenario.gateway)
}

/// Waits until the first daemon has made up its mind about the one that was killed. `true`: it is the one that serves.
fn settled(stage: &Stage) -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = stage.scenario.daemon.log();
        if log.contains("another daemon has taken over") {
            return Ok(true);
        }
        // Not by their numbers: an attempt can be given up before it begins.
        let begun = log.rfind("another daemon gets ready to take over");
        let given_up = log.rfind("another daemon did not take over");
        if begun <= given_up {
            return Ok(false);
        }
        ensure!(Instant::now() < deadline, "it does not go on:\n{log}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_daemon_that_cannot_take_over_leaves_the_other_one_as_it_was() -> Result<()> {
    let stage = Stage::new()?;
    let mut held = Held::open(&stage, 3)?;
    let daemon = &stage.scenario.daemon;
    // A bad configuration: it never comes to the other one.
    let config = stage.scenario.directory().join("interceptor.yaml");
    let good = fs::read(&config)?;
    fs::write(&config, "sandboxes: [{ name: demo, colour: green }]\n")?;
    let refused = Running::spawn(daemon.run(&["--takeover"]))?.finish()?;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    fs::write(&config, good)?;

    // Killed at moments all over it, until it is just in time.
    for delay in (0..2000).step_by(50) {
        let mut takeover = Running::spawn(daemon.run(&["--takeover"]))?;
        thread::sleep(Duration::from_millis(delay));
        takeover.kill()?;
        if settled(&stage)? {
            break;
        }
        held.all_echo(&stage.scenario.gateway)?;
        let login = stage.scenario.clients.rust();
        stage.sandbox.run(&stage.netns, &login)?.success()?;
    }
    held.all_echo(&stage.scenario.gateway)
}

#[test]
fn one_that_takes_over_and_dies_leaves_its_sandboxes_closed_and_the_draining_one_draining()
-> Result<()> {
    let mut stage = Stage::new()?;
    let mut held = Held::open(&stage, 3)?;
    let daemon = &mut stage.scenario.daemon;
    daemon.take_over(&[])?;
    daemon.kill()?;
    let connect = stage.scenario.clients.probe(&["connect", "192.0.2.1:443"]);
    let refused = stage.sandbox.run(&stage.netns, &connect)?;
    refused.event("refused")?;
    held.all_echo(&stage.scenario.gateway)?;
    daemon.restart()?;
    let login = stage.scenario.clients.rust();
    stage.sandbox.run(&stage.netns, &login)?.success()?;
    held.all_echo(&stage.scenario.gateway)?;
    let stats = daemon.json(&["stats"])?;
    assert_eq!(stats["draining"][0]["pid"], daemon.draining()[0].pid());
    daemon.draining()[0].signal(Signal::TERM)
}

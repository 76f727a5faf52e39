//! What a daemon leaves behind: one that another one takes over from, that crashes, or that is told to end.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::{
    configuration::DISCORD_POLICY,
    process::Running,
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

/// A connect is served, and the control interface answers.
fn serves(stage: &Stage) -> Result<()> {
    let login = stage.scenario.clients.rust();
    stage.sandbox.run(&stage.netns, &login)?.success()?;
    stage.scenario.daemon.json(&["stats"]).map(drop)
}

#[test]
fn a_daemon_started_after_a_crash_leads_those_that_drain() -> Result<()> {
    let mut stage = Stage::new()?;
    let mut held = Held::open(&stage, 2)?;
    let daemon = &mut stage.scenario.daemon;
    daemon.take_over(&[])?;
    daemon.kill()?;
    configuration(&stage.scenario.gateway, NOTHING).write(stage.scenario.directory())?;
    stage.scenario.daemon.restart()?;
    stage
        .scenario
        .daemon
        .draining()
        .remove(0)
        .finish()?
        .success()?;
    let lost = held.round()?.to_string();
    assert_eq!(lost.matches("policy_denied").count(), 2, "{lost}");
    Ok(())
}

#[test]
fn connections_that_nobody_could_close_any_more_are_closed_at_once() -> Result<()> {
    let mut stage = Stage::new()?;
    let mut held = Held::open(&stage, 2)?;
    // There is no place for the socket of a daemon that drains.
    let in_the_way = stage.scenario.directory().join("run/draining");
    fs::write(&in_the_way, "")?;
    stage.scenario.daemon.take_over(&[])?;
    let drained = stage.scenario.daemon.draining().remove(0);
    drained.finish_within(Duration::from_secs(10))?.success()?;
    let lost = held.round()?.to_string();
    assert_eq!(lost.matches("closed with Some(1001)").count(), 2, "{lost}");
    fs::remove_file(in_the_way)?;
    serves(&stage)
}

#[test]
fn metrics_that_cannot_be_served_keep_a_daemon_from_taking_over() -> Result<()> {
    let stage = Stage::new()?;
    let mut held = Held::open(&stage, 2)?;
    let good = configuration(&stage.scenario.gateway, DISCORD_POLICY);
    let elsewhere = r#"metrics: { listen: "192.0.2.201:9464" }"#;
    good.clone()
        .top_level(elsewhere)
        .write(stage.scenario.directory())?;
    let refused = Running::spawn(stage.scenario.daemon.run(&["--takeover"]))?.finish()?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("metrics cannot be served"),
        "{refused:?}"
    );
    good.write(stage.scenario.directory())?;
    held.all_echo(&stage.scenario.gateway)?;
    serves(&stage)
}

#[test]
fn a_daemon_that_is_told_to_end_over_a_takeover_is_followed_by_the_one_that_was_to_take_over()
-> Result<()> {
    let mut stage = Stage::new()?;
    let _held = Held::open(&stage, 1)?;
    let daemon = &mut stage.scenario.daemon;
    let successor = Running::spawn(daemon.run(&["--takeover"]))?;
    daemon.wait_for_log(&["another daemon gets ready to take over"])?;
    daemon.signal(Signal::TERM)?;
    daemon.succeed(successor)?;
    serves(&stage)
}

#[test]
fn a_takeover_from_a_daemon_that_ends_is_a_start() -> Result<()> {
    let mut stage = Stage::new()?;
    let _held = Held::open(&stage, 1)?;
    let daemon = &mut stage.scenario.daemon;
    daemon.signal(Signal::TERM)?;
    daemon.wait_for_log(&["sandboxes stay closed until a daemon runs again"])?;
    let successor = Running::spawn(daemon.run(&["--takeover"]))?;
    let ending = daemon.succeed(successor)?;
    // It has not waited for the other one's connections.
    assert!(ending.is_some_and(|mut ending| ending.is_running()));
    serves(&stage)
}

fn ask(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn one_sigterm_after_a_takeover_shortens_no_drain_and_the_daemon_tells_that_it_lives() -> Result<()>
{
    let mut stage = Stage::new()?;
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    configuration(&stage.scenario.gateway, DISCORD_POLICY)
        .top_level(&format!("metrics: {{ listen: \"{free}\" }}"))
        .write(stage.scenario.directory())?;
    stage.scenario.daemon.take_over(&["--linger"])?;
    let mut held = Held::open(&stage, 1)?;
    stage.scenario.daemon.take_over(&[])?;
    let drains = stage.scenario.daemon.draining().remove(1);
    drains.signal(Signal::TERM)?;
    drains.wait_for_error_line("that it was heard", |line| {
        line.contains("ends with its connections").then_some(())
    })?;
    let alive = ask(free, "/healthz")?;
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
    let ready = ask(free, "/readyz")?;
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("taken over"),
        "{ready}"
    );
    // Longer than what connections have when a daemon ends for good.
    thread::sleep(Duration::from_secs(6));
    held.all_echo(&stage.scenario.gateway)?;
    // It was told to end, and does so with its last connection.
    held.close()?;
    drains.finish()?.success().map(drop)
}

#[test]
fn a_second_sigterm_ends_a_drain_in_seconds() -> Result<()> {
    let mut stage = Stage::new()?;
    let mut held = Held::open(&stage, 1)?;
    stage.scenario.daemon.take_over(&[])?;
    let drains = stage.scenario.daemon.draining().remove(0);
    drains.signal(Signal::TERM)?;
    drains.wait_for_error_line("that it was heard", |line| {
        line.contains("ends with its connections").then_some(())
    })?;
    drains.signal(Signal::TERM)?;
    drains.finish_within(Duration::from_secs(12))?.success()?;
    let lost = held.round()?.to_string();
    ensure!(lost.contains("closed with Some(1001)"), "{lost}");
    Ok(())
}

#[test]
fn a_daemon_that_lingers_stays_without_connections_until_it_is_told_to_end() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.scenario.daemon.take_over(&["--linger"])?;
    stage.scenario.daemon.take_over(&[])?;
    let mut lingers = stage.scenario.daemon.draining().remove(1);
    lingers.wait_for_error_line("that it stays", |line| {
        line.contains("stays until SIGTERM").then_some(())
    })?;
    thread::sleep(Duration::from_millis(500));
    assert!(lingers.is_running());
    // There is nothing left that anybody could ask it for.
    let stats = stage.scenario.daemon.json(&["stats"])?;
    assert_eq!(stats["draining"], serde_json::json!([]), "{stats}");
    serves(&stage)?;
    lingers.signal(Signal::TERM)?;
    lingers.finish()?.success().map(drop)
}

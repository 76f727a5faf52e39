//! Unmodified clients reach READY, and nobody but the gateway sees the token.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tests::{
    clients::PLACEHOLDER,
    gateway::{Options, record::Token},
    logs, memory,
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

fn reaches_ready_without_holding_the_token(
    client: impl Fn(&Scenario) -> Vec<String>,
) -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let mut command = sandbox.command(&netns, &client(&scenario))?;
    command.env("HOLD", "1");
    let running = Running::spawn(command)?;
    running.wait_for_event("ready")?;

    assert!(memory::holds(running.pid(), PLACEHOLDER.as_bytes())?);
    assert!(!memory::holds(running.pid(), TOKEN.as_bytes())?);
    assert_eq!(scenario.gateway.record().tokens(), [Token::Real]);
    let finished = running.finish()?.success()?;
    assert_eq!(finished.event("close")?["code"], 1000);

    let connections = scenario.daemon.connections()?;
    assert_eq!(connections.len(), 1, "{connections:?}");
    let connection = &connections[0];
    assert_eq!(connection["sni"], "gateway.discord.gg");
    assert_eq!(connection["rewrites"], json!({"DISCORD_BOT_TOKEN": 1}));
    for output in [
        scenario.daemon.cli(&["conns", "--all"])?.success()?.stdout,
        scenario.daemon.cli(&["stats"])?.success()?.stdout,
        scenario.daemon.log(),
        finished.stdout,
        finished.stderr,
    ] {
        logs::assert_absent(&output, TOKEN)?;
    }
    logs::assert_absent(&scenario.daemon.log(), PLACEHOLDER)
}

#[test]
fn node_ws_reaches_ready_and_its_memory_never_holds_the_token() -> Result<()> {
    reaches_ready_without_holding_the_token(|scenario| scenario.clients.node())
}

#[test]
fn python_websockets_reaches_ready_and_its_memory_never_holds_the_token() -> Result<()> {
    reaches_ready_without_holding_the_token(|scenario| scenario.clients.python())
}

#[test]
fn a_rust_client_reaches_ready_and_its_memory_never_holds_the_token() -> Result<()> {
    reaches_ready_without_holding_the_token(|scenario| scenario.clients.rust())
}

#[test]
fn heartbeats_and_a_thousand_messages_both_ways_arrive_unchanged() -> Result<()> {
    let mut options = Options::new(TOKEN);
    options.heartbeat_interval = Duration::from_millis(100);
    let scenario = Scenario::with(options, |configuration, _| configuration)?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let clients = &scenario.clients;
    for client in [clients.node(), clients.python(), clients.rust()] {
        scenario.gateway.record().clear();
        let mut command = sandbox.command(&netns, &client)?;
        command.env("ECHO", "1000");
        let finished = Running::spawn(command)?.finish()?.success()?;
        assert_eq!(
            finished.event("echoed")?,
            json!({"event": "echoed", "messages": 1000, "unchanged": true}),
            "{client:?}"
        );
        finished.event("heartbeat-ack")?;

        let mut number = 0;
        for payload in scenario.gateway.record().payloads() {
            let message: Value = serde_json::from_slice(&payload)?;
            if message["op"] != 100 {
                continue;
            }
            let text = "grüße ".repeat(number * 7 % 500);
            assert_eq!(message["d"], json!({"number": number, "text": text}));
            number += 1;
        }
        assert_eq!(number, 1000, "{client:?}");
    }
    Ok(())
}

#[test]
fn the_http_interface_sees_the_token_in_its_authorization_header() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let header = format!("--header=authorization: Bot {PLACEHOLDER}");
    let request = ["request", "discord.com", "/api/v10/users/@me", &header];
    let answer = sandbox.run(&netns, &scenario.clients.probe(&request))?;
    assert_eq!(answer.event("answer")?["status"], 200);
    assert_eq!(scenario.gateway.record().tokens(), [Token::Real]);
    Ok(())
}

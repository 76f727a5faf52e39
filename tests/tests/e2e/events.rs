//! What is refused can be read, by people and by programs.

use std::{fs, os::unix::fs::PermissionsExt as _, thread, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::{
    gateway::Options,
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

#[test]
fn a_refusal_is_an_event_with_its_sandbox_process_destination_and_reason() -> Result<()> {
    let scenario = Scenario::with(Options::new(TOKEN), |configuration, _| {
        configuration.top_level("events: { file: events.jsonl }")
    })?;
    let (daemon, clients) = (&scenario.daemon, &scenario.clients);
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(daemon, "demo", &[&netns])?;
    let follower = Running::spawn(daemon.command(&["events", "--follow", "--json"]))?;
    let started = |event: &Value, reason: &str| event["reason"] == reason;

    let request = ["request", "evil.example", "/", "--address=192.0.2.1:443"];
    sandbox
        .run(&netns, &clients.probe(&request))?
        .event("failed")?;
    sandbox
        .run(&netns, &clients.probe(&["datagram", "192.0.2.1:443"]))?
        .success()?;
    let listed = daemon.json(&["events", "--sandbox", "demo"])?;
    let listed = listed.as_array().context("no list of events")?.clone();
    let denied = listed.iter().find(|event| started(event, "policy"));
    let denied = denied.with_context(|| format!("{listed:?}"))?;
    assert_eq!(denied["sandbox"], "demo");
    assert_eq!(denied["comm"], "probe");
    assert_eq!(denied["uid"], 65534);
    assert_eq!(denied["name"], "evil.example");
    assert_eq!(denied["destination"], "192.0.2.1:443");
    assert!(listed.len() >= 2, "the datagram is missing: {listed:?}");

    // A follower and the file have it when its second is over.
    let followed = follower.wait_for_line("the event", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        started(&event, "policy").then_some(event)
    })?;
    assert_eq!(&followed["id"], &denied["id"]);
    thread::sleep(Duration::from_millis(1500));
    let path = scenario.directory().join("events.jsonl");
    let written = fs::read_to_string(&path)?;
    let written: Vec<Value> = written
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(written.len(), listed.len(), "{written:?}\n{listed:?}");
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);

    let shown = daemon.cli(&["events"])?.success()?.stdout;
    assert!(shown.contains("evil.example (192.0.2.1:443)"), "{shown}");
    // Nobody loses what happened with the sandbox.
    sandbox.detach(daemon)?;
    let left = daemon.json(&["events", "--sandbox", "demo"])?;
    assert_eq!(left.as_array().map(Vec::len), Some(listed.len()));
    Ok(())
}

//! The client sees the address that it asked for.

use anyhow::Result;
use tests::{netns::Netns, sandbox::Sandbox, scenario::Scenario};

const ASKED: [&str; 5] = [
    "192.0.2.1:443",
    "[2001:db8::1]:443",
    "[::ffff:192.0.2.2]:443",
    "198.51.100.7:5222",
    "[2001:db8::2]:6667",
];

fn getpeername_shows_what_was_asked_for(netns: &Netns) -> Result<()> {
    let scenario = Scenario::discord()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[netns])?;
    let mut connect = vec!["connect"];
    connect.extend(ASKED);
    let finished = sandbox
        .run(netns, &scenario.clients.probe(&connect))?
        .success()?;
    let events = finished.events();
    assert_eq!(events.len(), ASKED.len(), "{events:?}");
    for (asked, event) in ASKED.iter().zip(events) {
        assert_eq!(event["event"], "connected", "{event}");
        assert_eq!(event["peer"], *asked, "{event}");
    }
    Ok(())
}

#[test]
fn getpeername_shows_the_address_asked_for_in_all_families() -> Result<()> {
    getpeername_shows_what_was_asked_for(&Netns::new()?)
}

#[test]
fn getpeername_shows_the_address_asked_for_without_ipv6_in_the_namespace() -> Result<()> {
    getpeername_shows_what_was_asked_for(&Netns::without_ipv6()?)
}

#[test]
fn connections_are_recorded_with_the_destination_and_the_process() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let request = ["request", "discord.com", "/", "--address=[2001:db8::1]:443"];
    let running = sandbox.spawn(&netns, &scenario.clients.probe(&request))?;
    let pid = running.pid();
    running.finish()?.success()?;
    let connections = scenario.daemon.connections()?;
    let connection = &connections[0];
    assert_eq!(connection["destination"], "[2001:db8::1]:443");
    assert_eq!(connection["pid"], pid);
    assert_eq!(connection["comm"], "probe");
    assert_eq!(connection["uid"], 65534);
    assert_eq!(connection["sandbox"], "demo");
    Ok(())
}

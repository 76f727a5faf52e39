//! What a sandbox may do while the daemon is late, dead or back.

use std::{thread, time::Duration};

use anyhow::Result;
use rustix::process::Signal;
use tests::{
    capture::Capture, gateway::record::Token, netns::Netns, sandbox::Sandbox, scenario::Scenario,
};

/// ECONNREFUSED, errno(3).
const CONNECTION_REFUSED: i32 = 111;

#[test]
fn a_connect_before_the_listener_is_ready_succeeds_a_moment_later() -> Result<()> {
    let scenario = Scenario::discord()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[])?;
    // A namespace that the daemon has never seen, while it cannot look.
    let netns = Netns::new()?;
    scenario.daemon.signal(Signal::STOP)?;
    let probe = scenario.clients.probe(&["connect", "192.0.2.1:443"]);
    let running = sandbox.spawn(&netns, &probe)?;
    thread::sleep(Duration::from_millis(500));
    let early = running.stdout();
    scenario.daemon.signal(Signal::CONT)?;
    assert_eq!(early, "", "connected without a listener");
    let connected = running.finish()?.event("connected")?;
    assert_eq!(connected["peer"], "192.0.2.1:443");
    Ok(())
}

#[test]
fn a_namespace_that_appears_after_attach_is_served_from_its_first_connection_on() -> Result<()> {
    let scenario = Scenario::discord()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[])?;
    let netns = Netns::new()?;
    let connect = scenario.clients.probe(&["connect", "192.0.2.1:443"]);
    sandbox.run(&netns, &connect)?.event("connected")?;
    let finished = sandbox.run(&netns, &scenario.clients.rust())?.success()?;
    finished.event("ready")?;
    Ok(())
}

#[test]
fn a_killed_daemon_leaves_the_sandbox_closed_and_a_restarted_one_adopts_it() -> Result<()> {
    let mut scenario = Scenario::discord()?;
    let (netns, outside) = (Netns::new()?, Netns::new()?);
    netns.route_through(&outside)?;
    scenario
        .gateway
        .listen(outside.listen("10.231.7.1:443".parse()?)?)?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    sandbox.run(&netns, &scenario.clients.rust())?.success()?;

    scenario.daemon.kill()?;
    let capture = Capture::start(&netns)?;
    let connect = [
        "connect",
        "10.231.7.1:443",
        "[fd00:231:7::1]:443",
        "10.231.7.1:80",
    ];
    let events = sandbox
        .run(&netns, &scenario.clients.probe(&connect))?
        .events();
    for event in &events {
        assert_eq!(event["event"], "refused", "{event}");
        assert_eq!(event["errno"], CONNECTION_REFUSED, "{event}");
    }
    assert_eq!(events.len(), 3);
    let datagram = scenario.clients.probe(&["datagram", "10.231.7.1:53"]);
    sandbox.run(&netns, &datagram)?;
    let left: Vec<_> = capture
        .finish()?
        .into_iter()
        .filter(|p| p.device != "lo")
        .collect();
    assert_eq!(left, []);

    scenario.daemon.restart()?;
    scenario.gateway.record().clear();
    sandbox.run(&netns, &scenario.clients.node())?.success()?;
    assert_eq!(scenario.gateway.record().tokens(), [Token::Real]);
    let sandboxes = scenario.daemon.json(&["sandboxes"])?;
    assert_eq!(sandboxes[0]["name"], "demo", "{sandboxes}");
    Ok(())
}

#[test]
fn a_terminated_daemon_leaves_the_sandbox_closed_too() -> Result<()> {
    let mut scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    scenario.daemon.terminate()?;
    let connect = scenario.clients.probe(&["connect", "192.0.2.1:443"]);
    let event = sandbox.run(&netns, &connect)?.event("refused")?;
    assert_eq!(event["errno"], CONNECTION_REFUSED);
    scenario.daemon.restart()?;
    sandbox.run(&netns, &scenario.clients.rust())?.success()?;
    Ok(())
}

//! Network namespaces as they are found.

use std::fs;

use anyhow::{Context as _, Result};
use tests::{
    cgroup::Cgroup,
    clients::Clients,
    daemon::Daemon,
    gateway::{Gateway, Options},
    netns::Netns,
    sandbox::Sandbox,
    scenario::{self, Scenario, TOKEN},
};

/// ENETUNREACH, errno(3).
const NETWORK_UNREACHABLE: i32 = 101;
/// Milliseconds that the first connect of a namespace may take. Its SYN is sent again after 40 ms, 80 ms and so on.
const HELD: u64 = 1000;

/// Listeners are on lo, so it is brought up with them. A connect before that finds no route, as without interceptor.
#[test]
fn a_loopback_device_that_is_down_is_brought_up_with_the_listeners() -> Result<()> {
    let scenario = Scenario::discord()?;
    let down = || -> Result<Netns> {
        let netns = Netns::new()?;
        netns.ip(&["link", "set", "lo", "down"])?;
        Ok(netns)
    };
    let (inhabited, later) = (down()?, down()?);
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&inhabited])?;
    let node = scenario.clients.node();
    sandbox.run(&inhabited, &node)?.success()?.event("ready")?;

    let connect = scenario.clients.probe(&["connect", "192.0.2.1:443"]);
    let first = sandbox.run(&later, &connect)?;
    if let Ok(refused) = first.event("refused") {
        assert_eq!(refused["errno"], NETWORK_UNREACHABLE, "{refused}");
    }
    scenario.daemon.wait_for_log(&["brought up"])?;
    sandbox.run(&later, &node)?.success()?.event("ready")?;
    Ok(())
}

#[test]
fn the_first_connect_and_the_first_question_of_a_namespace_are_held_for_a_moment() -> Result<()> {
    let scenario = Scenario::discord()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[])?;
    let connect = scenario.clients.probe(&["connect", "192.0.2.1:443"]);
    let mut held = Vec::new();
    for _ in 0..8 {
        let netns = Netns::new()?;
        let connected = sandbox.run(&netns, &connect)?.event("connected")?;
        held.push(connected["milliseconds"].as_u64().context("no time")?);
    }
    println!("milliseconds of the first connect of a namespace: {held:?}");
    assert!(
        held.iter().all(|milliseconds| *milliseconds < HELD),
        "{held:?}"
    );
    // glibc's resolver does not ask again before 5 s have passed.
    for name in [scenario.clients.node(), scenario.clients.python()] {
        let netns = Netns::new()?;
        sandbox.run(&netns, &name)?.success()?.event("ready")?;
    }
    Ok(())
}

/// As in a pod that is a container's daemon: its mount of the cgroups is the host's, its cgroup namespace its own.
#[test]
fn a_daemon_in_a_cgroup_namespace_of_its_own_finds_the_hosts_cgroups() -> Result<()> {
    let directory = scenario::directory()?;
    let gateway = Gateway::start(Options::new(TOKEN))?;
    let configuration = scenario::discord(&gateway).write(directory.path())?;
    let place = Cgroup::new()?;
    let deep = place.path().join("daemon/deep");
    fs::create_dir_all(&deep)?;
    let procs = deep.join("cgroup.procs").display().to_string();
    let enter = r#"echo 0 > "$0" && exec unshare --cgroup "$@""#;
    let runner = ["sh", "-c", enter, &procs].map(str::to_owned);
    let daemon = Daemon::start_by(
        &runner,
        &configuration,
        directory.path(),
        "interceptor=debug,info",
    )?;
    let netns = Netns::new()?;
    let mut sandbox = Sandbox::beside(&daemon, "demo")?;
    let pid = sandbox.settle(&netns)?.to_string();
    let found = daemon.json(&["attach", "--name", "demo", "--pid", &pid])?;
    let cgroup = sandbox.cgroup().path().display().to_string();
    assert_eq!(found["cgroup"], cgroup.as_str(), "{found}");
    let clients = Clients::install(directory.path())?;
    sandbox
        .run(&netns, &clients.rust())?
        .success()?
        .event("ready")?;
    // And is known to be outside of it itself.
    let around = place.path().display().to_string();
    let refused = daemon.cli(&["attach", "--name", "demo", "--cgroup", &around])?;
    assert!(
        refused.stderr.contains("holds the daemon"),
        "{}",
        refused.stderr
    );
    Ok(())
}

//! One sandbox does its worst, and another one goes on.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{
    clients::Clients,
    configuration::{Configuration, DISCORD_POLICY},
    daemon::Daemon,
    gateway::{Gateway, Options},
    memory,
    netns::Netns,
    process::PATIENCE,
    sandbox::Sandbox,
    scenario::{TOKEN, directory},
};

/// What a daemon that was compiled for debugging, on a machine that the flood is on as well, may take for a request while
/// it is flooded. It says that others are served, not how fast.
const LAX: f64 = 2000.0;
/// Connections of which a flood is the least in its four seconds.
const FLOOD: u64 = 100;
/// Memory that a flood may take at most: 256 connections that are read, and 4,096 that are open.
const GROWTH: u64 = 512 << 20;

struct Stand {
    daemon: Daemon,
    clients: Clients,
    noisy: (Netns, Sandbox),
    quiet: (Netns, Sandbox),
    // Used until the daemon is gone.
    _gateway: Gateway,
    _directory: tempfile::TempDir,
}

impl Stand {
    fn new(limits: &str) -> Result<Self> {
        let directory = directory()?;
        let gateway = Gateway::start(Options::new(TOKEN))?;
        let configuration = Configuration::default()
            .secret("DISCORD_BOT_TOKEN", gateway.token(), "discord")
            .sandbox("noisy", DISCORD_POLICY, &[])
            .setting(limits)
            .sandbox("quiet", DISCORD_POLICY, &["DISCORD_BOT_TOKEN"])
            .resolve("gateway.discord.gg", gateway.address())
            .resolve("discord.com", gateway.address())
            .root(gateway.authority().pem());
        let daemon = Daemon::start_logging(
            &configuration.write(directory.path())?,
            directory.path(),
            "info",
        )?;
        let inside = |name: &str| -> Result<_> {
            let netns = Netns::new()?;
            let sandbox = Sandbox::attach(&daemon, name, &[&netns])?;
            Ok((netns, sandbox))
        };
        Ok(Self {
            clients: Clients::install(directory.path())?,
            noisy: inside("noisy")?,
            quiet: inside("quiet")?,
            daemon,
            _gateway: gateway,
            _directory: directory,
        })
    }

    /// How the quiet sandbox's requests fare.
    fn pace(&self) -> Result<Value> {
        let (netns, sandbox) = &self.quiet;
        sandbox
            .run(netns, &self.clients.probe(&["pace", "--seconds=2"]))?
            .success()?
            .event("paced")
    }

    /// The same while the noisy one does something.
    fn flood(&self, arguments: &[&str]) -> Result<(Value, Value)> {
        let (netns, sandbox) = &self.noisy;
        let all = [&["flood", "--seconds=4"], arguments].concat();
        let flood = sandbox.spawn(netns, &self.clients.probe(&all))?;
        flood.wait_for_event("flooding")?;
        thread::sleep(Duration::from_secs(1));
        let paced = self.pace()?;
        let flooded = flood.finish_within(PATIENCE * 2)?.success()?;
        Ok((paced, flooded.event("flooded")?))
    }

    fn reasons(&self) -> Result<Vec<String>> {
        let events = self.daemon.json(&["events", "--sandbox", "noisy"])?;
        let events = events.as_array().context("no list of events")?;
        Ok(events
            .iter()
            .filter_map(|event| event["reason"].as_str().map(str::to_owned))
            .collect())
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "figures, for whoever reads them")]
fn a_sandbox_that_floods_the_daemon_does_not_stop_another() -> Result<()> {
    let stand = Stand::new("limits: {}")?;
    let pid = stand.daemon.pid()?;
    // What the first connections need for all is not the flood's.
    stand.pace()?;
    let before = memory::resident(pid)?;
    let idle = stand.pace()?;
    println!("idle: {idle}");
    for kind in [
        "connects",
        "hoard",
        "garbage",
        "trickle",
        "huge",
        "names",
        "handshakes",
    ] {
        memory::reset_peak(pid)?;
        let (paced, flooded) = stand.flood(&[kind])?;
        let most = memory::peak(pid)?.saturating_sub(before);
        println!(
            "{kind}: {paced} {flooded}, {} KiB more memory at most",
            most >> 10
        );
        let begun = flooded["begun"].as_u64();
        ensure!(begun > Some(FLOOD), "{kind}: no flood, but {flooded}");
        ensure!(paced["failed"] == 0, "{kind}: {paced}");
        let p99 = paced["p99"].as_f64().context("no request came through")?;
        ensure!(p99 < LAX, "{kind}: {paced}");
        ensure!(most < GROWTH, "{kind}: {most} bytes");
    }
    // Silent and trickling connections have ended by themselves.
    thread::sleep(Duration::from_secs(11));
    let after = memory::resident(pid)?.saturating_sub(before);
    println!("after: {}, {} KiB more memory", stand.pace()?, after >> 10);
    let log = stand.daemon.log();
    let lines = log.lines().filter(|line| line.contains("denied")).count();
    ensure!(lines < 2000, "{lines} lines in the log");
    Ok(())
}

#[test]
fn what_is_beyond_a_sandboxs_limits_is_refused_and_said() -> Result<()> {
    let stand =
        Stand::new("limits: { connections: 100, handshakes: 10, connects_per_second: 50 }")?;
    for (kind, beyond, reason) in [
        ("connects", 50, "too_many_connects"),
        ("hoard", 100, "too_many_connections"),
    ] {
        let (paced, flooded) = stand.flood(&[kind, "--threads=1", "--held=100000"])?;
        // More than it may: else nothing would have to be refused.
        let begun = flooded["begun"].as_u64();
        assert!(begun > Some(beyond), "{kind}: {flooded}");
        assert_eq!(paced["failed"], 0, "{kind}: {paced}");
        let reasons = stand.reasons()?;
        assert!(
            reasons.iter().any(|one| one == reason),
            "{kind}: {reasons:?}"
        );
    }
    Ok(())
}

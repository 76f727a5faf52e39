//! A bad configuration is refused as a whole, with every error at its place.

use std::{fs, process::Command};

use anyhow::Result;
use rustix::process::Signal;
use tests::{
    configuration::DISCORD_POLICY,
    gateway::Options,
    netns::Netns,
    process::Running,
    programs::built,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN, directory},
};

const BAD: &str = "\
secrets:
  DISCORD_BOT_TOKEN:
    from: { file: token }
    profile: no-such-profile
  v1_RESERVED:
    from: { env: HOME }
    profile: discord
sandboxes:
  - name: demo
    secrets: [NOT_THERE]
    colour: green
";

/// Line and column of what is wrong in [`BAD`].
const PLACES: [&str; 4] = ["4:14", "5:3", "10:15", "11:5"];

#[test]
fn every_error_is_reported_at_once_with_line_and_column_and_exit_code_2() -> Result<()> {
    let directory = directory()?;
    let path = directory.path().join("interceptor.yaml");
    fs::write(&path, BAD)?;
    fs::write(directory.path().join("token"), "a-secret-value")?;
    for subcommand in ["check", "run"] {
        let mut command = Command::new(built("interceptor")?);
        command.args([subcommand, "--config"]).arg(&path);
        if subcommand == "run" {
            command
                .args(["--run-dir".as_ref(), directory.path()])
                .args(["--data-dir".as_ref(), directory.path()]);
        }
        let finished = Running::spawn(command)?.finish()?;
        assert_eq!(finished.status.code(), Some(2), "{finished:?}");
        let said = format!("{}\n{}", finished.stdout, finished.stderr);
        for place in PLACES {
            assert!(
                said.contains(&format!("interceptor.yaml:{place}")),
                "{place} in:\n{said}"
            );
        }
        tests::logs::assert_absent(&said, "a-secret-value")?;
    }
    Ok(())
}

#[test]
fn a_reload_that_fails_leaves_the_running_state_untouched() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let path = scenario.directory().join("interceptor.yaml");
    fs::write(&path, BAD)?;
    let reload = scenario.daemon.cli(&["reload"])?;
    assert_eq!(reload.status.code(), Some(2), "{reload:?}");
    for place in PLACES {
        assert!(
            reload.stderr.contains(place),
            "{place} in:\n{}",
            reload.stderr
        );
    }
    sandbox.run(&netns, &scenario.clients.rust())?.success()?;
    Ok(())
}

#[test]
fn a_reload_takes_a_rotated_secret_by_command_and_by_signal() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let secret = scenario.directory().join("DISCORD_BOT_TOKEN.secret");
    fs::write(&secret, "another-token")?;
    scenario.daemon.cli(&["reload"])?.success()?;
    let refused = sandbox
        .run(&netns, &scenario.clients.node())?
        .event("close")?;
    assert_eq!(refused["code"], 4004);

    fs::write(&secret, TOKEN)?;
    scenario.daemon.signal(Signal::HUP)?;
    scenario.daemon.wait_for_log(&["reload"])?;
    sandbox.run(&netns, &scenario.clients.node())?.success()?;
    Ok(())
}

#[test]
fn attach_by_pid_with_a_further_secret_gives_the_process_that_secret() -> Result<()> {
    let scenario = Scenario::with(Options::new(TOKEN), |configuration, _| {
        configuration.sandbox("bare", DISCORD_POLICY, &[])
    })?;
    let netns = Netns::new()?;
    let mut sandbox = Sandbox::attach(&scenario.daemon, "bare", &[&netns])?;
    // Without the secret the placeholder is one that the sandbox does not have.
    let without = sandbox.run(&netns, &scenario.clients.node())?;
    assert_ne!(without.event("close")?["code"], 1000);
    sandbox.detach(&scenario.daemon)?;

    let pid = sandbox.settle(&netns)?.to_string();
    let attach = [
        "attach",
        "--name",
        "bare",
        "--pid",
        &pid,
        "--secret",
        "DISCORD_BOT_TOKEN",
    ];
    scenario.daemon.cli(&attach)?.success()?;
    sandbox.run(&netns, &scenario.clients.node())?.success()?;
    Ok(())
}

#[test]
fn the_control_socket_is_root_only() -> Result<()> {
    let scenario = Scenario::discord()?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    let cli = scenario.daemon.command(&["sandboxes"]);
    command.arg(cli.get_program()).args(cli.get_args());
    let refused = Running::spawn(command)?.finish()?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    scenario.daemon.cli(&["sandboxes"])?.success()?;
    Ok(())
}

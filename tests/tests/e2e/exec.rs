//! `interceptor exec` is the quickest way to try it.

use anyhow::Result;
use tests::{clients::PLACEHOLDER, gateway::record::Token, process::Running, scenario::Scenario};

fn exec(scenario: &Scenario, command: &[String]) -> Result<Running> {
    let mut exec = scenario.daemon.command(&["exec", "--name", "demo", "--"]);
    exec.args(command).env("DISCORD_BOT_TOKEN", PLACEHOLDER);
    Running::spawn(exec)
}

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

#[test]
fn a_client_under_exec_logs_in_and_leaves_nothing_behind() -> Result<()> {
    let scenario = Scenario::discord()?;
    let finished = exec(&scenario, &scenario.clients.node())?
        .finish()?
        .success()?;
    finished.event("ready")?;
    assert_eq!(scenario.gateway.record().tokens(), [Token::Real]);
    let sandboxes = scenario.daemon.json(&["sandboxes"])?;
    assert_eq!(sandboxes.as_array().map(Vec::len), Some(0), "{sandboxes}");
    Ok(())
}

#[test]
fn a_command_under_exec_has_no_privileges_and_no_device_but_lo() -> Result<()> {
    let scenario = Scenario::discord()?;
    let script = r"
        id -u
        awk '/^(CapPrm|CapEff|CapBnd|NoNewPrivs):/ {print $2}' /proc/self/status
        tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '
    ";
    let finished = exec(&scenario, &shell(script))?.finish()?.success()?;
    let none = "0000000000000000";
    assert_eq!(
        finished.stdout.lines().collect::<Vec<_>>(),
        ["65534", none, none, none, "1", "lo"]
    );
    Ok(())
}

#[test]
fn exec_passes_the_exit_code_of_its_command() -> Result<()> {
    let scenario = Scenario::discord()?;
    let finished = exec(&scenario, &shell("exit 7"))?.finish()?;
    assert_eq!(finished.status.code(), Some(7), "{finished:?}");
    Ok(())
}

#[test]
fn a_client_under_exec_in_the_hosts_namespace_logs_in_too() -> Result<()> {
    let scenario = Scenario::discord()?;
    let mut exec = scenario
        .daemon
        .command(&["exec", "--name", "demo", "--net", "host", "--"]);
    exec.args(scenario.clients.rust())
        .env("DISCORD_BOT_TOKEN", PLACEHOLDER);
    Running::spawn(exec)?.finish()?.success()?.event("ready")?;
    assert_eq!(scenario.gateway.record().tokens(), [Token::Real]);

    // Where others live too, loopback is captured like everything else: the gateway itself is out of reach.
    scenario.gateway.record().clear();
    let address = scenario.gateway.address().to_string();
    let connect = scenario.clients.probe(&["connect", &address]);
    let mut exec = scenario
        .daemon
        .command(&["exec", "--name", "demo", "--net", "host", "--"]);
    exec.args(connect);
    Running::spawn(exec)?.finish()?.event("connected")?;
    assert_eq!(scenario.gateway.record().look(<[_]>::len), 0);
    Ok(())
}

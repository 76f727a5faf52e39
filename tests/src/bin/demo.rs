//! Shows what interceptor is for: the same client logs in with a placeholder, first without and then with it.
//!
//! Run by `cargo xtask demo`, which builds and installs what this needs.

#![allow(
    clippy::print_stdout,
    reason = "standard output is this program's result"
)]

use std::{env, fs, process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{
    cage::Cage,
    clients::PLACEHOLDER,
    gateway::record::Token,
    interrupt, memory,
    process::{Finished, Running},
    require_root,
    scenario::Scenario,
};

fn main() -> Result<()> {
    require_root()?;
    interrupt::watch();
    let begun = Instant::now();
    let scenario = Scenario::discord()?;
    introduce(&scenario);
    without(&scenario)?;
    with(&scenario)?;
    drop(scenario);
    println!(
        "\nDone in {:.1} s; everything is cleaned up.",
        begun.elapsed().as_secs_f32()
    );
    Ok(())
}

fn introduce(scenario: &Scenario) {
    println!(
        "The gateway    a local TLS server that behaves like Discord's, on {}",
        scenario.gateway.address()
    );
    println!(
        "The client     the npm library `ws` with a raw tls.connect to gateway.discord.gg:443, no proxy setting"
    );
    println!("Its token      DISCORD_BOT_TOKEN={PLACEHOLDER}");
}

/// In a namespace with only `lo`, where the gateway itself listens on 127.0.0.1:443 and /etc/hosts leads to it.
fn without(scenario: &Scenario) -> Result<()> {
    println!(
        "\n── 1. Without interceptor ─────────────────────────────────────────────────────────"
    );
    println!("$ node ws-client.mjs");
    let cage = Cage::around(&scenario.gateway)?;
    let command = cage.command(&scenario.clients.node())?;
    let client = Running::spawn(as_bot(command))?.finish()?;
    show(&client);
    ensure!(
        close_code(&client)? == 4004,
        "the gateway was to refuse the placeholder"
    );
    println!(
        "   Discord's 4004, authentication failed: the placeholder reached the gateway as it was."
    );
    Ok(())
}

/// In a namespace with only `lo`, no gateway in it, no hosts file, no resolver and no route.
fn with(scenario: &Scenario) -> Result<()> {
    println!(
        "\n── 2. With interceptor ────────────────────────────────────────────────────────────"
    );
    let Scenario {
        daemon,
        gateway,
        clients,
        ..
    } = scenario;
    println!("$ interceptor exec --name demo -- node ws-client.mjs");
    let mut command = daemon.command(&["exec", "--name", "demo", "--"]);
    command.args(clients.node()).env("HOLD", "1");
    let mut client = Running::spawn(as_bot(command))?;
    let ready = client.wait_for_event("ready");
    // A client that closed instead has said why on its standard output.
    ready.context("the client did not reach READY")?;
    let pid = node_under(client.pid())?;
    let leaked = memory::holds(pid, gateway.token().as_bytes())?;
    client.close_stdin();
    let client = client.finish()?;
    show(&client);
    ensure!(
        close_code(&client)? == 1000,
        "the client was to end in order"
    );
    let token = gateway.record().tokens().last().copied();
    ensure!(token == Some(Token::Real), "the gateway saw {token:?}");
    ensure!(!leaked, "the client's memory holds the real token");
    println!("   The gateway saw the real token. The client's memory never held it.");

    for table in [["conns", "--all"].as_slice(), &["stats"]] {
        println!("\n$ interceptor {}", table.join(" "));
        println!("{}", daemon.cli(table)?.success()?.stdout);
    }
    Ok(())
}

fn as_bot(mut command: Command) -> Command {
    command.env("DISCORD_BOT_TOKEN", PLACEHOLDER);
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        if env::var_os(variable).is_some() {
            command.env_remove(variable);
        }
    }
    command
}

fn close_code(client: &Finished) -> Result<u64> {
    client
        .event("close")?
        .get("code")
        .and_then(Value::as_u64)
        .context("a close without a code")
}

fn show(client: &Finished) {
    for event in client.events() {
        let name = event
            .get("event")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let rest: Vec<_> = event
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| *key != "event")
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        println!("   {:<14}{}", name.to_uppercase(), rest.join(", "));
    }
    for line in client.stderr.lines() {
        println!("   {line}");
    }
}

/// The process that `interceptor exec` became, or started.
fn node_under(pid: u32) -> Result<u32> {
    let mut pid = pid;
    loop {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"))?;
        if matches!(comm.trim(), "node" | "MainThread") {
            return Ok(pid);
        }
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .context("this kernel lists no children of processes")?;
        pid = children
            .split_whitespace()
            .next()
            .with_context(|| format!("no node under {comm:?}"))?
            .parse()?;
    }
}

//! Shows what interceptor is for: the same client logs in with a placeholder, first without and then with it.
//!
//! Run by `cargo xtask demo`, which builds and installs what this needs.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "showing is what this program is for"
)]

use std::{
    env, fs,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{
    cage::Cage,
    clients::{Clients, PLACEHOLDER},
    daemon::Daemon,
    gateway::{Gateway, Options, record::Token},
    interrupt, memory,
    process::{Finished, Running},
    require_root,
    scenario::{TOKEN, directory, discord},
};

fn main() -> ExitCode {
    let begun = Instant::now();
    if let Err(error) = show_all() {
        eprintln!("\nThe demo failed: {error:#}");
        return ExitCode::FAILURE;
    }
    println!(
        "\nDone in {:.1} s; everything is cleaned up.",
        begun.elapsed().as_secs_f32()
    );
    ExitCode::SUCCESS
}

fn show_all() -> Result<()> {
    require_root()?;
    interrupt::watch();
    let directory = directory()?;
    let gateway = Gateway::start(Options::new(TOKEN))?;
    let clients = Clients::install(directory.path())?;
    println!(
        "Gateway   a local TLS server, as strict as Discord's, on {}",
        gateway.address()
    );
    println!(
        "Client    the npm library `ws`: a raw tls.connect to gateway.discord.gg:443, no proxy setting"
    );
    println!("Token     DISCORD_BOT_TOKEN={PLACEHOLDER}");

    title("1. Without interceptor");
    without(&gateway, &clients)?;

    title("2. With interceptor");
    let config = discord(&gateway).write(directory.path())?;
    let daemon = Daemon::start(&config, directory.path())?;
    with(&daemon, &gateway, &clients)
}

fn title(text: &str) {
    println!("\n── {text} {}", "─".repeat(76 - text.len()));
}

/// In a namespace with only `lo`, where the gateway itself listens on 127.0.0.1:443 and /etc/hosts leads to it.
fn without(gateway: &Gateway, clients: &Clients) -> Result<()> {
    println!("$ node ws-client.mjs");
    let cage = Cage::around(gateway)?;
    let command = cage.command(&clients.node())?;
    let client = Running::spawn(as_bot(command))?.finish()?;
    show(&client);
    ensure!(
        close_code(&client)? == 4004,
        "the gateway was to refuse the placeholder"
    );
    println!("   4004 is \"authentication failed\": the gateway saw the placeholder.");
    Ok(())
}

/// In a namespace with only `lo`, no gateway in it, no hosts file, no resolver and no route.
fn with(daemon: &Daemon, gateway: &Gateway, clients: &Clients) -> Result<()> {
    println!("$ interceptor run --config interceptor.yaml &");
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
    println!(
        "   The gateway saw the real token; the client's memory, searched meanwhile, did not hold it."
    );

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

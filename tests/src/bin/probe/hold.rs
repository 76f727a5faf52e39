//! Connections that have to outlive what happens to the daemon, and new ones while it happens.

use std::{
    io::{BufRead as _, Read as _, stdin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;
use tests::{gateway::frame::TEXT, load::open_many_files};

use crate::{
    say, tls,
    websocket::{Client, HOST, Received, identify, token},
};

#[derive(Debug, Args)]
pub(crate) struct Hold {
    /// Logs in on as many connections; each line on standard input is a round of messages over all of them.
    connections: usize,
}

pub(crate) fn hold(arguments: &Hold) -> Result<()> {
    open_many_files()?;
    let config = tls::config()?;
    let mut clients = Vec::new();
    while clients.len() < arguments.connections {
        let mut client = Client::open_at(HOST, &config)?;
        client.send(TEXT, identify()?.as_bytes())?;
        ensure!(client.is_ready()?, "the login failed");
        clients.push(client);
    }
    say(&json!({"event": "held", "connections": clients.len()}));
    for (round, line) in stdin().lock().lines().enumerate() {
        line?;
        let mut lost = Vec::new();
        for (number, client) in clients.iter_mut().enumerate() {
            if let Err(error) = echo(client, round, number) {
                lost.push(format!("{number}: {error:#}"));
            }
        }
        say(&json!({
            "event": "echoed", "round": round, "echoed": clients.len() - lost.len(), "lost": lost,
        }));
    }
    Ok(())
}

/// A message with the token in its bound field, and the answer to it.
fn echo(client: &mut Client, round: usize, number: usize) -> Result<()> {
    let d = json!({"token": token()?, "round": round, "number": number});
    client.send(TEXT, json!({"op": 100, "d": d}).to_string().as_bytes())?;
    match client.receive()? {
        Received::Json(answer) if answer.get("d") == Some(&d) => Ok(()),
        Received::Json(answer) => anyhow::bail!("another answer: {answer}"),
        Received::Close { code, reason } => anyhow::bail!("closed with {code:?} {reason}"),
        Received::Other { opcode, .. } => anyhow::bail!("a frame of type {opcode}"),
    }
}

/// Connects again and again until standard input ends: each time to the gateway's HELLO, then gone.
pub(crate) fn renew() -> Result<()> {
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    thread::spawn(move || {
        // However it ends.
        if stdin().read_to_end(&mut Vec::new()).is_ok() {
            ended.store(true, Ordering::Relaxed);
        }
    });
    let config = tls::config()?;
    let (mut opened, mut failed) = (0, Vec::new());
    let mut longest = Duration::ZERO;
    let mut all = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match Client::open_at(HOST, &config) {
            Ok(_) => opened += 1,
            Err(error) => failed.push(format!("{error:#}")),
        }
        let taken = begun.elapsed();
        all += taken;
        longest = longest.max(taken);
        if opened == 1 {
            say(&json!({"event": "begun"}));
        }
        // The second it takes to fail is no reason to fail a thousand times.
        if failed.len() > 100 {
            break;
        }
    }
    let micros = u64::try_from(all.as_micros())?
        .checked_div(opened)
        .unwrap_or_default();
    say(&json!({
        "event": "renewed", "opened": opened, "failed": failed,
        "longest_ms": u64::try_from(longest.as_millis())?, "mean_us": micros,
    }));
    Ok(())
}

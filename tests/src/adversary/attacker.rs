//! The hostile program, and the same program where nothing holds it.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::upstream::EXEMPT;
use crate::{netns::Netns, process::Running, sandbox::Sandbox};

/// Longer than the program gives itself.
const PATIENCE: Duration = Duration::from_secs(15);

/// As whom the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    Nobody,
    /// The host's, without capabilities.
    Root,
    /// The host's, with the capabilities of networks.
    Armed,
    /// Whose sockets one sandbox's configuration exempts.
    Exempt,
}

#[derive(Debug)]
pub(super) struct Attacker {
    running: Running,
    orders: u64,
}

/// What the program saw.
#[derive(Clone)]
pub(super) struct Tried {
    /// The process that tried, and those that it started.
    pub(super) pids: Vec<u32>,
    pub(super) said: String,
    /// May hold a secret, where it should not.
    pub(super) received: Vec<u8>,
}

impl Attacker {
    /// Starts the program in a cgroup and a namespace; `directory` holds its sources.
    pub(super) fn start(
        user: User,
        sandbox: &Sandbox,
        netns: &Netns,
        directory: &Path,
    ) -> Result<Self> {
        let script = directory.join("hostile.py").display().to_string();
        let program = ["/usr/bin/python3".into(), "-B".into(), script];
        let capabilities = match user {
            User::Armed => "-all,+net_admin,+net_raw",
            User::Nobody | User::Root | User::Exempt => "-all",
        };
        let user = match user {
            User::Nobody => 65534,
            User::Root | User::Armed => 0,
            User::Exempt => EXEMPT,
        };
        let command = sandbox.command_with(user, capabilities, netns, &program)?;
        let running = Running::spawn(command)?;
        running.wait_for_event("ready")?;
        Ok(Self { running, orders: 0 })
    }

    /// Gives an order; [`Self::outcome`] tells what came of it.
    pub(super) fn order(&mut self, order: &str, with: &Value) -> Result<u64> {
        self.orders += 1;
        let line = json!({"id": self.orders, "try": order, "with": with});
        self.running.write(format!("{line}\n").as_bytes())?;
        Ok(self.orders)
    }

    pub(super) fn outcome(&self, order: u64) -> Result<Tried> {
        let told = self
            .running
            .wait_for_line_within(PATIENCE, "an outcome", |line| {
                let event: Value = serde_json::from_str(line).ok()?;
                (event.get("id")?.as_u64()? == order).then_some(event)
            })?;
        let text = |key| told.get(key).and_then(Value::as_str);
        let pids = told.get("pids").and_then(Value::as_array);
        let pids = pids.context("an outcome without a process")?.iter();
        Ok(Tried {
            pids: pids
                .filter_map(|pid| u32::try_from(pid.as_u64()?).ok())
                .collect(),
            said: text("said").unwrap_or_default().to_owned(),
            received: STANDARD.decode(text("received").unwrap_or_default())?,
        })
    }
}

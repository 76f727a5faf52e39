//! What the daemon keeps of refusals, as a person can read it.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{daemon::Daemon, interrupt};

const PATIENCE: Duration = Duration::from_secs(6);
const POLL: Duration = Duration::from_millis(60);

/// Reasons that are about a socket which is not on its way anywhere.
const OF_SOCKETS: [&str; 5] = [
    "existing_socket",
    "socket_protocol",
    "socket_family",
    "socket_option",
    "no_listener",
];

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    sandbox: String,
    pid: u32,
    comm: String,
    destination: Option<String>,
    name: Option<String>,
    pub(super) reason: String,
    pub(super) detail: String,
}

impl Refusal {
    fn read(value: &Value) -> Self {
        let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Self {
            sandbox: text("sandbox").unwrap_or_default(),
            pid: number(value).unwrap_or_default(),
            comm: text("comm").unwrap_or_default(),
            destination: text("destination"),
            name: text("name"),
            reason: text("reason").unwrap_or_default(),
            detail: text("detail").unwrap_or_default(),
        }
    }

    /// Whether it says who, what and why. Sockets that were never made, and their options, have no destination.
    pub(super) fn is_readable(&self) -> bool {
        let names_something = self.destination.is_some()
            || self.name.is_some()
            || OF_SOCKETS.contains(&self.reason.as_str());
        !self.sandbox.is_empty()
            && !self.comm.is_empty()
            && !self.detail.is_empty()
            && names_something
    }
}

fn number(value: &Value) -> Option<u32> {
    value.get("pid")?.as_u64()?.try_into().ok()
}

/// Everything that is remembered.
fn refusals(daemon: &Daemon) -> Result<Vec<Refusal>> {
    let events = daemon.json(&["events"])?;
    let events = events.as_array().context("no list of events")?;
    Ok(events.iter().map(Refusal::read).collect())
}

/// Everything in the file of events.
pub(super) fn in_file(path: &Path) -> Result<Vec<Refusal>> {
    let lines = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let refusals = lines.lines().map(|line| {
        let event = serde_json::from_str(line).context("a line of the file is no JSON")?;
        Ok(Refusal::read(&event))
    });
    refusals.collect()
}

/// The refusals of a process and of those that it started, as soon as one is for any of `reasons`; whatever there is when
/// none comes.
pub(super) fn of_process(daemon: &Daemon, pids: &[u32], reasons: &[&str]) -> Result<Vec<Refusal>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        interrupt::check()?;
        let mut own = refusals(daemon)?;
        own.retain(|refusal| pids.contains(&refusal.pid));
        if own
            .iter()
            .any(|refusal| reasons.contains(&refusal.reason.as_str()))
            || Instant::now() > deadline
        {
            return Ok(own);
        }
        thread::sleep(POLL);
    }
}

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
const OF_SOCKETS: [&str; 7] = [
    "existing_socket",
    "moved_socket",
    WITHOUT_PROCESS,
    "socket_protocol",
    "socket_family",
    "socket_option",
    "no_listener",
];

/// The reason of packets at a device, which belong to no call that a process is in.
const WITHOUT_PROCESS: &str = "packet_egress";

/// One refusal.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    sandbox: String,
    pid: u32,
    comm: String,
    destination: Option<String>,
    name: Option<String>,
    pub(super) reason: String,
    pub(super) detail: String,
    /// How often.
    count: u64,
}

/// What counts is whether it is there, not how often.
impl PartialEq for Refusal {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            sandbox,
            pid,
            comm,
            destination,
            name,
            reason,
            detail,
            count: _,
        } = self;
        (sandbox, pid, comm) == (&other.sandbox, &other.pid, &other.comm)
            && (destination, name) == (&other.destination, &other.name)
            && (reason, detail) == (&other.reason, &other.detail)
    }
}

impl Refusal {
    pub(super) fn read(value: &Value) -> Self {
        let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Self {
            sandbox: text("sandbox").unwrap_or_default(),
            pid: number(value).unwrap_or_default(),
            comm: text("comm").unwrap_or_default(),
            destination: text("destination"),
            name: text("name"),
            reason: text("reason").unwrap_or_default(),
            detail: text("detail").unwrap_or_default(),
            count: value.get("count").and_then(Value::as_u64).unwrap_or(1),
        }
    }

    fn is_without_process(&self, sandbox: &str) -> bool {
        self.reason == WITHOUT_PROCESS && self.sandbox == sandbox
    }

    /// Whether it says who, what and why. Sockets that were never made, and their options, have no destination.
    pub(super) fn is_readable(&self) -> bool {
        let names_something = self.destination.is_some()
            || self.name.is_some()
            || OF_SOCKETS.contains(&self.reason.as_str());
        !self.sandbox.is_empty()
            && (!self.comm.is_empty() || self.reason == WITHOUT_PROCESS)
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

/// How many packets of a sandbox have been refused of which nobody can say whose they were.
pub(super) fn without_process(daemon: &Daemon, sandbox: &str) -> Result<u64> {
    let own = refusals(daemon)?.into_iter();
    let own = own.filter(|refusal| refusal.is_without_process(sandbox));
    Ok(own.map(|refusal| refusal.count).sum())
}

/// The refusals of a process and of those that it started, as soon as one is for any of `reasons`; whatever there is when
/// none comes. What has no process is taken for its own, if it is more in this sandbox than there was before.
pub(super) fn of_attempt(
    daemon: &Daemon,
    pids: &[u32],
    sandbox: &str,
    before: u64,
    reasons: &[&str],
) -> Result<Vec<Refusal>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        interrupt::check()?;
        let mut own = refusals(daemon)?;
        let unowned = own
            .iter()
            .filter(|refusal| refusal.is_without_process(sandbox));
        let more = unowned.map(|refusal| refusal.count).sum::<u64>() > before;
        own.retain(|refusal| {
            pids.contains(&refusal.pid) || (more && refusal.is_without_process(sandbox))
        });
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

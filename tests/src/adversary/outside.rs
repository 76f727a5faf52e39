//! What is outside: servers on every port that is tried, which tell what arrives.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::{
    ground::{EVIL, EVIL_V6, HOST, HOST_V6, LISTED},
    upstream,
    vector::Stated,
};
use crate::{netns::Netns, process::Running};

/// Where there are sandboxes from the beginning on.
const SANDBOXES: [&str; 8] = [
    "10.231.3.",
    "fd00:231:3:",
    "10.231.4.",
    "fd00:231:4:",
    "10.231.5.",
    "fd00:231:5:",
    "10.231.7.",
    "fd00:231:7:",
];

#[derive(Debug)]
pub(super) struct Outside(Running);

impl Outside {
    /// Listens on the addresses that nobody should reach.
    pub(super) fn start(netns: &Netns, directory: &Path) -> Result<Self> {
        let mut command = netns.command("/usr/bin/python3");
        command
            .arg("-B")
            .arg(directory.join("outside.py"))
            .args([EVIL, EVIL_V6, LISTED, "169.254.169.254"])
            .args(["100.100.100.200", "168.63.129.16", "fd00:ec2::254"]);
        let running = Running::spawn(command)?;
        running.wait_for_event("listening")?;
        Ok(Self(running))
    }

    /// How much has arrived so far.
    pub(super) fn mark(&self) -> usize {
        self.arrived().count()
    }

    /// What has arrived since then that a sandbox sent, or that was asked for by a name which policy does not know, or that
    /// has more than a question in it; but for what may leave.
    pub(super) fn strayed(&self, since: usize, stated: Option<Stated>) -> Vec<String> {
        let text = |event: &Value, key| event.get(key).and_then(Value::as_str).map(str::to_owned);
        let arrived = self.arrived().skip(since);
        let strayed = arrived.filter_map(|event| {
            let (what, from) = (text(&event, "what")?, text(&event, "from")?);
            // The daemon asks for what policy knows, and dials nobody here.
            let asked = text(&event, "name").is_some_and(|name| upstream::knows(&name));
            let carries = event.get("carries").and_then(Value::as_bool) == Some(true);
            let own = if from == HOST || from == HOST_V6 {
                !asked || carries
            } else {
                SANDBOXES.iter().any(|net| from.starts_with(net))
            };
            let may =
                stated.is_some_and(|stated| text(&event, "at").as_deref() == Some(stated.end));
            (own && !may).then(|| format!("{what} from {from}"))
        });
        strayed.collect()
    }

    fn arrived(&self) -> impl Iterator<Item = Value> {
        let lines: Vec<_> = self.0.stdout().lines().map(str::to_owned).collect();
        lines
            .into_iter()
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .filter(|event| event.get("event").and_then(Value::as_str) == Some("arrived"))
    }
}

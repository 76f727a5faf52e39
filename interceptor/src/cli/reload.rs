//! `interceptor reload`

use std::path::Path;

use super::{
    Json,
    output::{self, complain, escape},
};
use crate::control::client::Client;

pub(super) const EXAMPLES: &str = "\
Reads the file that the daemon was started with, and everything that it names. A configuration with a fault changes \
nothing, and every fault is told, here and, until a good one is read, by `stats`, `events` and the daemon's readiness. Open \
connections follow: one that is not allowed any more, or whose server is not trusted any more, is closed. Another CA that \
stands in its place answers connections from then on.

Examples:
  interceptor reload
  interceptor reload --json | jq -r '.changed[]'";

pub(super) fn run(json: Json, run_dir: &Path) -> anyhow::Result<()> {
    let reload = Client::new(run_dir).reload()?;
    if json.json {
        return output::json(&reload);
    }
    for report in &reload.reports {
        complain(report);
    }
    if reload.changed.is_empty() {
        return output::print("reloaded: nothing changed\n");
    }
    let lines: Vec<_> = reload.changed.iter().map(|line| escape(line)).collect();
    output::print(&format!("reloaded:\n  {}\n", lines.join("\n  ")))
}

//! `interceptor detach`

use std::path::Path;

use clap::Args;

use super::{
    Json,
    output::{self, escape},
};
use crate::control::client::Client;

const EXAMPLES: &str = "\
The sandbox's connections are closed, and new ones go straight to where they are addressed. Nothing else opens a \
sandbox: neither the end of the daemon nor that of the command which attached it.

Examples:
  interceptor detach micky
  interceptor detach 7";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DetachArgs {
    /// The sandbox, by its name or its number in `interceptor sandboxes`
    #[arg(value_name = "NAME|ID")]
    sandbox: String,
    #[command(flatten)]
    json: Json,
}

pub(super) fn run(args: &DetachArgs, run_dir: &Path) -> anyhow::Result<()> {
    let sandbox = Client::new(run_dir).detach(&args.sandbox)?;
    if args.json.json {
        return output::json(&sandbox);
    }
    output::print(&format!(
        "detached {}, sandbox {}: {} is open\n",
        escape(&sandbox.name),
        sandbox.id,
        escape(&sandbox.cgroup.display().to_string()),
    ))
}

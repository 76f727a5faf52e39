//! `interceptor detach`

use std::path::Path;

use anyhow::Context;
use clap::Args;

use super::{
    Json,
    output::{self, escape},
    target::{TargetArgs, place},
};
use crate::control::{api::DetachRequest, client::Client};

const EXAMPLES: &str = "\
The sandbox's connections are closed, and new ones go straight to where they are addressed. Nothing else opens a \
sandbox: neither the end of the daemon nor that of the command which attached it.

Examples:
  interceptor detach micky
  interceptor detach 7
  interceptor detach --pod agents/micky-0";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("required").required(true).arg("sandbox").args(TargetArgs::NAMES))]
pub(super) struct DetachArgs {
    /// The sandbox, by its name or its number in `interceptor sandboxes`
    #[arg(value_name = "NAME|ID")]
    sandbox: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    json: Json,
}

pub(super) fn run(args: DetachArgs, run_dir: &Path) -> anyhow::Result<()> {
    let named = args.sandbox.map(DetachRequest::Sandbox);
    let located = args.target.target()?.map(DetachRequest::Target);
    let request = named.or(located).context("nothing to detach")?;
    let sandbox = Client::new(run_dir).detach(&request)?;
    if args.json.json {
        return output::json(&sandbox);
    }
    output::print(&format!(
        "detached {}, sandbox {}: {} is open\n",
        escape(&sandbox.name),
        sandbox.id,
        escape(&place(&sandbox)),
    ))
}

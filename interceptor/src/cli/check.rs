//! `interceptor check`

use std::{fmt::Write, path::PathBuf};

use clap::Args;

use super::output::{self, escape};
use crate::{config, yaml::Level};

const EXAMPLES: &str = "\
Prints what becomes of every endpoint of every sandbox, and what of the policy files is not acted upon, each with its \
place in a file. Of a faulty configuration it prints every fault, and exits with 2.

The files are read as the daemon reads them, those of the secrets too. Nothing that runs is touched.

Example:
  interceptor check --config /etc/interceptor/interceptor.yaml && interceptor reload";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let snapshot = config::load(&args.config)?;
    let mut text = String::new();
    let mut warnings = 0;
    for report in snapshot.reports() {
        writeln!(text, "{}", escape(&report.to_string()))?;
        warnings += u32::from(report.level == Level::Warning);
    }
    let sandboxes = snapshot.sandboxes().count();
    writeln!(
        text,
        "{} can be used: sandboxes: {sandboxes}, warnings: {warnings}",
        args.config.display()
    )?;
    output::print(&text)
}

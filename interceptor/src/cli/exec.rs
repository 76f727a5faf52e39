//! `interceptor exec`

use std::{path::Path, process::ExitCode};

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    #[arg(long)]
    name: String,
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(super) fn run(_args: ExecArgs, _run_dir: &Path) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}

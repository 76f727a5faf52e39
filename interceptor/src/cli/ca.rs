//! `interceptor ca`

use std::path::Path;

use clap::Subcommand;

pub(super) const DATA_DIR: &str = "/var/lib/interceptor";

#[derive(Debug, Subcommand)]
pub(super) enum CaCommand {
    Init {
        #[arg(long)]
        data_dir: std::path::PathBuf,
    },
    Export,
    Bundle,
}
pub(super) fn run(_c: CaCommand, _run_dir: &Path) -> anyhow::Result<()> {
    Ok(())
}

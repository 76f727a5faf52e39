//! `interceptor check`
use clap::Args;
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[arg(long)]
    config: std::path::PathBuf,
}
pub(super) fn run(_c: &CheckArgs) -> anyhow::Result<()> {
    Ok(())
}

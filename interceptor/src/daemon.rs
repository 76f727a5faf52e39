//! daemon

use std::path::PathBuf;

/// What `interceptor run` is told.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) bpf_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {}

/// Runs the daemon until a signal ends it.
pub(crate) fn run(_settings: Settings) -> Result<(), RunError> {
    Ok(())
}

//! `cargo xtask bench`: what the daemon, as it is released, adds to what it carries.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    step::{self, Profile},
    system,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only see that it works, whatever the figures are
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    system::require_root()?;
    system::install(system::DEMO)?;
    step::build_for_release(&["interceptor", "bench"])?;
    step::announce("benchmark (less than three minutes)");
    let mut command = Command::new(step::built("bench", Profile::Release));
    if arguments.quick {
        command.arg("--quick");
    }
    // Becomes it, so that Ctrl-C finds only the program that cleans up.
    Err(command.exec()).context("starting the benchmark")
}

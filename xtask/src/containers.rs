//! `cargo xtask containers`: pods of real containers, again and again.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    clients,
    step::{self, Profile},
    system,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// For the program, as `--pods 3 --rounds 100`
    #[arg(last = true)]
    options: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    system::require_root()?;
    system::install(system::DEMO)?;
    system::install(system::TESTS)?;
    clients::install(&[clients::CLIENTS])?;
    step::build(step::cargo(), Profile::Debug)?;
    step::announce("containers");
    // Becomes it, so that Ctrl-C finds only the program that cleans up.
    let error = Command::new(step::built("containers", Profile::Debug))
        .args(&arguments.options)
        .exec();
    Err(error).context("starting the containers")
}

//! `cargo xtask upgrades`: daemons that take over one from another, and that are killed.

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
    /// Build as for tests, not for release
    #[arg(long)]
    debug: bool,
    /// For the program itself: --connections, --upgrades, --deaths, --seed
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    system::require_root()?;
    clients::install(&[clients::CLIENTS])?;
    let programs = ["interceptor", "probe", "upgrades"];
    let profile = if arguments.debug {
        step::build(step::cargo(), Profile::Debug)?;
        Profile::Debug
    } else {
        step::build_for_release(&programs)?;
        Profile::Release
    };
    step::announce("upgrades");
    // Becomes it, so that Ctrl-C finds only the program that cleans up.
    let mut command = Command::new(step::built("upgrades", profile));
    let error = command.args(&arguments.rest).exec();
    Err(error).context("starting the upgrades")
}

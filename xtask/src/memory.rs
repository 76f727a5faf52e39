//! `cargo xtask memory`: what the daemon, as it is released, takes for what it carries.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};

use crate::{clients, step, system};

pub(crate) fn run() -> Result<()> {
    system::require_root()?;
    clients::install()?;
    step::run(
        "building for release (the first time takes a few minutes)",
        step::cargo().args(["build", "--workspace", "--bins", "--release"]),
    )?;
    step::announce("memory");
    // Becomes it, so that Ctrl-C finds only the program that cleans up.
    let error = Command::new(step::released("memory")).exec();
    Err(error).context("starting the measurement")
}

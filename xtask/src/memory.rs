//! `cargo xtask memory`: what the daemon, as it is released, takes for what it carries.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    clients,
    step::{self, Profile},
    system,
};

pub(crate) fn run() -> Result<()> {
    system::require_root()?;
    clients::install(&[clients::CLIENTS])?;
    step::build_for_release(&["interceptor", "probe", "bench", "memory"])?;
    step::announce("memory");
    // Becomes it, so that Ctrl-C finds only the program that cleans up.
    let error = Command::new(step::built("memory", Profile::Release)).exec();
    Err(error).context("starting the measurement")
}

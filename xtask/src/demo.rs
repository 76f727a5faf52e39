//! `cargo xtask demo`: builds and installs what is needed, then becomes the program that shows it.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};

use crate::{clients, step, system};

pub(crate) fn run() -> Result<()> {
    system::require_root()?;
    clients::install(&[clients::CLIENTS])?;
    step::build(step::cargo(), step::Profile::Debug)?;
    step::announce("demo");
    // Becomes it, so that Ctrl-C finds only the program that cleans up.
    let error = Command::new(step::built("demo", step::Profile::Debug)).exec();
    Err(error).context("starting the demo")
}

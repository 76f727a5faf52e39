//! `cargo xtask adversary`: every known way round, tried on this kernel.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    step::{self, Profile},
    system,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this group of vectors; may be repeated
    #[arg(long)]
    group: Vec<String>,
    /// Only vectors whose name contains this; may be repeated
    #[arg(long)]
    vector: Vec<String>,
    /// Name the vectors, and try none
    #[arg(long)]
    list: bool,
    /// Print for programs
    #[arg(long)]
    json: bool,
    /// Write the matrix to a file too, as Markdown
    #[arg(long)]
    markdown: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    system::require_root()?;
    system::install(system::DEMO)?;
    system::install(system::TESTS)?;
    step::build(step::cargo(), Profile::Debug)?;
    step::announce("the adversary");
    let mut command = Command::new(step::built("adversary", Profile::Debug));
    let mut option = |name: &str, value: &str| {
        command.args([name, value]);
    };
    for group in &arguments.group {
        option("--group", group);
    }
    for vector in &arguments.vector {
        option("--vector", vector);
    }
    if let Some(path) = &arguments.markdown {
        option("--markdown", path);
    }
    if arguments.list {
        command.arg("--list");
    }
    if arguments.json {
        command.arg("--json");
    }
    // Becomes it, so that Ctrl-C finds only the program that cleans up.
    Err(command.exec()).context("starting the adversary")
}

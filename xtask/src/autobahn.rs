//! `cargo xtask autobahn`: installs Autobahn's WebSocket suite and builds, then becomes the program that runs it.

mod suite;

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{clients, step, system};

pub(crate) use self::suite::install;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Run only cases that match one of these, such as `6.*`
    #[arg(long, num_args = 1.., value_name = "PATTERN")]
    cases: Vec<String>,
    /// Messages that each case of sections 12 and 13 sends, instead of 1000
    #[arg(long, value_name = "NUMBER")]
    messages: Option<u32>,
    /// Run the selection that CI runs, which takes about a minute
    #[arg(long, conflicts_with_all = ["cases", "messages"])]
    quick: bool,
}

/// The selection of CI: everything that is quick, and of the rest one or two of each kind.
pub(crate) const QUICK: &[&str] = &[
    "--stall",
    "120",
    "--messages",
    "100",
    "--cases",
    "1.*",
    "2.*",
    "3.*",
    "4.*",
    "5.*",
    "6.*",
    "7.*",
    "9.1.1",
    "9.2.1",
    "9.3.9",
    "9.4.9",
    "9.7.1",
    "9.8.1",
    "10.*",
    "12.1.4",
    "12.2.11",
    "13.1.4",
    "13.2.3",
    "13.3.4",
    "13.4.3",
    "13.5.4",
    "13.6.11",
    "13.7.4",
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments {
        cases,
        messages,
        quick,
    } = arguments;
    system::require_root()?;
    system::install(system::TESTS)?;
    clients::install(&[clients::CLIENTS])?;
    install()?;
    // The large cases keep the daemon busy for many minutes even so.
    step::build(step::cargo(), step::Profile::Release)?;
    step::announce("Autobahn's suite");
    let mut command = Command::new(step::built("autobahn", step::Profile::Release));
    if *quick {
        command.args(QUICK);
    }
    if let Some(messages) = messages {
        command.args(["--messages", &messages.to_string()]);
    }
    if !cases.is_empty() {
        command.arg("--cases").args(cases);
    }
    // Becomes it, so that Ctrl-C finds only the program that cleans up.
    Err(command.exec()).context("starting it")
}

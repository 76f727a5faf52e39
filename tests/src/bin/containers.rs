//! Pods of real containers that start, log in and end at once, again and again, and what is left of them.
//!
//! Run by `cargo xtask containers`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the figures are this program's result"
)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tests::{containers::rounds, interrupt, require_root};

#[derive(Debug, Parser)]
struct Arguments {
    /// Pods at a time
    #[arg(long, default_value_t = 10)]
    pods: usize,
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    require_root()?;
    interrupt::watch();
    print!("{}", rounds::run(arguments.pods, arguments.rounds)?);
    Ok(())
}

//! Measures what the daemon that is built beside it takes for what it carries.
//!
//! Run by `cargo xtask memory`, which builds both for release.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is this program's result"
)]

use std::process::ExitCode;

use anyhow::Result;
use tests::{
    interrupt,
    load::{Load, measure},
    require_root,
};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    require_root()?;
    interrupt::watch();
    let figures = measure(&Load {
        message: 1 << 30,
        messages: 1_000_000,
        connections: 1000,
        body: 2 << 30,
    })?;
    for figure in &figures {
        println!("{figure}");
    }
    if figures.iter().all(|figure| figure.holds()) {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

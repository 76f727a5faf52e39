//! Measures what the daemon that is built beside it adds to what it carries, and prints a table in Markdown.
//!
//! Run by `cargo xtask bench`, which builds both for release.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is this program's result"
)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tests::{
    bench::{self, Figure, HEAD, LATEST_EVENT, client, cpu},
    interrupt,
    load::open_many_files,
    require_root,
};

#[derive(Debug, Parser)]
struct Arguments {
    /// Only see that it works
    #[arg(long)]
    quick: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// One end of what is measured
    #[command(hide = true)]
    Client(client::Arguments),
}

fn main() -> ExitCode {
    let Arguments { quick, role } = Arguments::parse();
    let outcome = match role {
        Some(Role::Client(arguments)) => client::run(&arguments).map(|()| ExitCode::SUCCESS),
        None => run(quick),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(quick: bool) -> Result<ExitCode> {
    require_root()?;
    cpu::pin_to_one()?;
    interrupt::watch();
    open_many_files()?;
    let figures = bench::measure(quick, |figure| eprintln!("{figure}"))?;
    println!("{HEAD}");
    for figure in &figures {
        println!("{figure}");
    }
    if quick || figures.iter().all(Figure::holds) {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("a server-sent event came more than {LATEST_EVENT} µs later than direct");
    Ok(ExitCode::FAILURE)
}

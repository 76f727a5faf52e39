//! Upgrades the daemon that is built beside it again and again under load, and kills it at many moments.
//!
//! Run by `cargo xtask upgrades`, which builds both for release.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the figures are this program's result"
)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tests::{
    interrupt,
    rebirth::{self, Seed},
    require_root,
    upgrade::{Held, Stage},
};

#[derive(Debug, Parser)]
struct Arguments {
    /// WebSockets that stand all the while
    #[arg(long, default_value_t = 200)]
    connections: u64,
    /// Daemons that take over, one from another
    #[arg(long, default_value_t = 20)]
    upgrades: usize,
    /// Moments at which the daemon is killed
    #[arg(long, default_value_t = 20)]
    deaths: usize,
    /// Of the moments, to see the same again
    #[arg(long)]
    seed: Option<u64>,
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
    if arguments.upgrades > 0 {
        let mut stage = Stage::new()?;
        let mut held = Held::open(&stage, arguments.connections)?;
        let figures = stage.upgrade(&mut held, arguments.upgrades)?;
        held.close()?;
        println!("{figures}");
    }
    if arguments.deaths > 0 {
        let seed = arguments.seed.map_or_else(Seed::fresh, Seed);
        println!("seed {}", seed.0);
        for death in rebirth::die(seed, arguments.deaths)? {
            println!("{death}");
        }
    }
    Ok(())
}

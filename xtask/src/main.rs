//! Every developer action, the same by hand and in CI.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these are command line tools for developers"
)]

mod adversary;
mod arm64;
mod autobahn;
mod bench;
mod build_ebpf;
mod clients;
mod containers;
mod deadline;
mod debian;
mod demo;
mod manifests;
mod memory;
mod step;
mod system;
mod test;
mod upgrades;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Developer actions of interceptor")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build the BPF object that the daemon embeds, or check that the committed one is fresh
    BuildEbpf(build_ebpf::Arguments),
    /// Build, then show one client log in with a placeholder, without and with interceptor (root)
    Demo,
    /// Install what is missing, then run every check and every test (root)
    Test(test::Arguments),
    /// Build for arm64, and test on an arm64 kernel (root, to install what is missing)
    Arm64(arm64::Arguments),
    /// Try every known way round on this kernel, and print what came of each (root)
    Adversary(adversary::Arguments),
    /// Run Autobahn's WebSocket suite direct and through interceptor, and compare the verdicts (root)
    Autobahn(autobahn::Arguments),
    /// Let every library that we know of log in through interceptor and run every HTTP client direct and through it, and
    /// print how they got on (root)
    Clients(clients::Arguments),
    /// Let pods of real containers start, log in and end at once, again and again, and count what is left (root)
    Containers(containers::Arguments),
    /// Build for release, then measure what interceptor adds in time, direct against through (root)
    Bench(bench::Arguments),
    /// Build for release, then measure the daemon's memory under load (root)
    Memory,
    /// Build for release, then upgrade the daemon again and again under load, and kill it at many moments (root)
    Upgrades(upgrades::Arguments),
}

fn main() -> ExitCode {
    run(Arguments::parse().action).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(action: Action) -> Result<ExitCode> {
    match action {
        Action::BuildEbpf(arguments) => build_ebpf::run(&arguments)?,
        Action::Demo => demo::run()?,
        Action::Test(arguments) => return test::run(&arguments),
        Action::Arm64(arguments) => return arm64::run(&arguments),
        Action::Adversary(arguments) => adversary::run(&arguments)?,
        Action::Autobahn(arguments) => autobahn::run(&arguments)?,
        Action::Clients(arguments) => clients::run(&arguments)?,
        Action::Containers(arguments) => containers::run(&arguments)?,
        Action::Bench(arguments) => bench::run(&arguments)?,
        Action::Memory => memory::run()?,
        Action::Upgrades(arguments) => upgrades::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

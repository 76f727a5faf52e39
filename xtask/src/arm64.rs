//! `cargo xtask arm64`: interceptor for arm64, built here and tested on an arm64 kernel, which QEMU runs where the machine
//! is another.

mod build;
mod compiler;
mod cpio;
mod guest;
mod kernel;
mod machine;
mod qemu;
mod runs;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};

use crate::{clients, step, test::Tally};
use kernel::Kernel;
use machine::Machine;

/// What Rust calls the platform.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Longest time that a machine may run.
const LONGEST: Duration = Duration::from_secs(7200);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build interceptor and the tests for arm64, into target/arm64
    Build,
    /// Build, boot Debian's arm64 kernel under QEMU and run the tests there as root
    Test(TestArguments),
}

#[derive(Debug, Args)]
struct TestArguments {
    /// The kernel to boot
    #[arg(long, value_enum, default_value_t)]
    kernel: Kernel,
    /// Run only this; may be repeated
    #[arg(long, value_enum)]
    only: Vec<runs::Part>,
    /// Run only tests whose name contains this
    #[arg(long)]
    name: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.action {
        Action::Build => {
            let programs = build::run()?;
            println!("{}", programs.program("interceptor")?.display());
            Ok(ExitCode::SUCCESS)
        }
        Action::Test(arguments) => test(arguments),
    }
}

fn test(arguments: &TestArguments) -> Result<ExitCode> {
    let begin = Instant::now();
    // Asked first: what is missing is said before the long build.
    qemu::install()?;
    let kernel = kernel::install(arguments.kernel)?;
    let system = guest::install()?;
    clients::install(&[clients::CLIENTS])?;
    let programs = build::run()?;
    let built = begin.elapsed();

    let runs = runs::chosen(&programs, &arguments.only, arguments.name.as_deref())?;
    let payload = guest::payload(&programs, &runs::script(&runs, arguments.kernel.features()))?;
    let machine = Machine {
        image: &kernel.image,
        archives: &[&system, &kernel.modules, &payload],
        limit: LONGEST,
        log: &directory().join("log"),
    };
    let mut tally = Tally::default();
    step::announce(&format!("booting {}", kernel.release));
    let code = machine.run(|line| {
        println!("{line}");
        tally.read(line);
    })?;
    println!(
        "{} s to build, {} s in the machine; logs are in target/arm64/log",
        built.as_secs(),
        (begin.elapsed() - built).as_secs()
    );
    let outcome = tally.conclude();
    ensure!(
        code == 0 || outcome != ExitCode::SUCCESS,
        "{code} of the runs failed without a test that did"
    );
    Ok(outcome)
}

/// Where everything of this action lies.
fn directory() -> PathBuf {
    step::root().join("target/arm64")
}

/// What is downloaded or made once; remove it to have newer packages.
fn cache() -> PathBuf {
    directory().join("cache")
}

/// An empty directory beside `place`, which takes its name when it is complete.
fn fresh(place: &Path) -> Result<PathBuf> {
    let mut name = place.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    Ok(fresh)
}

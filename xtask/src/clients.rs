//! Clients that others wrote, pinned in `tests/clients`: their packages, installed once into `target`, and the programs
//! that log in with them or make requests.

use std::{fs, os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{step, system};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Install the packages, and leave it at that
    #[arg(long)]
    install: bool,
    /// Only libraries and HTTP clients whose name contains this
    #[arg(conflicts_with = "install")]
    name: Option<String>,
}

/// Packages that are installed together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    /// Of the pins, in the workspace.
    source: &'static str,
    /// Of the packages, in `target`.
    target: &'static str,
}

/// What the programs in `tests/clients` need.
pub(crate) const CLIENTS: Set = Set {
    source: "tests/clients",
    target: "clients",
};

/// Libraries that the end-to-end tests play.
pub(crate) const LIBRARIES: Set = Set {
    source: "tests/clients/libraries",
    target: "libraries",
};

/// HTTP clients that the end-to-end tests compare.
pub(crate) const WEB: Set = Set {
    source: "tests/clients/web",
    target: "web",
};

/// Libraries that only `cargo xtask clients` plays.
const FURTHER: Set = Set {
    source: "tests/clients/further",
    target: "further",
};

const PINS: [&str; 2] = ["package.json", "requirements.txt"];

/// Installs everything, then becomes the program that lets every library log in.
///
/// # Errors
/// Something cannot be installed or built.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !arguments.install {
        system::require_root()?;
        system::install(system::TESTS)?;
    }
    install(&[CLIENTS, LIBRARIES, WEB, FURTHER])?;
    build_twilight()?;
    if arguments.install {
        return Ok(());
    }
    step::build(step::cargo(), step::Profile::Debug)?;
    step::announce("libraries");
    let mut program = Command::new(step::built("libraries", step::Profile::Debug));
    program.args(&arguments.name);
    Err(program.exec()).context("starting the libraries")
}

/// Installs packages unless those that are there are of the same pins.
///
/// # Errors
/// npm or pip fails, for instance because no registry can be reached.
pub(crate) fn install(sets: &[Set]) -> Result<()> {
    system::install(system::DEMO)?;
    sets.iter().try_for_each(|set| set.install())
}

impl Set {
    fn install(self) -> Result<()> {
        let sources = step::root().join(self.source);
        let target = step::root().join("target").join(self.target);
        let current = PINS.iter().all(|pin| {
            let installed = fs::read(target.join(pin));
            installed.is_ok_and(|bytes| fs::read(sources.join(pin)).is_ok_and(|pins| pins == bytes))
        });
        if current {
            return Ok(());
        }
        if target.exists() {
            fs::remove_dir_all(&target)?;
        }
        let fresh = target.with_extension("new");
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        fs::create_dir_all(&fresh)?;
        for pin in PINS {
            fs::copy(sources.join(pin), fresh.join(pin))
                .with_context(|| format!("copying {pin}"))?;
        }
        self.install_into(&fresh)?;
        fs::rename(&fresh, &target).context("moving the packages into place")
    }

    fn install_into(self, directory: &Path) -> Result<()> {
        step::run(
            &format!("installing npm packages of {}", self.source),
            Command::new("npm")
                .args(["install", "--no-package-lock", "--no-audit", "--no-fund"])
                .args(["--silent", "--ignore-scripts"])
                .current_dir(directory),
        )?;
        step::run(
            &format!("installing Python packages of {}", self.source),
            Command::new("/usr/bin/python3")
                .args(["-m", "pip", "install", "--quiet"])
                .arg("--disable-pip-version-check")
                .args(["--root-user-action", "ignore", "--target", "python"])
                .args(["-r", "requirements.txt"])
                .current_dir(directory),
        )
    }
}

/// The client in Rust is a workspace of its own, so that nobody else has to build what it needs.
fn build_twilight() -> Result<()> {
    let target = step::root().join("target/twilight");
    step::run(
        "building the client on twilight",
        step::cargo()
            .args(["build", "--locked", "--target-dir"])
            .arg(&target)
            .current_dir(step::root().join(FURTHER.source).join("twilight")),
    )?;
    let program = "twilight-client";
    let place = step::root().join("target").join(FURTHER.target);
    fs::copy(target.join("debug").join(program), place.join(program))
        .context("copying the client on twilight")
        .map(drop)
}

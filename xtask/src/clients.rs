//! Packages of the test clients, pinned in `tests/clients`, installed once into `target/clients`.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{step, system};

const PINS: [&str; 2] = ["package.json", "requirements.txt"];

/// Installs the packages unless those that are there are of the same pins.
///
/// # Errors
/// npm or pip fails, for instance because no registry can be reached.
pub(crate) fn install() -> Result<()> {
    system::install(system::DEMO)?;
    let sources = step::root().join("tests/clients");
    let target = step::root().join("target/clients");
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
        fs::copy(sources.join(pin), fresh.join(pin)).with_context(|| format!("copying {pin}"))?;
    }
    step::run(
        "installing the npm library ws",
        Command::new("npm")
            .args(["install", "--no-package-lock", "--no-audit", "--no-fund"])
            .args(["--silent", "--ignore-scripts"])
            .current_dir(&fresh),
    )?;
    step::run(
        "installing the Python library websockets",
        Command::new("/usr/bin/python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(["--root-user-action", "ignore", "--target", "python"])
            .args(["-r", "requirements.txt"])
            .current_dir(&fresh),
    )?;
    fs::rename(&fresh, &target).context("moving the packages into place")
}

//! What holds `deploy/` and its documents against Kubernetes' schemas, the daemon and systemd: `tests/manifests`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    step::{self, Profile},
    system,
};

/// Packages with their versions.
const PINS: &str = "requirements.txt";
/// The one that Debian's pip installs for: some packages are compiled.
const PYTHON: &str = "/usr/bin/python3";

fn sources() -> PathBuf {
    step::root().join("tests/manifests")
}

fn target() -> PathBuf {
    step::root().join("target/manifests")
}

/// Installs what the checks need, unless it is there with the same pins.
///
/// # Errors
/// Something is missing and cannot be installed.
pub(crate) fn install() -> Result<()> {
    system::install(system::MANIFESTS)?;
    let (pins, target) = (sources().join(PINS), target());
    let pins = fs::read(&pins).with_context(|| format!("reading {}", pins.display()))?;
    if fs::read(target.join(PINS)).is_ok_and(|installed| installed == pins) {
        return Ok(());
    }
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    step::run(
        "installing Kubernetes' schemas",
        Command::new(PYTHON)
            .args(["-m", "pip", "install", "--quiet"])
            .arg("--disable-pip-version-check")
            .args(["--root-user-action", "ignore", "--target"])
            .arg(target.join("python"))
            .arg("-r")
            .arg(sources().join(PINS)),
    )?;
    // Last, for it says that the rest is complete.
    fs::write(target.join(PINS), pins).context("finishing the installation")
}

/// The checks, which print as Rust's tests do. They need `interceptor` built.
pub(crate) fn command() -> Command {
    let mut command = Command::new(PYTHON);
    command
        .arg(sources().join("check.py"))
        .arg(step::root())
        .arg(step::built("interceptor", Profile::Debug))
        .env("PYTHONPATH", target().join("python"))
        // Nothing is left among the sources.
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

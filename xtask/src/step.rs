//! Commands run one after the other, each announced in a line.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// The workspace's directory.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

pub(crate) fn announce(what: &str) {
    eprintln!("==> {what}");
}

/// Announces a command and runs it to its end.
///
/// # Errors
/// It cannot be started or fails.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    announce(what);
    let status = command
        .status()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    ensure!(status.success(), "{what}: {status}");
    Ok(())
}

/// Runs a command to its end and returns what it prints.
///
/// # Errors
/// It cannot be started or fails, or prints no text.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command
        .output()
        .with_context(|| format!("starting {program}"))?;
    ensure!(
        output.status.success(),
        "{program}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    String::from_utf8(output.stdout).with_context(|| format!("reading what {program} prints"))
}

/// How a program is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
}

/// Builds every program of the workspace by a command made with [`cargo`].
///
/// # Errors
/// The build fails.
pub(crate) fn build(mut cargo: Command, profile: Profile) -> Result<()> {
    cargo.args(["build", "--workspace", "--bins"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    run("building (the first time takes a few minutes)", &mut cargo)
}

/// Builds some programs of the workspace for release: each is optimised as a whole, which takes its time.
///
/// # Errors
/// The build fails.
pub(crate) fn build_for_release(programs: &[&str]) -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["build", "--workspace", "--release"]);
    for program in programs {
        cargo.args(["--bin", program]);
    }
    run("building (the first time takes a few minutes)", &mut cargo)
}

/// A program that [`build`] or [`build_for_release`] made.
pub(crate) fn built(name: &str, profile: Profile) -> PathBuf {
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let directory = match profile {
        Profile::Debug => "debug",
        Profile::Release => "release",
    };
    target.join(directory).join(name)
}

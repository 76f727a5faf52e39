//! QEMU for arm64, installed by apt where there is apt.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::cache;
use crate::{debian, step, system};

pub(super) const PROGRAM: &str = "qemu-system-aarch64";
const PACKAGE: &str = "qemu-system-arm";
/// Of one version with it.
const PARTS: [&str; 2] = ["qemu-system-common", "qemu-system-data"];

/// Installs QEMU, and what else a machine is made with, unless it is there.
///
/// # Errors
/// It cannot be installed without removing something else.
pub(super) fn install() -> Result<()> {
    system::install(system::MACHINE)?;
    if system::is_there(PROGRAM) {
        return Ok(());
    }
    ensure!(
        system::is_there("apt-get"),
        "{PROGRAM} is missing, and there is no apt-get to install it"
    );
    step::run(
        "looking for packages",
        Command::new("apt-get").args(["update", "-qq"]),
    )?;
    if step::run("installing QEMU", apt().arg(PACKAGE)).is_ok() {
        return Ok(());
    }
    // Where parts of QEMU are from backports already, the rest has to be.
    from_backports()
}

fn from_backports() -> Result<()> {
    let release = step::output(
        Command::new("sh").args(["-c", r#". /etc/os-release; echo "$VERSION_CODENAME""#]),
    )?;
    let release = format!("{}-backports", release.trim());
    let directory = cache().join("apt");
    let (lists, sources) = (directory.join("lists"), directory.join("sources"));
    for directory in [&lists.join("partial"), &sources] {
        fs::create_dir_all(directory)?;
    }
    let mirror = debian::mirror(false)?;
    let keyring = debian::KEYRING;
    fs::write(
        directory.join("sources.list"),
        format!(
            "deb [signed-by={keyring}] {mirror} {release} main\n\
             deb [signed-by={keyring}] {mirror} {} main\n",
            release.trim_end_matches("-backports")
        ),
    )?;
    let options = |command: &mut Command| {
        for (key, path) in [
            ("Dir::Etc::SourceList", directory.join("sources.list")),
            ("Dir::Etc::SourceParts", sources.clone()),
            ("Dir::State::Lists", lists.clone()),
        ] {
            command.args(["-o", &format!("{key}={}", path.display())]);
        }
        command.args(["-o", "APT::Sandbox::User=root"]);
    };
    let mut update = Command::new("apt-get");
    options(&mut update);
    step::run(
        &format!("looking for packages of Debian {release}"),
        update.args(["-qq", "update"]),
    )?;
    let mut install = apt();
    options(&mut install);
    for package in [PACKAGE].into_iter().chain(PARTS) {
        install.arg(format!("{package}/{release}"));
    }
    step::run("installing QEMU from backports", &mut install)
        .context("QEMU for arm64 cannot be installed without removing something else")
}

/// Never trades away what is installed.
fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args([
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            "--no-remove",
        ])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

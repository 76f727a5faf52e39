//! A compiler with a standard library for arm64 on a machine of another architecture: Debian's, unpacked where nothing else
//! finds it.

use std::{
    env::consts::ARCH, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{TARGET, cache, fresh};
use crate::{
    debian::{self, Archive},
    step, system,
};

/// The release whose packages run on the oldest host, and whose C library the result asks for.
pub(super) const DEBIAN: &str = "bookworm";

/// Makes cargo build for arm64. A machine of that architecture does so by itself.
///
/// # Errors
/// The compiler is not there and cannot be had.
pub(super) fn select(cargo: &mut Command) -> Result<()> {
    if ARCH == "aarch64" {
        return Ok(());
    }
    system::install(system::ARM64)?;
    let rustc = install()?;
    let variable = TARGET.replace('-', "_");
    cargo
        .env("RUSTC", rustc)
        .env(
            format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase()),
            "aarch64-linux-gnu-gcc",
        )
        .env(format!("CC_{variable}"), "aarch64-linux-gnu-gcc")
        .env(format!("AR_{variable}"), "aarch64-linux-gnu-ar")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    Ok(())
}

/// Unpacks the compiler unless it is there, and returns its program.
fn install() -> Result<PathBuf> {
    let place = cache().join("rust");
    let rustc = place.join("rustc");
    if rustc.exists() {
        return Ok(rustc);
    }
    ensure!(
        ARCH == "x86_64",
        "there is a compiler for arm64 on x86_64 and on arm64 itself only"
    );
    let fresh = fresh(&place)?;
    let release = format!("{DEBIAN}-security");
    let archive = Archive::open(&fresh.join("apt"), &[&release], &["amd64", "arm64"])?;
    for package in archive.download(&packages(&archive)?)? {
        debian::unpack(&package, &fresh)?;
    }
    fs::remove_dir_all(fresh.join("apt"))?;
    // Its libraries are beside it, where the loader does not look by itself.
    let program = fresh.join("rustc");
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={0}/usr/lib/x86_64-linux-gnu exec {0}/usr/bin/rustc \"$@\"\n",
        place.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::rename(&fresh, &place).context("moving the compiler into place")?;
    step::run(
        "asking the compiler for arm64 for its version",
        Command::new(&rustc).arg("--version"),
    )?;
    Ok(rustc)
}

/// The compiler, the standard libraries of both architectures, and LLVM, all of one version.
fn packages(archive: &Archive) -> Result<Vec<String>> {
    let version = archive.version("rustc-web:amd64")?;
    let mut numbers = version.split('.');
    let release = match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => format!("{major}.{minor}"),
        _ => String::new(),
    };
    let shared = format!("libstd-rust-web-{release}:amd64={version}");
    let llvm = archive
        .record(&shared)?
        .split([' ', ',', '\n'])
        .find(|word| word.starts_with("libllvm"))
        .map(|name| format!("{name}:amd64"))
        .context("the compiler names no LLVM")?;
    Ok(vec![
        format!("rustc-web:amd64={version}"),
        format!("libstd-rust-web-dev:amd64={version}"),
        format!("libstd-rust-web-dev:arm64={version}"),
        shared,
        llvm,
    ])
}

//! A compiler with the sources of `core`, for a target that has no prebuilt one, and a linker for BPF.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{step, system};

/// The release that works with LLVM 22, which is that of Rust 1.95 and 1.96.
const BPF_LINKER: &str = "0.10.3";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

#[derive(Debug)]
pub(super) struct Toolchain {
    rustc: PathBuf,
    /// Sources of the standard library.
    library: PathBuf,
    /// Where cargo unpacks crates.
    registry: PathBuf,
}

impl Toolchain {
    /// The first compiler that can do it: one of rustup's, or Debian's. Installs Debian's where root may, and the linker.
    ///
    /// # Errors
    /// Something is missing that cannot be installed from here; the message is what to run.
    pub(super) fn find_or_install() -> Result<Self> {
        let toolchain = match Self::find() {
            Some(toolchain) => toolchain,
            None => {
                install_from_debian()?;
                Self::find().with_context(missing)?
            }
        };
        install_linker()?;
        Ok(toolchain)
    }

    fn find() -> Option<Self> {
        let mut compilers = of_rustup();
        compilers.push(PathBuf::from(DEBIAN_RUSTC));
        compilers.into_iter().find_map(Self::of)
    }

    /// None if the compiler is not there, is older than the workspace wants, or lacks the sources of `core`.
    fn of(rustc: PathBuf) -> Option<Self> {
        let version = output(Command::new(&rustc).arg("--version"))?;
        let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?;
        let library = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
        if !is_new_enough(&version) || !library.join("core").exists() {
            return None;
        }
        let home = env::var_os("CARGO_HOME").map_or_else(
            || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo"),
            PathBuf::from,
        );
        Some(Self {
            rustc,
            library,
            registry: home.join("registry/src"),
        })
    }

    /// Makes cargo use this compiler, and nothing of the environment that is meant for another.
    pub(super) fn select(&self, cargo: &mut Command) {
        cargo
            .env("RUSTC", &self.rustc)
            // Building `core` is reserved to nightly toolchains otherwise.
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
    }

    pub(super) fn library(&self) -> &Path {
        &self.library
    }

    pub(super) fn registry(&self) -> &Path {
        &self.registry
    }
}

/// The compilers that rustup has, the active one first.
fn of_rustup() -> Vec<PathBuf> {
    let Some(toolchains) = output(Command::new("rustup").args(["toolchain", "list"])) else {
        return Vec::new();
    };
    let mut lines: Vec<&str> = toolchains.lines().collect();
    lines.sort_by_key(|line| !line.contains("active"));
    lines
        .into_iter()
        .filter_map(|line| line.split_whitespace().next())
        .filter_map(|name| {
            output(Command::new("rustup").args(["which", "--toolchain", name, "rustc"]))
        })
        .map(PathBuf::from)
        .collect()
}

fn install_from_debian() -> Result<()> {
    if !system::is_there("apt-get") || system::require_root().is_err() {
        bail!(missing());
    }
    system::install(system::EBPF)
}

fn missing() -> String {
    "no Rust toolchain has the sources of core: run `rustup component add rust-src`, or on Debian as root \
     `apt-get install rustc-web rust-web-src`"
        .to_owned()
}

fn install_linker() -> Result<()> {
    if system::is_there("bpf-linker") {
        return Ok(());
    }
    step::run(
        "installing bpf-linker (about two minutes)",
        step::cargo()
            .args(["install", "--locked", "bpf-linker", "--version", BPF_LINKER])
            .env_remove("RUSTC"),
    )
}

/// Whether `rustc 1.96.0 (…)` is at least what the workspace's manifest asks for.
fn is_new_enough(version: &str) -> bool {
    let number = |version: &str| {
        let mut parts = version.split(['.', '-']);
        let mut part = || parts.next()?.parse::<u32>().ok();
        Some((part()?, part()?))
    };
    version
        .split_whitespace()
        .nth(1)
        .and_then(number)
        .is_some_and(|found| Some(found) >= number(env!("CARGO_PKG_RUST_VERSION")))
}

/// What a command prints, without the line's end; None if it is not there or fails.
fn output(command: &mut Command) -> Option<String> {
    Some(step::output(command).ok()?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_older_than_the_workspace_is_passed_over() {
        for (version, new_enough) in [
            ("rustc 1.96.0 (ac68faa20 2026-05-25)", true),
            ("rustc 1.95.0 (f1e2d3c4b 2026-04-14)", true),
            ("rustc 2.0.0-nightly (f1e2d3c4b 2026-04-14)", true),
            ("rustc 1.63.0 (4b91a6ea7 2022-08-08)", false),
            ("rustc 1.94.1", false),
            ("rustc", false),
        ] {
            assert_eq!(is_new_enough(version), new_enough, "{version}");
        }
    }
}

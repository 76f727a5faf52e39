//! What a machine needs beside Rust, installed by apt where there is apt.

use std::{env, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::step;

/// A program or file, and the Debian package that has it.
pub(crate) struct Need {
    thing: &'static str,
    package: &'static str,
}

const fn need(thing: &'static str, package: &'static str) -> Need {
    Need { thing, package }
}

/// For the demo.
pub(crate) const DEMO: &[Need] = &[
    need("ip", "iproute2"),
    need("nsenter", "util-linux"),
    need("setpriv", "util-linux"),
    need("node", "nodejs"),
    need("npm", "npm"),
    need("/usr/bin/python3", "python3"),
    need("/usr/lib/python3/dist-packages/pip", "python3-pip"),
];

/// For the tests, beside what the demo needs.
pub(crate) const TESTS: &[Need] = &[
    need("curl", "curl"),
    need("git", "git"),
    need("tcpdump", "tcpdump"),
    need("sysctl", "procps"),
    need("cc", "gcc"),
    need("musl-gcc", "musl-tools"),
    need("runc", "runc"),
    need("nft", "nftables"),
];

/// For checking what is in `deploy`. Without systemd its part is skipped.
pub(crate) const MANIFESTS: &[Need] = &[
    need("kubectl", "kubernetes-client"),
    need("/usr/bin/python3", "python3"),
    need("/usr/lib/python3/dist-packages/pip", "python3-pip"),
];

/// For building the BPF programs, where rustup has no toolchain that can.
pub(crate) const EBPF: &[Need] = &[
    need("/usr/share/doc/rustc-web", "rustc-web"),
    need("/usr/lib/rustlib/src/rust/library/core", "rust-web-src"),
];

/// For building for arm64 on x86_64.
pub(crate) const ARM64: &[Need] = &[
    need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    need(
        "/usr/aarch64-linux-gnu/include/stdio.h",
        "libc6-dev-arm64-cross",
    ),
    need("/usr/lib/x86_64-linux-gnu/libedit.so.2", "libedit2"),
    need("/usr/lib/x86_64-linux-gnu/libz3.so.4", "libz3-4"),
    need("/usr/lib/x86_64-linux-gnu/libxml2.so.2", "libxml2"),
];

/// For making what an arm64 machine boots.
pub(crate) const MACHINE: &[Need] = &[
    need("cpio", "cpio"),
    need("depmod", "kmod"),
    need("xz", "xz-utils"),
];

/// Installs whatever of `needs` is missing.
///
/// # Errors
/// Something is missing and cannot be installed; the message names the packages.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    let mut packages: Vec<&str> = needs
        .iter()
        .filter(|need| !is_there(need.thing))
        .map(|need| need.package)
        .collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    if !is_there("apt-get") {
        bail!(
            "missing, and no apt-get to install it: {}",
            packages.join(", ")
        );
    }
    step::run(
        "looking for packages",
        Command::new("apt-get").args(["update", "-qq"]),
    )?;
    step::run(
        &format!("installing {}", packages.join(", ")),
        Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// Whether a program is in `PATH`, or a file where it is said to be.
pub(crate) fn is_there(thing: &str) -> bool {
    if thing.starts_with('/') {
        return Path::new(thing).exists();
    }
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|directory| directory.join(thing).exists()))
}

/// # Errors
/// The caller is not root.
pub(crate) fn require_root() -> Result<()> {
    let output = Command::new("id").arg("-u").output()?;
    if output.stdout.trim_ascii() != b"0" {
        bail!("this needs root, for namespaces, cgroups and BPF: run it with sudo");
    }
    Ok(())
}

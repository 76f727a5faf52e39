//! Debian's kernels for arm64.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::{cache, cpio, fresh};
use crate::{
    debian::{self, Archive},
    step,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Kernel {
    /// Of Debian 13
    #[default]
    #[value(name = "6.12")]
    V6_12,
    /// Of Debian 13, with pages of 16 KiB
    #[value(name = "6.12-16k")]
    V6_12Pages16k,
    /// Of Debian 12
    #[value(name = "6.1")]
    V6_1,
}

/// One that can be booted.
#[derive(Debug)]
pub(super) struct Installed {
    /// Its version, as uname(1) shows it.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// An archive with its modules.
    pub(super) modules: PathBuf,
}

/// What there is a use for in a machine without disks and devices: networks, their cryptography, and what the machine is
/// driven by.
const MODULES: &[&str] = &[
    "arch",
    "crypto",
    "drivers/block/loop.ko",
    "drivers/char",
    "drivers/net/dummy.ko",
    "drivers/net/ipvlan",
    "drivers/net/macvlan.ko",
    "drivers/net/tun.ko",
    "drivers/net/veth.ko",
    "drivers/net/wireguard",
    "drivers/virtio",
    "fs/overlayfs",
    "lib",
    "net",
];

impl Kernel {
    /// The package that always leads to the newest of its kind.
    const fn package(self) -> &'static str {
        match self {
            Self::V6_12 | Self::V6_1 => "linux-image-cloud-arm64",
            Self::V6_12Pages16k => "linux-image-arm64-16k",
        }
    }

    /// What tests may rely on, in their variable KERNEL_HAS. BPF trampolines, which lsm_cgroup needs, came to arm64 after 6.1.
    pub(super) const fn features(self) -> &'static str {
        match self {
            Self::V6_12 | Self::V6_12Pages16k => "lsm_cgroup",
            Self::V6_1 => "",
        }
    }

    const fn releases(self) -> [&'static str; 2] {
        match self {
            Self::V6_12 | Self::V6_12Pages16k => ["trixie", "trixie-security"],
            Self::V6_1 => ["bookworm", "bookworm-security"],
        }
    }
}

/// Gets a kernel unless it is there.
///
/// # Errors
/// A mirror cannot be reached.
pub(super) fn install(kernel: Kernel) -> Result<Installed> {
    let name = kernel
        .to_possible_value()
        .context("every kernel has a name")?;
    let place = cache().join(format!("kernel-{}", name.get_name()));
    if !place.exists() {
        let fresh = fresh(&place)?;
        unpack(kernel, &fresh)?;
        fs::rename(&fresh, &place).context("moving the kernel into place")?;
    }
    let release = fs::read_to_string(place.join("release"))?;
    Ok(Installed {
        image: place.join("boot").join(format!("vmlinuz-{release}")),
        modules: place.join("modules.cpio"),
        release,
    })
}

fn unpack(kernel: Kernel, place: &Path) -> Result<()> {
    let archive = Archive::open(&place.join("apt"), &kernel.releases(), &["arm64"])?;
    let package = archive
        .with_dependencies(kernel.package())?
        .into_iter()
        .find(|name| is_image(name))
        .with_context(|| format!("{} leads to no kernel", kernel.package()))?;
    for file in archive.download(&[&package])? {
        debian::unpack(&file, place)?;
    }
    fs::remove_dir_all(place.join("apt"))?;
    let release = package.trim_start_matches("linux-image-");
    select_modules(place, release)?;
    fs::write(place.join("release"), release).context("noting the kernel's version")
}

/// Whether this is a kernel of one version, not the package that leads to the newest.
fn is_image(package: &str) -> bool {
    package
        .strip_prefix("linux-image-")
        .is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
}

/// Packs the modules that there is a use for, in the directory that all kernels look in.
fn select_modules(place: &Path, release: &str) -> Result<()> {
    // Newer packages have them in /usr.
    let all = ["usr/lib/modules", "lib/modules"]
        .map(|directory| place.join(directory).join(release))
        .into_iter()
        .find(|directory| directory.exists())
        .context("the kernel has no modules")?;
    let tree = place.join("selected");
    let selected = tree.join("lib/modules").join(release);
    fs::create_dir_all(selected.join("kernel"))?;
    for entry in fs::read_dir(&all)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, selected.join(name))?;
        }
    }
    for part in MODULES {
        // What is built in is no module.
        for suffix in ["", ".xz"] {
            let from = all.join("kernel").join(format!("{part}{suffix}"));
            let to = selected.join("kernel").join(format!("{part}{suffix}"));
            if let (true, Some(parent)) = (from.exists(), to.parent()) {
                fs::create_dir_all(parent)?;
                fs::rename(&from, &to)?;
            }
        }
    }
    step::run(
        "listing the kernel's modules",
        Command::new("depmod").arg("-b").arg(&tree).arg(release),
    )?;
    cpio::pack(&tree, &place.join("modules.cpio"))?;
    for rest in ["usr", "lib", "selected"] {
        if place.join(rest).exists() {
            fs::remove_dir_all(place.join(rest))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_told_from_the_package_that_leads_to_it() {
        assert!(is_image("linux-image-6.12.117+deb13-cloud-arm64"));
        assert!(!is_image("linux-image-cloud-arm64"));
        assert!(!is_image("linux-base"));
    }
}

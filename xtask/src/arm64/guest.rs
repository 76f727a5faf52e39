//! What the machine finds on its root file system: Debian's programs for arm64, and what was built here, in the same places as
//! here, for tests know where those are.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{build, build::Programs, cache, compiler::DEBIAN, cpio, directory, fresh};
use crate::{
    debian::{self, Archive},
    step,
};

/// What tests start.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "ca-certificates",
    "coreutils",
    "curl",
    "dash",
    "git",
    "iproute2",
    "kmod",
    "libgcc-s1",
    "mount",
    "nodejs",
    "openssl",
    "procps",
    "python3",
    "tcpdump",
    "util-linux",
];

/// Needed by packages, but by nothing that tests do with them.
const LEFT_OUT: &[&str] = &[
    "debconf_",
    "debianutils_",
    "dpkg_",
    "libperl",
    "perl",
    "tar_",
];

/// In packages, and of no use here.
const NEEDLESS: &[&str] = &[
    "boot",
    "usr/include",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/doc",
    "usr/share/i18n",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/perl5",
    "usr/share/zoneinfo",
    "var/cache",
];

/// What no package has.
const FILES: &[(&str, &str)] = &[
    ("init", include_str!("guest/init.sh")),
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    ),
    // An address for documentation (RFC 5737): nobody answers but interceptor.
    ("etc/resolv.conf", "nameserver 192.0.2.53\n"),
];

/// Directories of the workspace that tests read.
const READ_BY_TESTS: &[&str] = &["deploy", "tests/clients", "target/clients"];

/// Packs Debian's programs unless that has been done, and returns the archive.
///
/// # Errors
/// A mirror cannot be reached.
pub(super) fn install() -> Result<PathBuf> {
    let place = cache().join("guest");
    let archive = place.join("root.cpio");
    let wanted = [PACKAGES, LEFT_OUT, NEEDLESS].concat().join("\n");
    if fs::read_to_string(place.join("packages")).is_ok_and(|packed| packed == wanted) {
        return Ok(archive);
    }
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    let fresh = fresh(&place)?;
    let tree = fresh.join("tree");
    fs::create_dir_all(&tree)?;
    unpack(&fresh.join("apt"), &tree)?;
    furnish(&tree)?;
    cpio::pack(&tree, &fresh.join("root.cpio"))?;
    for rest in ["apt", "tree"] {
        fs::remove_dir_all(fresh.join(rest))?;
    }
    fs::write(fresh.join("packages"), wanted)?;
    fs::rename(&fresh, &place).context("moving the guest's programs into place")?;
    Ok(archive)
}

fn unpack(apt: &Path, tree: &Path) -> Result<()> {
    let security = format!("{DEBIAN}-security");
    let archive = Archive::open(apt, &[DEBIAN, &security], &["arm64"])?;
    for package in archive.download_with_dependencies(PACKAGES)? {
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        if !LEFT_OUT.iter().any(|prefix| name.starts_with(prefix)) {
            debian::unpack(&package, tree)?;
        }
    }
    for needless in NEEDLESS {
        let directory = tree.join(needless);
        if directory.exists() {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("removing {}", directory.display()))?;
        }
    }
    Ok(())
}

/// Does what installing packages would have done, as far as tests need it.
fn furnish(tree: &Path) -> Result<()> {
    for directory in ["busybox", "dev", "proc", "root", "run", "sys", "tmp"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    let busybox = ["bin/busybox", "usr/bin/busybox"]
        .map(|path| tree.join(path))
        .into_iter()
        .find(|path| path.exists())
        .context("busybox-static has no busybox")?;
    fs::rename(busybox, tree.join("busybox/busybox"))?;
    let shell = tree.join("bin/sh");
    if !shell.exists() {
        symlink("dash", shell)?;
    }
    authorities(tree)
}

/// The authorities that a Debian trusts, in one file.
fn authorities(tree: &Path) -> Result<()> {
    let source = tree.join("usr/share/ca-certificates/mozilla");
    let mut bundle = String::new();
    for entry in fs::read_dir(&source).with_context(|| format!("listing {}", source.display()))? {
        bundle.push_str(&fs::read_to_string(entry?.path())?);
    }
    let certificates = tree.join("etc/ssl/certs");
    fs::create_dir_all(&certificates)?;
    fs::write(certificates.join("ca-certificates.crt"), bundle).context("writing the authorities")
}

/// Packs what was built, what tests read, and `script`, which is all that the machine does.
///
/// # Errors
/// Something is missing.
pub(super) fn payload(programs: &Programs, script: &str) -> Result<PathBuf> {
    let tree = directory().join("payload");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let within = |path: &Path| tree.join(path.strip_prefix("/").unwrap_or(path));
    // Where cargo runs tests; nothing has to be in them.
    for manifest in programs
        .iter()
        .filter_map(|one| one.manifest_path.as_deref())
    {
        fs::create_dir_all(within(manifest.parent().unwrap_or(manifest)))?;
    }
    for program in programs.iter().filter_map(|one| one.executable.as_deref()) {
        let copy = within(program);
        if let Some(parent) = copy.parent() {
            fs::create_dir_all(parent)?;
        }
        build::strip(program, &copy)?;
    }
    for name in READ_BY_TESTS {
        let from = step::root().join(name);
        let to = within(&from);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        step::output(Command::new("cp").arg("-R").args([&from, &to]))?;
    }
    fs::create_dir_all(tree.join("etc"))?;
    for (name, contents) in FILES.iter().copied().chain([("script", script)]) {
        let path = tree.join(name);
        fs::write(&path, contents).with_context(|| format!("writing {name}"))?;
        let mode = if name.contains('/') { 0o644 } else { 0o755 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    let archive = directory().join("payload.cpio");
    cpio::pack(&tree, &archive)?;
    Ok(archive)
}

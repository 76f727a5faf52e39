//! Autobahn's suite with the Python 2.7 that it needs, which no distribution has any more: from packages of an older
//! Debian, unpacked into `target/autobahn`, and pinned packages of PyPI.

use std::{env::consts::ARCH, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{
    debian::{self, Archive},
    step, system,
};

/// The last Debian with Python 2.7.
const DEBIAN: &str = "bullseye";
const PYTHON: &[&str] = &[
    "libffi7",
    "libpython2.7-minimal",
    "libpython2.7-stdlib",
    "libssl1.1",
    "python2.7-minimal",
];
/// What installs packages: the last of each for Python 2.7. The suite itself needs setuptools.
const INSTALLERS: [&str; 3] = ["pip==20.3.4", "setuptools==44.1.1", "wheel==0.37.1"];
/// The suite and all that it needs, with versions.
const PINS: &str = "requirements.txt";

/// Whether Python 2.7 can be had here: on Debian, and where PyPI has what is compiled.
fn is_obtainable() -> bool {
    ARCH == "x86_64" && Path::new(debian::KEYRING).exists() && debian::mirror(false).is_ok()
}

/// Installs the suite unless it is there, with the same pins.
///
/// # Errors
/// This is no Debian, or a mirror or an index cannot be reached.
pub(crate) fn install() -> Result<()> {
    let pins = step::root().join("tests/autobahn").join(PINS);
    let target = step::root().join("target/autobahn");
    let pins = fs::read(&pins).with_context(|| format!("reading {}", pins.display()))?;
    if fs::read(target.join(PINS)).is_ok_and(|installed| installed == pins) {
        return Ok(());
    }
    ensure!(
        is_obtainable(),
        "the suite needs Python 2.7, which comes from Debian's packages for amd64: run this on such a machine"
    );
    system::install(system::DEMO)?;
    let fresh = target.with_extension("new");
    for directory in [&fresh, &target] {
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
    }
    python(&fresh)?;
    packages(&fresh, &pins)?;
    // Last, for it says that the rest is complete.
    fs::write(fresh.join(PINS), pins)?;
    fs::rename(&fresh, &target).context("moving the suite into place")
}

/// Downloads Python by an apt that shares nothing with the system's but its mirror, and unpacks it into `tree`.
fn python(tree: &Path) -> Result<()> {
    let apt = tree.join("apt");
    let archive = Archive::open(&apt, &[DEBIAN], &["amd64"])?;
    for package in archive.download(PYTHON)? {
        debian::unpack(&package, tree)?;
    }
    // A link out of the tree, to nothing.
    fs::remove_file(tree.join("usr/lib/python2.7/sitecustomize.py"))?;
    fs::remove_dir_all(apt).context("removing what apt leaves")
}

/// Installs the pinned packages by the last pip that knows Python 2.7.
fn packages(tree: &Path, pins: &[u8]) -> Result<()> {
    let wheels = tree.join("wheels");
    step::run(
        "downloading pip for Python 2.7",
        Command::new("/usr/bin/python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--python-version", "2.7"])
            .args(["--only-binary", ":all:", "--dest"])
            .arg(&wheels)
            .args(INSTALLERS),
    )?;
    let pip = fs::read_dir(&wheels)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"pip-"))
        })
        .context("pip has downloaded no pip")?;
    let requirements = tree.join("pins");
    fs::write(&requirements, pins)?;
    // A directory in which Python looks for packages by itself.
    let site = tree.join("usr/lib/python2.7/dist-packages");
    let install = || {
        let mut install = Command::new(tree.join("usr/bin/python2.7"));
        let libraries = format!(
            "{0}/usr/lib/{ARCH}-linux-gnu:{0}/lib/{ARCH}-linux-gnu",
            tree.display()
        );
        install
            .env("PYTHONHOME", tree.join("usr"))
            .env("LD_LIBRARY_PATH", libraries)
            .env_remove("PYTHONPATH")
            .arg("-Wignore")
            .arg(pip.join("pip"))
            .args([
                "--quiet",
                "--disable-pip-version-check",
                "--no-python-version-warning",
            ])
            .args([
                "install",
                "--no-deps",
                "--no-build-isolation",
                "--no-warn-script-location",
            ])
            .arg("--target")
            .arg(&site);
        install
    };
    step::run(
        "installing what installs packages",
        install()
            .args(["--no-index", "--find-links"])
            .arg(&wheels)
            .args(INSTALLERS),
    )?;
    step::run(
        "installing Autobahn's suite",
        // Both have programs, which go to the same directory.
        install()
            .arg("--upgrade")
            .arg("--requirement")
            .arg(&requirements),
    )?;
    fs::remove_dir_all(wheels)?;
    fs::remove_file(requirements).context("removing what pip leaves")
}

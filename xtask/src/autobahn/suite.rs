//! Autobahn's suite with the Python 2.7 that it needs, which no distribution has any more: from packages of an older
//! Debian, unpacked into `target/autobahn`, and pinned packages of PyPI.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{step, system};

/// The last Debian with Python 2.7.
const DEBIAN: &str = "bullseye";
const PYTHON: &[&str] = &[
    "libffi7",
    "libpython2.7-minimal",
    "libpython2.7-stdlib",
    "libssl1.1",
    "python2.7-minimal",
];
/// Keys of all Debian releases, old ones too.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What installs packages: the last of each for Python 2.7. The suite itself needs setuptools.
const INSTALLERS: [&str; 3] = ["pip==20.3.4", "setuptools==44.1.1", "wheel==0.37.1"];
/// The suite and all that it needs, with versions.
const PINS: &str = "requirements.txt";

/// Whether Python 2.7 can be had here: on Debian, and where PyPI has what is compiled.
fn is_obtainable() -> bool {
    ARCH == "x86_64" && Path::new(KEYRING).exists() && mirror().is_ok()
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

/// Where apt gets Debian's packages from.
fn mirror() -> Result<String> {
    let output = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(ORIGIN)|$(COMPONENT)|$(REPO_URI)",
        ])
        .args(["Created-By: Packages"])
        .output()
        .context("asking apt-get for its mirror")?;
    let targets = String::from_utf8(output.stdout)?;
    targets
        .lines()
        .filter_map(|line| line.strip_prefix("Debian|main|"))
        // Security updates come from a place of their own, which has none for releases that old.
        .find(|uri| !uri.contains("security"))
        .map(str::to_owned)
        .context("apt knows no mirror of Debian: run apt-get update")
}

/// Downloads Python by an apt that shares nothing with the system's but its mirror, and unpacks it into `tree`.
fn python(tree: &Path) -> Result<()> {
    let apt = tree.join("apt");
    let packages = apt.join("packages");
    for directory in ["lists/partial", "archives/partial", "packages"] {
        fs::create_dir_all(apt.join(directory))?;
    }
    fs::write(
        apt.join("sources.list"),
        format!("deb [signed-by={KEYRING}] {} {DEBIAN} main\n", mirror()?),
    )?;
    fs::write(apt.join("status"), "")?;
    let get = || {
        let mut get = Command::new("apt-get");
        get.current_dir(&packages).arg("-qq");
        for (key, path) in [
            ("Dir::Etc::SourceList", apt.join("sources.list")),
            ("Dir::Etc::SourceParts", PathBuf::from("/dev/null")),
            ("Dir::State::Lists", apt.join("lists")),
            ("Dir::State::Status", apt.join("status")),
            ("Dir::Cache", apt.clone()),
        ] {
            get.args(["-o", &format!("{key}={}", path.display())]);
        }
        // Nobody signs an old release anew.
        get.args(["-o", "Acquire::Check-Valid-Until=false"]);
        // Debian's user for downloads cannot write here.
        get.args(["-o", "APT::Sandbox::User=root"]);
        get
    };
    step::run(
        &format!("looking for packages of Debian {DEBIAN}"),
        get().arg("update"),
    )?;
    step::run("downloading Python 2.7", get().arg("download").args(PYTHON))?;
    for package in fs::read_dir(&packages)? {
        let unpacked = Command::new("dpkg-deb")
            .arg("-x")
            .args([&package?.path(), tree])
            .status()?;
        ensure!(unpacked.success(), "unpacking a package: {unpacked}");
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

//! Debian's packages without installing them: an apt that shares nothing with the machine's but its mirrors.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::step;

/// Keys of all Debian releases, old ones too.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Packages of chosen releases and architectures, as apt sees them on a machine where none is installed.
#[derive(Debug)]
pub(crate) struct Archive {
    directory: PathBuf,
    architectures: &'static [&'static str],
}

impl Archive {
    /// Learns in `directory` what packages there are. A release called `…-security` comes from the mirror of updates, and
    /// the first of the architectures is meant where none is named.
    ///
    /// # Errors
    /// apt has no mirror of Debian, or cannot reach it.
    pub(crate) fn open(
        directory: &Path,
        releases: &[&str],
        architectures: &'static [&'static str],
    ) -> Result<Self> {
        for part in ["lists/partial", "archives/partial", "packages"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let mut sources = String::new();
        for release in releases {
            let mirror = mirror(release.ends_with("-security"))?;
            sources.push_str(&format!(
                "deb [signed-by={KEYRING} arch={}] {mirror} {release} main\n",
                architectures.join(",")
            ));
        }
        fs::write(directory.join("sources.list"), sources)?;
        fs::write(directory.join("status"), "")?;
        let archive = Self {
            directory: directory.to_owned(),
            architectures,
        };
        step::run(
            &format!("looking for packages of Debian {}", releases.join(", ")),
            // Nobody signs an old release anew.
            archive.apt("apt-get").args([
                "-qq",
                "-o",
                "Acquire::Check-Valid-Until=false",
                "update",
            ]),
        )?;
        Ok(archive)
    }

    /// The newest version of a package.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn version(&self, package: &str) -> Result<String> {
        let policy = step::output(self.apt("apt-cache").args(["policy", package]))?;
        policy
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate: "))
            .filter(|version| *version != "(none)")
            .map(str::to_owned)
            .with_context(|| format!("there is no package {package}"))
    }

    /// What apt knows of a package, which may be given as `name=version`.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn record(&self, package: &str) -> Result<String> {
        step::output(self.apt("apt-cache").args(["show", package]))
    }

    /// The names of a package and of all that it needs.
    ///
    /// # Errors
    /// There is no such package.
    pub(crate) fn with_dependencies(&self, package: &str) -> Result<Vec<String>> {
        let plan = step::output(self.apt("apt-get").args([
            "--simulate",
            "--no-install-recommends",
            "install",
            package,
        ]))?;
        Ok(plan
            .lines()
            .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next())
            .map(str::to_owned)
            .collect())
    }

    /// Downloads packages, and returns their files.
    ///
    /// # Errors
    /// The mirror cannot be reached, or does not have one of them.
    pub(crate) fn download<S: AsRef<OsStr>>(&self, packages: &[S]) -> Result<Vec<PathBuf>> {
        let place = self.directory.join("packages");
        step::run(
            "downloading packages",
            self.apt("apt-get")
                .args(["-qq", "download"])
                .args(packages)
                .current_dir(&place),
        )?;
        listing(&place)
    }

    /// Downloads packages with all that they need, and returns their files.
    ///
    /// # Errors
    /// As [`Self::download`].
    pub(crate) fn download_with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        step::run(
            "downloading packages with all that they need",
            self.apt("apt-get")
                .args(["-qq", "--yes", "--download-only"])
                .args(["--no-install-recommends", "install"])
                .args(packages),
        )?;
        let mut files = listing(&self.directory.join("archives"))?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "deb"));
        Ok(files)
    }

    /// One of apt's programs, on this archive.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let nothing = Path::new("/dev/null");
        for (key, path) in [
            (
                "Dir::Etc::SourceList",
                &*self.directory.join("sources.list"),
            ),
            ("Dir::Etc::SourceParts", nothing),
            ("Dir::Etc::Preferences", nothing),
            ("Dir::Etc::PreferencesParts", nothing),
            ("Dir::State::Lists", &self.directory.join("lists")),
            ("Dir::State::Status", &self.directory.join("status")),
            ("Dir::Cache", &self.directory),
        ] {
            command.args(["-o", &format!("{key}={}", path.display())]);
        }
        if let Some(first) = self.architectures.first() {
            command.args(["-o", &format!("APT::Architecture={first}")]);
        }
        for architecture in self.architectures {
            command.args(["-o", &format!("APT::Architectures::={architecture}")]);
        }
        // Debian's user for downloads cannot write here.
        command.args(["-o", "APT::Sandbox::User=root"]);
        command
    }
}

/// Unpacks a package into `tree`; nothing that it would do when it is installed happens.
///
/// # Errors
/// It is no package.
pub(crate) fn unpack(package: &Path, tree: &Path) -> Result<()> {
    let unpacked = Command::new("dpkg-deb")
        .arg("-x")
        .args([package, tree])
        .status()?;
    ensure!(
        unpacked.success(),
        "unpacking {}: {unpacked}",
        package.display()
    );
    Ok(())
}

/// Where apt gets Debian's packages from, or the updates of them that close holes.
///
/// # Errors
/// This is no Debian, or its lists of packages have not been fetched.
pub(crate) fn mirror(security: bool) -> Result<String> {
    let targets = step::output(
        Command::new("apt-get")
            .args([
                "indextargets",
                "--format",
                "$(ORIGIN)|$(COMPONENT)|$(REPO_URI)",
            ])
            .args(["Created-By: Packages"]),
    )?;
    targets
        .lines()
        .filter_map(|line| line.strip_prefix("Debian|main|"))
        .find(|uri| uri.contains("security") == security)
        .map(str::to_owned)
        .context("apt knows no mirror of Debian: run apt-get update, on a Debian")
}

fn listing(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

//! Builds interceptor and its tests for arm64.

use std::{
    env::consts::ARCH,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{TARGET, compiler, directory};
use crate::step;

/// Macros, which run while something is built: optimised as other dependencies are, they would take longer than they save.
const MACROS: &[&str] = &[
    "asn1-rs-derive",
    "asn1-rs-impl",
    "clap_derive",
    "pin-project-internal",
    "serde_derive",
    "synstructure",
    "thiserror-impl",
    "time-macros",
    "tokio-macros",
    "tracing-attributes",
    "zerofrom-derive",
];

/// The programs that a build made.
#[derive(Debug)]
pub(super) struct Programs(Vec<Artifact>);

/// One of cargo's messages.
#[derive(Debug, Deserialize)]
pub(super) struct Artifact {
    pub(super) executable: Option<PathBuf>,
    pub(super) manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the library's tests, the tests of the programs, and every program that those start.
///
/// # Errors
/// A compiler is missing, or the build fails.
pub(super) fn run() -> Result<Programs> {
    let mut cargo = step::cargo();
    compiler::select(&mut cargo)?;
    cargo
        .args(["test", "--no-run", "--locked"])
        .args(["--package", "interceptor", "--package", "tests", "--lib"])
        .args([
            "--test",
            "daemon",
            "--test",
            "command_line",
            "--test",
            "e2e",
        ])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(directory());
    for name in MACROS {
        cargo.args([
            "--config",
            &format!("profile.dev.package.{name}.opt-level=0"),
        ]);
    }
    // Named on an arm64 host too: the programs lie where they do everywhere.
    cargo.args(["--target", TARGET]);
    step::announce("building for arm64 (the first time takes a few minutes)");
    let output = cargo
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .context("starting cargo")?;
    ensure!(
        output.status.success(),
        "building for arm64: {}",
        output.status
    );
    Programs::read(&output.stdout)
}

impl Programs {
    fn read(messages: &[u8]) -> Result<Self> {
        let messages = serde_json::Deserializer::from_slice(messages).into_iter::<Artifact>();
        let mut artifacts = messages
            .collect::<Result<Vec<_>, _>>()
            .context("reading what cargo says")?;
        artifacts.retain(|artifact| artifact.executable.is_some());
        Ok(Self(artifacts))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Artifact> {
        self.0.iter()
    }

    /// # Errors
    /// It has not been built.
    pub(super) fn program(&self, name: &str) -> Result<&Path> {
        self.find(name, "bin", false)
            .and_then(|artifact| artifact.executable.as_deref())
            .with_context(|| format!("{name} has not been built"))
    }

    /// The tests in a target of a kind, such as `lib` or `test`.
    ///
    /// # Errors
    /// They have not been built.
    pub(super) fn tests(&self, name: &str, kind: &str) -> Result<&Artifact> {
        self.find(name, kind, true)
            .with_context(|| format!("the tests of {name} have not been built"))
    }

    fn find(&self, name: &str, kind: &str, test: bool) -> Option<&Artifact> {
        self.iter().find(|artifact| {
            artifact.target.as_ref().is_some_and(|target| {
                target.name == name && target.kind.iter().any(|one| one == kind)
            }) && artifact
                .profile
                .as_ref()
                .is_some_and(|profile| profile.test == test)
        })
    }
}

/// Copies a program without what only a debugger reads, which is most of it.
///
/// # Errors
/// The tools of the compiler are missing.
pub(super) fn strip(program: &Path, copy: &Path) -> Result<()> {
    let strip = if ARCH == "aarch64" {
        "strip"
    } else {
        "aarch64-linux-gnu-strip"
    };
    step::output(
        Command::new(strip)
            .args(["--strip-debug", "-o"])
            .args([copy, program]),
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_what_cargo_says() {
        let messages = br#"
            {"reason":"build-script-executed","out_dir":"/x"}
            {"reason":"compiler-artifact","manifest_path":"/w/interceptor/Cargo.toml","target":{"kind":["lib"],"name":"interceptor"},"profile":{"test":false},"executable":null}
            {"reason":"compiler-artifact","manifest_path":"/w/interceptor/Cargo.toml","target":{"kind":["lib"],"name":"interceptor"},"profile":{"test":true},"executable":"/t/deps/interceptor-1"}
            {"reason":"compiler-artifact","manifest_path":"/w/interceptor/Cargo.toml","target":{"kind":["bin"],"name":"interceptor"},"profile":{"test":false},"executable":"/t/interceptor"}
            {"reason":"build-finished","success":true}
        "#;
        let programs = Programs::read(messages).unwrap();
        assert_eq!(programs.iter().count(), 2);
        assert_eq!(
            programs.program("interceptor").unwrap(),
            Path::new("/t/interceptor")
        );
        let library = programs.tests("interceptor", "lib").unwrap();
        assert_eq!(
            library.executable.as_deref(),
            Some(Path::new("/t/deps/interceptor-1"))
        );
        assert!(programs.tests("e2e", "test").is_err());
    }
}

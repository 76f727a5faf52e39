//! `cargo xtask test`: every check and every test, with one count at the end.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::{clients, step, system};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Run only this; may be repeated
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Run only end-to-end tests whose name contains this
    #[arg(long)]
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The BPF object: its hash, and a fresh build that the other parts then use
    Bpf,
    /// Formatting, clippy, documentation, licences
    Lint,
    /// Tests that need nothing but the source
    Unit,
    /// End-to-end tests on this kernel (root)
    E2e,
    /// The demo (root)
    Demo,
}

#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// One line for each thing that failed or was skipped.
    remarks: Vec<String>,
}

/// A freshly built BPF object, relative to the workspace.
const FRESH_OBJECT: &str = "target/bpf/interceptor.bpf.o";

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let on_kernel = wanted(Part::E2e) || wanted(Part::Demo);
    let mut tally = Tally::default();
    if on_kernel {
        system::require_root()?;
        system::install(system::DEMO)?;
        system::install(system::TESTS)?;
        clients::install()?;
    }
    if wanted(Part::Bpf) {
        bpf(&mut tally)?;
    }
    if wanted(Part::Lint) {
        lint(&mut tally);
    }
    if wanted(Part::Unit) {
        tally.tests(
            "unit tests",
            cargo().args(["test", "--workspace", "--lib", "--bins", "--no-fail-fast"]),
        );
    }
    if on_kernel {
        step::build(cargo())?;
    }
    if wanted(Part::E2e) {
        let mut command = cargo();
        command.args(["test", "--workspace", "--test", "e2e", "--"]);
        // Failures say what happened; where in the test's own code is of little use.
        command.env("RUST_LIB_BACKTRACE", "0");
        // One at a time: they measure, capture packets and count.
        command.arg("--test-threads=1").args(&arguments.name);
        tally.tests("end-to-end tests", &mut command);
    }
    if wanted(Part::Demo) {
        tally.check("demo", &mut Command::new(step::built("demo")));
    }
    Ok(tally.conclude())
}

/// Everything is tested with a fresh BPF object where there is one.
fn cargo() -> Command {
    let mut cargo = step::cargo();
    let object = step::root().join(FRESH_OBJECT);
    if object.exists() {
        cargo.env("INTERCEPTOR_BPF_OBJECT", object);
    }
    cargo
}

fn bpf(tally: &mut Tally) -> Result<()> {
    let xtask = env::current_exe()?;
    tally.check(
        "the committed BPF object's hash",
        Command::new(&xtask).args(["build-ebpf", "--check"]),
    );
    let object = step::root().join(FRESH_OBJECT);
    if let Some(directory) = object.parent() {
        fs::create_dir_all(directory)?;
    }
    tally.check(
        "a fresh BPF object",
        Command::new(&xtask)
            .args(["build-ebpf", "--output"])
            .arg(&object),
    );
    Ok(())
}

fn lint(tally: &mut Tally) {
    tally.check("formatting", cargo().args(["fmt", "--all", "--check"]));
    tally.check(
        "clippy",
        cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    );
    tally.check(
        "documentation",
        cargo()
            .args([
                "doc",
                "--workspace",
                "--no-deps",
                "--document-private-items",
            ])
            .env("RUSTDOCFLAGS", "-D warnings"),
    );
    if system::is_there("cargo-deny") {
        tally.check(
            "licences, bans and sources",
            cargo().args(["deny", "--offline", "check", "licenses", "bans", "sources"]),
        );
    } else {
        tally.skip("licences, bans and sources: cargo-deny is not installed");
    }
}

impl Tally {
    /// Runs a command that is one check.
    fn check(&mut self, what: &str, command: &mut Command) {
        match step::run(what, command) {
            Ok(()) => self.passed += 1,
            Err(error) => self.fail(format!("{error:#}")),
        }
    }

    /// Runs a `cargo test`, shows its output and counts its results.
    fn tests(&mut self, what: &str, command: &mut Command) {
        if let Err(error) = self.count(what, command) {
            self.fail(format!("{error:#}"));
        }
    }

    fn count(&mut self, what: &str, command: &mut Command) -> Result<()> {
        step::announce(what);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("no output")?;
        let mut counted = false;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if let Some(summary) = Summary::read(&line) {
                counted |= summary.failed > 0;
                self.passed += summary.passed;
                self.failed += summary.failed;
                self.skipped += summary.ignored;
            }
            if let Some(name) = line
                .strip_prefix("test ")
                .and_then(|l| l.strip_suffix(" ... FAILED"))
            {
                self.remarks.push(format!("failed: {name}"));
            }
            println!("{line}");
        }
        let status = child.wait()?;
        if !status.success() && !counted {
            bail!("{what}: {status}");
        }
        Ok(())
    }

    fn fail(&mut self, why: String) {
        self.failed += 1;
        self.remarks.push(format!("failed: {why}"));
    }

    fn skip(&mut self, why: &str) {
        self.skipped += 1;
        self.remarks.push(format!("skipped: {why}"));
    }

    /// Prints the count as the last line.
    fn conclude(self) -> ExitCode {
        let Self {
            passed,
            failed,
            skipped,
            remarks,
        } = self;
        println!();
        for remark in remarks {
            println!("{remark}");
        }
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        if failed > 0 {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

/// What libtest says at its end: `test result: ok. 5 passed; 0 failed; 1 ignored; …`.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Summary {
    fn read(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |name: &str| {
            counts
                .split("; ")
                .find_map(|part| part.strip_suffix(name)?.trim().parse().ok())
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            ignored: count("ignored")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_libtest_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.1s";
        assert_eq!(
            Summary::read(line),
            Some(Summary {
                passed: 12,
                failed: 3,
                ignored: 1
            })
        );
        assert_eq!(Summary::read("test one ... ok"), None);
    }
}

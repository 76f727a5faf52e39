//! `cargo xtask test`: every check and every test, with one count at the end.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    autobahn, clients,
    deadline::Deadline,
    manifests,
    step::{self, Profile},
    system,
};

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
    /// What is in `deploy`, and the documents about it
    Manifests,
    /// End-to-end tests on this kernel (root)
    E2e,
    /// The demo (root)
    Demo,
    /// Every known way round, tried on this kernel (root)
    Adversary,
    /// A selection of Autobahn's WebSocket suite, direct and through interceptor (root)
    Autobahn,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// One line for each thing that failed or was skipped.
    remarks: Vec<String>,
}

/// Longest time that a run of tests may take, so that one which hangs costs no more.
const LONGEST: Duration = Duration::from_secs(1200);

/// A freshly built BPF object, relative to the workspace.
const FRESH_OBJECT: &str = "target/bpf/interceptor.bpf.o";

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let on_kernel = [Part::E2e, Part::Demo, Part::Adversary, Part::Autobahn];
    let on_kernel = on_kernel.into_iter().any(wanted);
    let mut tally = Tally::default();
    if on_kernel {
        system::require_root()?;
        system::install(system::DEMO)?;
        system::install(system::TESTS)?;
        clients::install(&[clients::CLIENTS, clients::LIBRARIES, clients::WEB])?;
    }
    if wanted(Part::Bpf) {
        bpf(&mut tally)?;
    }
    if wanted(Part::Lint) {
        lint(&mut tally);
    }
    if wanted(Part::Unit) {
        let mut targets = vec!["--lib".to_owned(), "--bins".to_owned()];
        for name in program_tests()? {
            targets.extend(["--test".to_owned(), name]);
        }
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        tally.tests("unit tests", &targets, &[]);
    }
    if on_kernel || wanted(Part::Manifests) {
        step::build(cargo(), Profile::Debug)?;
    }
    if wanted(Part::Manifests) {
        tally.manifests();
    }
    if wanted(Part::E2e) {
        // One at a time: they measure, capture packets and count.
        let mut options = vec!["--test-threads=1"];
        options.extend(arguments.name.as_deref());
        tally.tests("end-to-end tests", &["--test", "e2e"], &options);
    }
    if wanted(Part::Demo) {
        let demo = step::built("demo", Profile::Debug);
        tally.check("demo", &mut Command::new(demo));
    }
    if wanted(Part::Adversary) {
        let adversary = step::built("adversary", Profile::Debug);
        tally.check("the adversary", &mut Command::new(adversary));
    }
    if wanted(Part::Autobahn) {
        autobahn(&mut tally);
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

/// The tests beside the library, by name. Asking cargo for all of them would run the end-to-end tests too.
fn program_tests() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(step::root().join("interceptor/tests"))? {
        let path = entry?.path();
        if let (Some(name), Some("rs")) =
            (path.file_stem(), path.extension().and_then(|e| e.to_str()))
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
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
    // The programs have a target of their own, but lints read them on this one. They use a feature that is not stable.
    tally.check(
        "clippy of the BPF programs",
        cargo().env("RUSTC_BOOTSTRAP", "1").args([
            "clippy",
            "--package",
            "interceptor-ebpf",
            "--features",
            "log",
            "--profile",
            "bpf",
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

fn autobahn(tally: &mut Tally) {
    // Mirrors drop old releases sooner or later: what cannot be had then must not hide that everything else is well.
    if let Err(error) = autobahn::install() {
        return tally.skip(&format!("Autobahn's suite: {error:#}"));
    }
    tally.check(
        "Autobahn's suite, a selection",
        Command::new(step::built("autobahn", Profile::Debug)).args(autobahn::QUICK),
    );
}

impl Tally {
    /// Runs a command that is one check.
    fn check(&mut self, what: &str, command: &mut Command) {
        match step::run(what, command) {
            Ok(()) => self.passed += 1,
            Err(error) => self.fail(format!("{error:#}")),
        }
    }

    /// Builds and runs tests of the workspace, shows their output and counts their results.
    fn tests(&mut self, what: &str, targets: &[&str], options: &[&str]) {
        let test = || {
            let mut cargo = cargo();
            cargo
                .args(["test", "--workspace", "--no-fail-fast"])
                .args(targets);
            cargo
        };
        let outcome = step::run(&format!("building {what}"), test().arg("--no-run"))
            .and_then(|()| self.count(what, test().arg("--").args(options)));
        if let Err(error) = outcome {
            self.fail(format!("{error:#}"));
        }
    }

    /// Checks what is in `deploy`.
    fn manifests(&mut self) {
        let checked = manifests::install()
            .and_then(|()| self.count("what is in deploy", &mut manifests::command()));
        if let Err(error) = checked {
            self.fail(format!("{error:#}"));
        }
    }

    /// Counts what a line of libtest says.
    pub(crate) fn read(&mut self, line: &str) {
        match Outcome::read(line) {
            Some(Outcome::Passed) => self.passed += 1,
            Some(Outcome::Ignored) => self.skipped += 1,
            Some(Outcome::Failed(name)) => self.fail(name.to_owned()),
            None => {}
        }
    }

    fn count(&mut self, what: &str, command: &mut Command) -> Result<()> {
        step::announce(what);
        // Failures say what happened; where in the test's own code is of little use.
        command.env("RUST_LIB_BACKTRACE", "0");
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("no output")?;
        let deadline = Deadline::set(child.id(), LONGEST);
        let failed = self.failed;
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            self.read(&line);
        }
        let status = child.wait()?;
        if deadline.has_passed() {
            bail!("{what}: killed after {} s", LONGEST.as_secs());
        }
        if !status.success() && self.failed == failed {
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
    pub(crate) fn conclude(self) -> ExitCode {
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

/// What libtest says of one test: `test name ... ok`.
#[derive(Debug, PartialEq, Eq)]
enum Outcome<'l> {
    Passed,
    Ignored,
    Failed(&'l str),
}

impl<'l> Outcome<'l> {
    fn read(line: &'l str) -> Option<Self> {
        let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
        match outcome.split(',').next()? {
            "ok" => Some(Self::Passed),
            "ignored" => Some(Self::Ignored),
            "FAILED" => Some(Self::Failed(name)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_of_libtest_are_counted_and_other_lines_are_not() {
        for (line, outcome) in [
            ("test a::b ... ok", Some(Outcome::Passed)),
            ("test a::b ... FAILED", Some(Outcome::Failed("a::b"))),
            ("test a::b ... ignored, needs arm64", Some(Outcome::Ignored)),
            ("test a::b has been running for over 60 seconds", None),
            ("test result: FAILED. 12 passed; 3 failed; 1 ignored", None),
        ] {
            assert_eq!(Outcome::read(line), outcome, "{line}");
        }
    }
}

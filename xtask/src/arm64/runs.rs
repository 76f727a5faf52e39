//! What is run in the machine.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::build::{Artifact, Programs};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// The library's tests that load the programs
    Kernel,
    /// The daemon and the commands as processes
    Daemon,
    /// End-to-end tests
    E2e,
    /// Every known way round
    Adversary,
}

/// A program that runs to its end.
#[derive(Debug)]
pub(super) struct Run {
    what: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    /// Where cargo would run it, which tells it so; None for what is no test, and then counts as one.
    package: Option<PathBuf>,
    /// Longest time that it may take, in seconds.
    limit: u32,
}

/// End-to-end tests that cannot pass in the machine, and why.
const NOT_HERE: &[(&str, &str)] = &[];

/// The parts that are wanted, all if none is named, and of their tests those whose name contains `name`.
///
/// # Errors
/// Something has not been built.
pub(super) fn chosen(programs: &Programs, only: &[Part], name: Option<&str>) -> Result<Vec<Run>> {
    let wanted = |part| only.is_empty() || only.contains(&part);
    let filter = |otherwise: Option<&str>| name.or(otherwise).map(str::to_owned);
    let mut runs = Vec::new();
    if wanted(Part::Kernel) {
        let library = programs.tests("interceptor", "lib")?;
        let mut arguments = vec!["--test-threads=2".to_owned()];
        arguments.extend(filter(Some("kernel_")));
        runs.push(tests(
            "the library on the kernel",
            library,
            arguments,
            1800,
        )?);
    }
    if wanted(Part::Daemon) {
        if name.is_none() {
            let what = "interceptor --version";
            runs.push(program(programs, what, 60)?);
        }
        for (what, target) in [
            ("the commands without a daemon", "command_line"),
            ("the daemon and exec", "daemon"),
        ] {
            let arguments = filter(None).into_iter().collect();
            runs.push(tests(
                what,
                programs.tests(target, "test")?,
                arguments,
                600,
            )?);
        }
    }
    if wanted(Part::E2e) {
        // One at a time: they measure, capture packets and count.
        let mut arguments = vec!["--test-threads=1".to_owned()];
        for (test, why) in NOT_HERE {
            println!("not in the machine: {test}: {why}");
            arguments.extend(["--skip".to_owned(), (*test).to_owned()]);
        }
        arguments.extend(filter(None));
        runs.push(tests(
            "end-to-end tests",
            programs.tests("e2e", "test")?,
            arguments,
            3600,
        )?);
    }
    if wanted(Part::Adversary) && name.is_none() {
        runs.push(program(programs, "adversary", 3600)?);
    }
    Ok(runs)
}

/// A program of this workspace and its arguments, in words.
fn program(programs: &Programs, what: &'static str, limit: u32) -> Result<Run> {
    let mut words = what.split(' ');
    Ok(Run {
        what,
        program: programs
            .program(words.next().unwrap_or_default())?
            .to_owned(),
        arguments: words.map(str::to_owned).collect(),
        package: None,
        limit,
    })
}

fn tests(
    what: &'static str,
    artifact: &Artifact,
    arguments: Vec<String>,
    limit: u32,
) -> Result<Run> {
    let package = artifact.manifest_path.as_deref().and_then(Path::parent);
    Ok(Run {
        what,
        program: artifact
            .executable
            .clone()
            .context("a test without a program")?,
        arguments,
        package: Some(package.context("a test without a package")?.to_owned()),
        limit,
    })
}

/// A shell script that runs them all, and exits with the number of those that failed.
/// Tests find what the kernel is known to have in KERNEL_HAS.
pub(super) fn script(runs: &[Run], features: &str) -> String {
    let mut script = format!("failed=0\nexport KERNEL_HAS={}\n", quoted(features));
    for run in runs {
        script.push_str(&run.lines());
    }
    script.push_str("exit $failed\n");
    script
}

impl Run {
    fn lines(&self) -> String {
        let Self {
            what,
            program,
            arguments,
            package,
            limit,
        } = self;
        let mut command = format!(
            "timeout -k 10 {limit} {}",
            quoted(&program.to_string_lossy())
        );
        for argument in arguments {
            command.push(' ');
            command.push_str(&quoted(argument));
        }
        let what = quoted(what);
        let outcome = match package {
            Some(package) => {
                let directory = quoted(&package.to_string_lossy());
                let name = quoted(&package.file_name().unwrap_or_default().to_string_lossy());
                format!(
                    "cd {directory} && CARGO_PKG_NAME={name} CARGO_MANIFEST_DIR={directory} {command} ||
    {{ echo '==>' {what}: exit code $?; failed=$((failed + 1)); }}"
                )
            }
            None => format!(
                "if {command}; then echo test {what} ... ok
else echo test {what} ... FAILED; failed=$((failed + 1)); fi"
            ),
        };
        format!("echo '==>' {what}\n{outcome}\n")
    }
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_script_runs_everything_and_counts_what_failed() {
        let run = |program: &str, package: Option<&str>| Run {
            what: "it's",
            program: program.into(),
            arguments: vec!["a b".to_owned()],
            package: package.map(PathBuf::from),
            limit: 60,
        };
        let runs = [
            run("false", Some("/")),
            run("true", None),
            run("false", None),
            run("echo", Some("/tmp")),
        ];
        let output = Command::new("sh")
            .args(["-c", &script(&runs, "lsm_cgroup")])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "==> it's\n==> it's: exit code 1\n==> it's\ntest it's ... ok\n==> it's\ntest it's ... FAILED\n==> it's\na b\n"
        );
    }
}

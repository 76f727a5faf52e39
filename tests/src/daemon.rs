//! The real daemon, in directories of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    interrupt,
    leftovers::BPFFS,
    logs::complain,
    process::{Finished, PATIENCE, Running},
    programs::{built, trust},
    unique_name,
};

/// A daemon under test; when dropped it detaches its sandboxes and leaves nothing behind.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    config: PathBuf,
    run_dir: PathBuf,
    data_dir: PathBuf,
    bpf_dir: PathBuf,
    log_level: &'static str,
    /// What runs the program, as nsenter(1) would; empty: nothing.
    runner: Vec<String>,
    process: Option<Running>,
    /// Those that another one has taken over from, the latest last.
    draining: Vec<Running>,
    earlier_logs: String,
}

impl Daemon {
    /// Starts `interceptor run` with run and data directories under `directory`, and returns when it serves.
    ///
    /// # Errors
    /// It does not come up; the message holds its log.
    pub fn start(config: &Path, directory: &Path) -> Result<Self> {
        Self::start_logging(config, directory, "interceptor=debug,info")
    }

    /// As [`Self::start`], with another level of the log.
    ///
    /// # Errors
    /// As those of [`Self::start`].
    pub fn start_logging(config: &Path, directory: &Path, log_level: &'static str) -> Result<Self> {
        Self::start_by(&[], config, directory, log_level)
    }

    /// As [`Self::start_logging`], through a command that becomes the daemon.
    ///
    /// # Errors
    /// As those of [`Self::start`].
    pub fn start_by(
        runner: &[String],
        config: &Path,
        directory: &Path,
        log_level: &'static str,
    ) -> Result<Self> {
        crate::require_root()?;
        let mut daemon = Self {
            program: built("interceptor")?,
            config: config.to_owned(),
            run_dir: directory.join("run"),
            data_dir: directory.join("data"),
            bpf_dir: Path::new(BPFFS).join(unique_name()),
            log_level,
            runner: runner.to_vec(),
            process: None,
            draining: Vec::new(),
            earlier_logs: String::new(),
        };
        daemon.restart()?;
        Ok(daemon)
    }

    /// Starts the daemon again, on the same directories, after [`Self::kill`] or [`Self::terminate`].
    ///
    /// # Errors
    /// It does not come up; the message holds its log.
    pub fn restart(&mut self) -> Result<()> {
        let command = self.run(&[]);
        let process = self.process.insert(Running::spawn(command)?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            interrupt::check()?;
            ensure!(
                process.is_running() && Instant::now() < deadline,
                "the daemon did not come up:\n{}\n{}",
                process.stdout(),
                process.stderr()
            );
            let mut ask = Command::new(&self.program);
            ask.arg("--run-dir").arg(&self.run_dir).arg("stats");
            if self.run_dir.join("control.sock").exists()
                && Running::spawn(ask)?.finish()?.status.success()
            {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// `interceptor run` on the directories of this daemon, not yet started.
    pub fn run(&self, arguments: &[&str]) -> Command {
        let mut command = match self.runner.split_first() {
            None => Command::new(&self.program),
            Some((runner, arguments)) => {
                let mut command = Command::new(runner);
                command.args(arguments).arg(&self.program);
                command
            }
        };
        command
            .arg("run")
            .args([Path::new("--config"), &self.config])
            .args([Path::new("--run-dir"), &self.run_dir])
            .args([Path::new("--bpf-dir"), &self.bpf_dir])
            .args([Path::new("--data-dir"), &self.data_dir])
            .args(arguments)
            .env("INTERCEPTOR_LOG", self.log_level);
        command
    }

    /// Starts a daemon that takes over from this one, which is one of [`Self::draining`] from then on.
    ///
    /// # Errors
    /// It does not take over; the message holds its log.
    pub fn take_over(&mut self, arguments: &[&str]) -> Result<()> {
        let command = self.run(&[&["--takeover"], arguments].concat());
        let successor = Running::spawn(command)?;
        let earlier = self.succeed(successor)?;
        self.draining
            .push(earlier.context("the daemon does not run")?);
        Ok(())
    }

    /// Has a process serve that was started with [`Self::run`] once it is ready; returns the one from before.
    ///
    /// # Errors
    /// It does not come up; the message holds its log.
    pub fn succeed(&mut self, successor: Running) -> Result<Option<Running>> {
        successor.wait_for_error_line("\"ready\"", |line| line.contains("ready").then_some(()))?;
        Ok(self.process.replace(successor))
    }

    /// Those that another one has taken over from, the latest last.
    pub fn draining(&mut self) -> &mut Vec<Running> {
        &mut self.draining
    }

    /// Ends the daemon at once, as a crash would: SIGKILL.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the daemon does not run")?;
        process.kill()?;
        self.keep_log(&process);
        Ok(())
    }

    /// Asks the daemon to end: SIGTERM.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub fn terminate(&mut self) -> Result<()> {
        let process = self.process.take().context("the daemon does not run")?;
        process.signal(Signal::TERM)?;
        let finished = process.finish()?;
        self.earlier_logs.push_str(&finished.stderr);
        self.earlier_logs.push('\n');
        Ok(())
    }

    fn keep_log(&mut self, process: &Running) {
        self.earlier_logs.push_str(&process.stderr());
        self.earlier_logs.push('\n');
    }

    /// Everything that the daemon has logged since the first start.
    pub fn log(&self) -> String {
        let mut log = self.earlier_logs.clone();
        if let Some(process) = &self.process {
            log.push_str(&process.stdout());
            log.push_str(&process.stderr());
        }
        log
    }

    /// Waits until one line of the log holds every one of `parts`.
    ///
    /// # Errors
    /// It takes too long; the message shows the nearest lines.
    pub fn wait_for_log(&self, parts: &[&str]) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let looked = crate::logs::assert_contains(&self.log(), parts);
            if looked.is_ok() || Instant::now() > deadline {
                return looked;
            }
            interrupt::check()?;
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// # Errors
    /// The daemon does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self
            .process
            .as_ref()
            .context("the daemon does not run")?
            .pid())
    }

    /// # Errors
    /// The daemon does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process
            .as_ref()
            .context("the daemon does not run")?
            .signal(signal)
    }

    /// A command of the CLI against this daemon, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--run-dir").arg(&self.run_dir).args(arguments);
        command
    }

    /// Runs a command of the CLI against this daemon to its end.
    ///
    /// # Errors
    /// It cannot be run; its exit status is the caller's to judge.
    pub fn cli(&self, arguments: &[&str]) -> Result<Finished> {
        Running::spawn(self.command(arguments))?.finish()
    }

    /// What a command of the CLI prints with `--json`.
    ///
    /// # Errors
    /// The command fails or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.cli(&all)?.success()?;
        serde_json::from_str(&output.stdout)
            .with_context(|| format!("{arguments:?} printed no JSON:\n{}", output.stdout))
    }

    /// The variables by which programs are told of the daemon's certificate authority.
    pub fn trust(&self) -> Vec<(&'static str, String)> {
        let path = |name| self.run_dir.join(name);
        trust(&path("ca.pem"), &path("ca-bundle.pem"))
    }

    /// Where its state and its sockets are.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Where links and maps are pinned.
    pub fn bpf_dir(&self) -> &Path {
        &self.bpf_dir
    }

    /// The records of all connections, ended ones too.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn connections(&self) -> Result<Vec<Value>> {
        match self.json(&["conns", "--all"])? {
            Value::Array(connections) => Ok(connections),
            other => anyhow::bail!("no list of connections: {other}"),
        }
    }

    fn detach_all(&self) -> Result<()> {
        let sandboxes = self.json(&["sandboxes"])?;
        for row in sandboxes.as_array().context("no list of sandboxes")? {
            if let Some(name) = row.get("name").and_then(Value::as_str) {
                self.cli(&["detach", name])?.success()?;
            }
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let runs = self.process.as_mut().is_some_and(Running::is_running);
        if runs {
            if let Err(error) = self.detach_all() {
                complain(&format!("{error:#}"));
            }
            if let Err(error) = self.terminate() {
                complain(&format!("{error:#}"));
            }
        }
        if self.bpf_dir.exists()
            && let Err(error) = fs::remove_dir_all(&self.bpf_dir)
        {
            complain(&format!("removing {}: {error}", self.bpf_dir.display()));
        }
    }
}

//! Child processes with deadlines, whose output can be waited for.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{interrupt, logs::complain};

/// Longest time that anything may take unless a caller says otherwise. An arm64 machine may be an emulated one, in which
/// everything takes ten times as long.
pub const PATIENCE: Duration = Duration::from_secs(if cfg!(target_arch = "aarch64") {
    200
} else {
    20
});
/// Time that a process has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);

/// Runs a command to its end within [`PATIENCE`]; a failure's message holds its output.
///
/// # Errors
/// The command cannot be started, takes too long or fails.
pub fn run<I: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = I>,
) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(Running::spawn(command)?.finish()?.success()?.stdout)
}

/// Output of one stream, line by line as it comes.
#[derive(Debug, Default)]
struct Lines {
    state: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Lines {
    fn follow(stream: impl Read + Send + 'static) -> (Arc<Self>, JoinHandle<()>) {
        let lines = Arc::new(Self::default());
        let writer = Arc::clone(&lines);
        let thread = thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                writer.change(|(lines, _)| lines.push(line));
            }
            writer.change(|(_, ended)| *ended = true);
        });
        (lines, thread)
    }

    fn change(&self, change: impl FnOnce(&mut (Vec<String>, bool))) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn text(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.join("\n")
    }

    fn wait_for<T>(
        &self,
        limit: Duration,
        what: &str,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut looked_at = 0;
        loop {
            for line in state.0.iter().skip(looked_at) {
                if let Some(found) = find(line) {
                    return Ok(found);
                }
            }
            looked_at = state.0.len();
            interrupt::check()?;
            if state.1 || Instant::now() > deadline {
                let why = if state.1 { "ended" } else { "took too long" };
                bail!("{why} without {what}:\n{}", state.0.join("\n"));
            }
            state = self
                .changed
                .wait_timeout(state, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// A started process. When dropped it is asked to end, so that it can clean up, and then killed; it is also killed when
/// the thread that started it dies.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
pub struct Finished {
    pub name: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Running {
    /// # Errors
    /// The command cannot be started.
    pub fn spawn(command: Command) -> Result<Self> {
        interrupt::watch();
        let name = command.get_program().to_string_lossy().into_owned();
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL", "--"]);
        wrapped.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            wrapped.current_dir(directory);
        }
        // A group of its own: Ctrl-C reaches the fixtures, which end their children in order.
        std::os::unix::process::CommandExt::process_group(&mut wrapped, 0);
        wrapped
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = wrapped
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let (out, err) = child
            .stdout
            .take()
            .zip(child.stderr.take())
            .context("no pipes")?;
        let (stdout, out_reader) = Lines::follow(out);
        let (stderr, err_reader) = Lines::follow(err);
        Ok(Self {
            name,
            child,
            stdout,
            stderr,
            readers: vec![out_reader, err_reader],
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on standard output for which `find` has an answer.
    ///
    /// # Errors
    /// The process ends or [`PATIENCE`] does.
    pub fn wait_for_line<T>(&self, what: &str, find: impl FnMut(&str) -> Option<T>) -> Result<T> {
        self.wait_for_line_within(PATIENCE, what, find)
    }

    /// As [`Self::wait_for_line`] with another limit.
    ///
    /// # Errors
    /// The process ends, or the limit is reached.
    pub fn wait_for_line_within<T>(
        &self,
        limit: Duration,
        what: &str,
        find: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        self.stdout.wait_for(limit, what, find).map_err(|error| {
            let said = self.stderr.text();
            anyhow!("{} {error}\non standard error:\n{said}", self.name)
        })
    }

    /// As [`Self::wait_for_line`], on standard error.
    ///
    /// # Errors
    /// The process ends or [`PATIENCE`] does.
    pub fn wait_for_error_line<T>(
        &self,
        what: &str,
        find: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        self.stderr.wait_for(PATIENCE, what, find)
    }

    /// Waits for a line that is a JSON object with this `event`.
    ///
    /// # Errors
    /// The process ends or [`PATIENCE`] does.
    pub fn wait_for_event(&self, event: &str) -> Result<Value> {
        self.wait_for_line(&format!("the event {event:?}"), |line| {
            serde_json::from_str::<Value>(line)
                .ok()
                .filter(|value| value.get("event").and_then(Value::as_str) == Some(event))
        })
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Writes to standard input.
    ///
    /// # Errors
    /// The process has closed it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("stdin is closed")?;
        stdin.write_all(bytes)?;
        Ok(stdin.flush()?)
    }

    /// Closes standard input, on which clients that hold their connection wait.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?).context("a pid of 0")?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Closes standard input and waits for the end within [`PATIENCE`].
    ///
    /// # Errors
    /// It takes too long.
    pub fn finish(self) -> Result<Finished> {
        self.finish_within(PATIENCE)
    }

    /// As [`Self::finish`] with another limit.
    ///
    /// # Errors
    /// It takes too long.
    pub fn finish_within(mut self, limit: Duration) -> Result<Finished> {
        self.close_stdin();
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            interrupt::check()?;
            ensure!(
                Instant::now() < deadline,
                "{} did not end within {limit:?}:\n{}\n{}",
                self.name,
                self.stdout.text(),
                self.stderr.text()
            );
            thread::sleep(POLL);
        };
        // A grandchild may hold the pipes open: what it says later is nobody's business here.
        let drained = Instant::now() + Duration::from_secs(1);
        while self.readers.iter().any(|r| !r.is_finished()) && Instant::now() < drained {
            thread::sleep(POLL);
        }
        Ok(Finished {
            name: self.name.clone(),
            status,
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        })
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.close_stdin();
        let deadline = Instant::now() + GRACE;
        // Gone meanwhile: as wanted.
        if self.signal(Signal::TERM).is_ok() {
            while self.is_running() && Instant::now() < deadline {
                thread::sleep(POLL);
            }
        }
        if self.is_running()
            && let Err(error) = self.kill()
        {
            complain(&format!("killing {}: {error}", self.name));
        }
    }
}

impl Finished {
    /// # Errors
    /// The exit status is not 0; the message holds the output.
    pub fn success(self) -> Result<Self> {
        ensure!(
            self.status.success(),
            "{} failed with {}:\n{}\n{}",
            self.name,
            self.status,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// Standard output's JSON lines.
    pub fn events(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The first JSON line with this `event`.
    ///
    /// # Errors
    /// There is none; the message holds the output.
    pub fn event(&self, event: &str) -> Result<Value> {
        self.events()
            .into_iter()
            .find(|value| value.get("event").and_then(Value::as_str) == Some(event))
            .with_context(|| {
                format!(
                    "{} reported no event {event:?}:\n{}\n{}",
                    self.name, self.stdout, self.stderr
                )
            })
    }
}

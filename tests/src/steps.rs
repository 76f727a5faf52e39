//! A client whose every system call a test commands.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{clients::Clients, netns::Netns, process::Running, sandbox::Sandbox};

/// The client, and how many steps it has taken. See `clients/steps.py` for what it can.
#[derive(Debug)]
pub struct Steps {
    running: Running,
    taken: u64,
}

impl Steps {
    /// In a sandbox.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn inside(sandbox: &Sandbox, netns: &Netns, clients: &Clients) -> Result<Self> {
        Ok(Self {
            running: sandbox.spawn(netns, &clients.steps())?,
            taken: 0,
        })
    }

    /// In a namespace, as the same user with as few privileges, but in no sandbox.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn outside(netns: &Netns, clients: &Clients) -> Result<Self> {
        let mut command = netns.command("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"])
            .arg("--")
            .args(clients.steps())
            .current_dir("/");
        Ok(Self {
            running: Running::spawn(command)?,
            taken: 0,
        })
    }

    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Takes a step, and tells what came of it.
    ///
    /// # Errors
    /// The client is gone. The name of the error that the step met is inside.
    pub fn step(&mut self, step: &str) -> Result<Result<String, String>> {
        let number = self.taken;
        self.taken += 1;
        self.running.write(format!("{step}\n").as_bytes())?;
        let outcome = self.running.wait_for_line(step, |line| {
            let outcome: Value = serde_json::from_str(line).ok()?;
            (outcome.get("step")? == number).then_some(outcome)
        })?;
        let text = |name| outcome.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(match text("error") {
            Some(error) => Err(error),
            None => Ok(text("value").unwrap_or_default()),
        })
    }

    /// Takes steps that have to succeed, and tells what the last one gave.
    ///
    /// # Errors
    /// One does not.
    pub fn all(&mut self, steps: &[&str]) -> Result<String> {
        let mut last = None;
        for step in steps {
            let outcome = self.step(step)?;
            ensure!(outcome.is_ok(), "{step}: {outcome:?}");
            last = outcome.ok();
        }
        last.context("no step")
    }
}

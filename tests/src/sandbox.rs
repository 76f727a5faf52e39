//! A sandbox of a test: a cgroup and namespaces, attached to a daemon.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    cgroup::Cgroup,
    clients::PLACEHOLDER,
    daemon::Daemon,
    interrupt,
    netns::Netns,
    process::{Finished, PATIENCE, Running},
};

/// Processes in it run as `nobody`, without capabilities, and hold a placeholder as `DISCORD_BOT_TOKEN`.
#[derive(Debug)]
pub struct Sandbox {
    name: String,
    // Dropped first: the cgroup cannot be removed while they live.
    residents: Vec<Running>,
    cgroup: Cgroup,
    trust: Vec<(&'static str, String)>,
}

impl Sandbox {
    /// Attaches a new cgroup under a name of the configuration, with a process in each namespace, so that listeners
    /// are there before the first question to a resolver.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn attach(daemon: &Daemon, name: &str, namespaces: &[&Netns]) -> Result<Self> {
        let mut sandbox = Self::beside(daemon, name)?;
        for netns in namespaces {
            sandbox.settle(netns)?;
        }
        sandbox.attach_again(daemon)?;
        Ok(sandbox)
    }

    /// A cgroup and processes like a sandbox's, but not attached: what they do shows what a sandbox is kept from.
    ///
    /// # Errors
    /// No cgroup to be had.
    pub fn beside(daemon: &Daemon, name: &str) -> Result<Self> {
        Ok(Self {
            name: name.into(),
            residents: Vec::new(),
            cgroup: Cgroup::new()?,
            trust: daemon.trust(),
        })
    }

    /// Attaches, once more after [`Self::detach`], and makes sure that it is attached.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn attach_again(&self, daemon: &Daemon) -> Result<()> {
        self.attach_with(daemon, &[])
    }

    /// As [`Self::attach_again`], with more arguments.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn attach_with(&self, daemon: &Daemon, arguments: &[&str]) -> Result<()> {
        let path = self.cgroup.path().display().to_string();
        let attach = ["attach", "--name", &self.name, "--cgroup", &path];
        daemon.cli(&[&attach[..], arguments].concat())?.success()?;
        let listed = daemon.json(&["sandboxes"])?;
        let found = listed.as_array().into_iter().flatten().any(|sandbox| {
            sandbox.get("name").and_then(Value::as_str) == Some(self.name.as_str())
                && sandbox.get("cgroup").and_then(Value::as_str) == Some(path.as_str())
        });
        ensure!(
            found,
            "{} was attached, but is not listed: {listed}",
            self.name
        );
        Ok(())
    }

    /// Leaves a process in a namespace, and tells its number.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn settle(&mut self, netns: &Netns) -> Result<u32> {
        let resident = self.spawn(netns, &["cat".into()])?;
        let pid = resident.pid();
        self.residents.push(resident);
        let deadline = Instant::now() + PATIENCE;
        // Before it is what it is to be, it has root's privileges.
        while fs::read_to_string(format!("/proc/{pid}/comm"))?.trim() != "cat" {
            interrupt::check()?;
            ensure!(Instant::now() < deadline, "a resident does not settle");
            thread::sleep(Duration::from_millis(2));
        }
        Ok(pid)
    }

    /// # Errors
    /// The daemon refuses.
    pub fn detach(&self, daemon: &Daemon) -> Result<()> {
        daemon.cli(&["detach", &self.name])?.success().map(drop)
    }

    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// A command in the sandbox's cgroup and a namespace.
    ///
    /// # Errors
    /// `arguments` is empty.
    pub fn command(&self, netns: &Netns, arguments: &[String]) -> Result<Command> {
        self.command_as(65534, netns, arguments)
    }

    /// As [`Self::command`], as another user, who has no capabilities either.
    ///
    /// # Errors
    /// `arguments` is empty.
    pub fn command_as(&self, user: u32, netns: &Netns, arguments: &[String]) -> Result<Command> {
        self.command_with(user, "-all", netns, arguments)
    }

    /// As [`Self::command_as`], with a bounding set of capabilities as setpriv(1) has it; root holds all that is in it.
    ///
    /// # Errors
    /// `arguments` is empty.
    pub fn command_with(
        &self,
        user: u32,
        capabilities: &str,
        netns: &Netns,
        arguments: &[String],
    ) -> Result<Command> {
        let (program, rest) = arguments.split_first().context("nothing to run")?;
        let mut command = netns.command("sh");
        command
            .args(["-c", r#"echo 0 > "$0" && exec "$@""#])
            .arg(self.cgroup.procs())
            .args([
                "setpriv",
                &format!("--reuid={user}"),
                &format!("--regid={user}"),
                "--clear-groups",
            ])
            .args(["--no-new-privs", "--inh-caps=-all"])
            .arg(format!("--bounding-set={capabilities}"))
            .args(["--", program])
            .args(rest)
            .current_dir("/")
            .env("DISCORD_BOT_TOKEN", PLACEHOLDER)
            .envs(self.trust.iter().map(|(key, value)| (key, value)));
        for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(variable);
        }
        Ok(command)
    }

    /// Starts a command in the sandbox.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&self, netns: &Netns, arguments: &[String]) -> Result<Running> {
        Running::spawn(self.command(netns, arguments)?)
    }

    /// Runs a command in the sandbox to its end.
    ///
    /// # Errors
    /// It cannot be started or takes too long; its exit status is the caller's to judge.
    pub fn run(&self, netns: &Netns, arguments: &[String]) -> Result<Finished> {
        self.spawn(netns, arguments)?.finish()
    }
}

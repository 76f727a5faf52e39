//! A sandbox of a test: a cgroup and namespaces, attached to a daemon.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{
    cgroup::Cgroup,
    daemon::Daemon,
    netns::Netns,
    process::{Finished, Running},
};

/// Processes in it run as `nobody`, without capabilities.
#[derive(Debug)]
pub struct Sandbox {
    name: String,
    cgroup: Cgroup,
    trust: Vec<(&'static str, String)>,
}

impl Sandbox {
    /// Attaches a new cgroup under a name of the configuration, and makes sure that it is attached.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn attach(daemon: &Daemon, name: &str) -> Result<Self> {
        let cgroup = Cgroup::new()?;
        let path = cgroup.path().display().to_string();
        daemon
            .cli(&["attach", "--name", name, "--cgroup", &path])?
            .success()?;
        let listed = daemon.json(&["sandboxes"])?.to_string();
        ensure!(
            listed.contains(&format!("{name:?}")),
            "{name} was attached, but is not listed: {listed}"
        );
        Ok(Self {
            name: name.into(),
            cgroup,
            trust: daemon.trust(),
        })
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
        let (program, rest) = arguments.split_first().context("nothing to run")?;
        let mut command = netns.command("sh");
        command
            .args(["-c", r#"echo 0 > "$0" && exec "$@""#])
            .arg(self.cgroup.procs())
            .args([
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
            ])
            .args(["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"])
            .args(["--", program])
            .args(rest)
            .current_dir("/")
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

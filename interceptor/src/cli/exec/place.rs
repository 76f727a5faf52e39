//! The cgroup and the network namespace of one command, as a sandbox.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::process::Command;

use super::super::output::complain;
use crate::{
    control::{
        api::{AttachRequest, DetachRequest, SandboxView},
        client::Client,
    },
    kernel::{Claim, Confinement, Credentials, Hierarchy, Holder, Network},
    locate::Target,
};

/// The cgroup above those of all commands, which goes with the last of them.
const PARENT: &str = "interceptor";
/// What the names of commands' cgroups begin with.
const PREFIX: &str = "exec-";
/// Longest part of a cgroup's name that is taken from the sandbox's.
const NAME: usize = 64;

/// A place for one command. When it goes, for whatever reason, what runs in it is killed, and it is removed.
pub(super) struct Place<'c> {
    client: &'c Client,
    claim: Claim,
    holder: Option<Holder>,
    sandbox: Option<u32>,
}

impl<'c> Place<'c> {
    pub(super) fn make(
        client: &'c Client,
        name: &str,
        network: Network,
        credentials: &Credentials,
    ) -> anyhow::Result<Self> {
        let hierarchy = Hierarchy::find()?;
        hierarchy.clear(Path::new(PARENT), PREFIX);
        let claim = hierarchy
            .claim(&cgroup_name(name))
            .context("cannot make a cgroup for the command (this needs root)")?;
        let mut place = Self {
            client,
            claim,
            holder: None,
            sandbox: None,
        };
        place.holder = Some(Holder::start(&place.claim.cgroup, network, credentials)?);
        Ok(place)
    }

    /// Has the daemon make it a sandbox, with listeners in its namespace.
    pub(super) fn attach(&mut self, name: &str) -> anyhow::Result<SandboxView> {
        let sandbox = self.client.attach(&AttachRequest {
            name: name.to_owned(),
            target: Target::Cgroup(self.claim.cgroup.path().to_owned()),
            secrets: Vec::new(),
            keep_existing: false,
        })?;
        self.sandbox = Some(sandbox.id);
        Ok(sandbox)
    }

    /// Has a command start in it.
    pub(super) fn confine(
        &self,
        command: &mut Command,
        credentials: Credentials,
    ) -> anyhow::Result<()> {
        let holder = self.holder.as_ref().context("the place is inhabited")?;
        Confinement::new(&self.claim.cgroup, holder.netns(), credentials)?.apply(command);
        Ok(())
    }

    /// The command is there, and nobody else has to be.
    pub(super) fn is_inhabited(&mut self) {
        self.holder = None;
    }

    /// Kills what is left, and only then opens the sandbox.
    fn clean_up(&mut self) -> anyhow::Result<()> {
        self.holder = None;
        self.claim.cgroup.kill()?;
        // Without its cgroup the sandbox is gone all the same: a daemon that does not answer now will see that later.
        let detached = match self.sandbox.take() {
            Some(id) => {
                let request = DetachRequest::Sandbox(id.to_string());
                self.client.detach(&request).map(drop)
            }
            None => Ok(()),
        };
        self.claim.cgroup.remove_with_parent()?;
        detached.context("cannot detach the sandbox")
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.clean_up() {
            complain(&format!("warning: {error:#}"));
        }
    }
}

/// Below a cgroup for all of them, with this process's number, which makes it unique while it runs.
fn cgroup_name(sandbox: &str) -> PathBuf {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let name: String = sandbox.chars().take(NAME).map(plain).collect();
    Path::new(PARENT).join(format!("{PREFIX}{name}-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_named_after_its_sandbox_whatever_that_is_called() {
        let pid = std::process::id();
        for (sandbox, name) in [("micky", "micky"), ("../a b/ü", "___a_b__"), ("", "")] {
            assert_eq!(
                cgroup_name(sandbox),
                PathBuf::from(format!("interceptor/exec-{name}-{pid}"))
            );
        }
        assert!(cgroup_name(&"x".repeat(1000)).as_os_str().len() < 100);
    }
}

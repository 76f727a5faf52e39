//! What is to be told of a sandbox.

use std::{collections::BTreeSet, fmt, path::PathBuf, time::SystemTime};

use super::{Inner, Sandbox, Service, State, blocking};
use crate::{
    address::{CgroupId, NetnsCookie, SandboxId},
    kernel::{Capabilities, Cgroup, Fate, Permit, Programs, UnownedSocket},
    locate::Identity,
    secrets::SecretName,
};

/// One sandbox, for `list` and as the answer to attach and detach.
#[derive(Clone, Debug)]
pub(crate) struct SandboxReport {
    pub(crate) id: SandboxId,
    pub(crate) name: String,
    pub(crate) cgroup: PathBuf,
    pub(crate) cgroup_id: CgroupId,
    pub(crate) identity: Option<Identity>,
    pub(crate) netns: Vec<NetnsReport>,
    /// Added at attach to those that the configuration gives.
    pub(crate) secrets: Vec<SecretName>,
    pub(crate) attached: SystemTime,
    /// From elsewhere: what is kept or could not be stopped; as the answer to attach, all that were found.
    pub(crate) sockets: Vec<UnownedSocket>,
    /// What goes past the daemon, and how often it did.
    pub(crate) exemptions: Vec<(Permit, u64)>,
    /// Refusals by the kernel's programs since it was attached.
    pub(crate) kernel_denials: u64,
    /// What the programs cannot watch on this kernel, for an operator.
    pub(crate) doors: Vec<String>,
    /// What weakens the containment, for an operator.
    pub(crate) warnings: Vec<String>,
}

/// One namespace with listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NetnsReport {
    pub(crate) cookie: NetnsCookie,
    pub(crate) port: u16,
    pub(crate) has_v6: bool,
    /// Only this sandbox lives there, and its loopback is left alone.
    pub(crate) private: bool,
    /// Nothing but answers leaves by its devices, whatever socket it comes from.
    pub(crate) fenced: bool,
}

impl State {
    pub(super) fn reports(&self, programs: &Programs) -> Vec<SandboxReport> {
        let sandboxes = self.sandboxes.iter();
        sandboxes
            .map(|(id, sandbox)| self.report(*id, sandbox, programs))
            .collect()
    }

    pub(super) fn report(
        &self,
        id: SandboxId,
        sandbox: &Sandbox,
        programs: &Programs,
    ) -> SandboxReport {
        let netns = self.namespaces.of(id);
        let sockets = sandbox.sockets.standing();
        let capabilities = sandbox.capabilities.iter();
        let mut warnings: Vec<_> = capabilities
            .map(|found| Uncontained(found).to_string())
            .collect();
        warnings.extend(sockets.iter().map(|socket| match socket.fate {
            Fate::Loose => format!("{socket} cannot be stopped: end the process"),
            _ => format!("{socket} is kept: what it carries is not seen"),
        }));
        warnings.extend(self.links.warnings(id));
        SandboxReport {
            id,
            name: sandbox.name.clone(),
            cgroup: sandbox.cgroup.path().to_owned(),
            cgroup_id: sandbox.cgroup.id(),
            identity: sandbox.identity.clone(),
            doors: doors(programs, &netns),
            netns,
            secrets: sandbox.secrets.clone(),
            attached: sandbox.attached,
            sockets,
            warnings,
            exemptions: programs.exemptions(id),
            kernel_denials: programs.denials(id),
        }
    }
}

/// Doors that stand open: seccomp or capabilities have to close them.
fn doors(programs: &Programs, netns: &[NetnsReport]) -> Vec<String> {
    let Err(why) = programs.families() else {
        return Vec::new();
    };
    let mut doors = vec![format!(
        "sockets of AF_VSOCK, AF_ALG, AF_TIPC, AF_SMC and other families beside IPv4 and IPv6 are not watched, as this \
         kernel takes no program on socket_create ({why}): refuse them with seccomp"
    )];
    for found in netns.iter().filter(|found| !found.fenced) {
        doors.push(format!(
            "packet sockets (AF_PACKET, AF_XDP) reach the devices of network namespace {}, which others share or this \
             kernel cannot fence: drop CAP_NET_RAW",
            found.cookie
        ));
    }
    doors
}

/// Processes of a cgroup that can send what the programs do not see.
pub(super) async fn uncontained(cgroup: Cgroup) -> Vec<Capabilities> {
    let found = blocking(move || {
        let processes = cgroup.processes().unwrap_or_default().into_iter();
        processes.filter_map(Capabilities::of).collect()
    });
    // Fails only when the daemon is stopping.
    found.await.unwrap_or_default()
}

/// Processes of one look that are logged one by one: all of a container may run with capabilities.
const LOGGED: usize = 8;

impl<S: Service> Inner<S> {
    /// Looks again at what the processes of each sandbox could do: others have come since.
    pub(super) async fn review_capabilities(&self, state: &mut State) {
        for (id, sandbox) in &mut state.sandboxes {
            let found = uncontained(sandbox.cgroup.clone()).await;
            let known: BTreeSet<_> = sandbox.capabilities.iter().map(|known| known.pid).collect();
            let new = found.iter().filter(|process| !known.contains(&process.pid));
            for process in new.take(LOGGED) {
                let warning = Uncontained(process).to_string();
                tracing::warn!(sandbox = %id, warning, "not contained");
            }
            sandbox.capabilities = found;
        }
    }
}

/// A process that can send what the programs do not see.
struct Uncontained<'a>(&'a Capabilities);

impl fmt::Display for Uncontained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.0;
        write!(f, "process {} ({})", found.pid, found.comm)?;
        if !found.held.is_empty() {
            let held = found.held.join(", ");
            write!(f, " holds {held}: it is not contained, drop them")?;
        }
        if !found.reachable.is_empty() {
            let joint = if found.held.is_empty() { "" } else { ", and" };
            let reachable = found.reachable.join(", ");
            write!(
                f,
                "{joint} can gain {reachable} through a set-user-ID program: set no_new_privs"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_process_capabilities_and_remedy() {
        let found = Capabilities {
            pid: 7,
            comm: "node".to_owned(),
            held: vec!["NET_RAW"],
            reachable: vec!["BPF"],
        };
        assert_eq!(
            Uncontained(&found).to_string(),
            "process 7 (node) holds NET_RAW: it is not contained, drop them, and can gain BPF through a set-user-ID \
             program: set no_new_privs"
        );
    }
}

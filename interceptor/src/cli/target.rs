//! What a command is about: a cgroup, by whatever it is known.

use std::{io, path::PathBuf};

use clap::Args;

use crate::{
    control::api::SandboxView,
    locate::{PodQuery, Target, Unit},
};

/// One of them, or none: whoever requires one says so.
#[derive(Debug, Args)]
#[group(id = "target", multiple = false)]
pub(super) struct TargetArgs {
    /// The cgroup: a directory of the cgroup2 file system
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// The cgroup that this process is in
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
    /// A container of Docker, podman, containerd or CRI-O, by its ID, the beginning of it, or its name
    #[arg(long, value_name = "ID|NAME")]
    container: Option<String>,
    /// A pod of this node with all its containers, as NAMESPACE/NAME or by its UID
    #[arg(long, value_name = "POD")]
    pod: Option<PodQuery>,
    /// A service, scope or slice of systemd
    #[arg(long, value_name = "UNIT")]
    systemd: Option<Unit>,
}

impl TargetArgs {
    pub(super) const NAMES: [&'static str; 5] = ["cgroup", "pid", "container", "pod", "systemd"];

    /// # Errors
    /// A relative path, and no working directory.
    pub(super) fn target(self) -> io::Result<Option<Target>> {
        let Self {
            cgroup,
            pid,
            container,
            pod,
            systemd,
        } = self;
        // The daemon has another working directory.
        let cgroup = cgroup.map(std::path::absolute).transpose()?;
        Ok(cgroup
            .map(Target::Cgroup)
            .or(pid.map(Target::Pid))
            .or(container.map(Target::Container))
            .or(pod.map(Target::Pod))
            .or(systemd.map(Target::Systemd)))
    }
}

/// `/sys/fs/cgroup/…, pod team/agent`
pub(super) fn place(sandbox: &SandboxView) -> String {
    let cgroup = sandbox.cgroup.display();
    match &sandbox.identity {
        Some(identity) => format!("{cgroup}, {identity}"),
        None => cgroup.to_string(),
    }
}

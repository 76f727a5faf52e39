//! `interceptor attach`

use std::path::Path;

use anyhow::Context;
use clap::Args;

use super::{
    Json,
    output::{self, complain, escape},
    target::{TargetArgs, place},
};
use crate::control::{api::AttachRequest, client::Client};

const EXAMPLES: &str = "\
From now on every connection that is opened in the cgroup, or in one below it, goes through the daemon, and what is \
no TCP connection and no DNS question is refused. Sockets from before are destroyed and listed, unless \
`--keep-existing` lets them go on: those with their peers, listening ones with whoever connects. So are sockets that a \
process brings along later, or is passed from outside, within a second or two. Prefer a cgroup that exists before \
its processes, such as a pod's, to one that is attached while they run.

Containers, pods and units are found by their cgroups, whatever runtime made them. Their names are those that Docker, \
podman, CRI-O, containerd or kubelet keep on this host. Where more than one is meant, all are listed and none is \
attached.

Examples:
  interceptor attach --name micky --cgroup /sys/fs/cgroup/agents.slice/micky
  interceptor attach --name micky --container 4a7d1ed41447
  interceptor attach --name micky --pod agents/micky-0
  interceptor attach --name micky --systemd micky.service
  interceptor attach --name micky --pid 4242 --secret OPENAI_API_KEY";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("required").required(true).args(TargetArgs::NAMES))]
pub(super) struct AttachArgs {
    /// The sandbox in the configuration, which gives it policies and secrets
    #[arg(long)]
    name: String,
    #[command(flatten)]
    target: TargetArgs,
    /// A secret of the configuration, beyond those that it gives the sandbox; may be given several times
    #[arg(long = "secret", value_name = "KEY")]
    secrets: Vec<String>,
    /// Lets sockets that were opened before go on as they are, beside interceptor; else they are destroyed
    #[arg(long)]
    keep_existing: bool,
    #[command(flatten)]
    json: Json,
}

pub(super) fn run(args: AttachArgs, run_dir: &Path) -> anyhow::Result<()> {
    let target = args.target.target()?.context("nothing to attach")?;
    let sandbox = Client::new(run_dir).attach(&AttachRequest {
        name: args.name,
        target,
        secrets: args.secrets,
        keep_existing: args.keep_existing,
    })?;
    for door in &sandbox.doors {
        complain(&format!("left to seccomp: {door}"));
    }
    for warning in &sandbox.warnings {
        complain(&format!("warning: {warning}"));
    }
    if args.json.json {
        return output::json(&sandbox);
    }
    let mut text = format!(
        "attached {} as sandbox {}: {}\n",
        escape(&sandbox.name),
        sandbox.id,
        escape(&place(&sandbox)),
    );
    for socket in &sandbox.sockets {
        text.push_str(&format!(
            "{}: {}\n",
            socket.fate,
            escape(&socket.description)
        ));
    }
    output::print(&text)
}

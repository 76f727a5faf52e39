//! `interceptor attach`

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    Json,
    output::{self, complain, escape},
};
use crate::control::{api::AttachRequest, client::Client};

const EXAMPLES: &str = "\
From now on every connection that is opened in the cgroup, or in one below it, goes through the daemon, and what is \
no TCP connection and no DNS question is refused. Sockets from before are destroyed and listed, unless \
`--keep-existing` lets them go on: those with their peers, listening ones with whoever connects. So are sockets that a \
process brings along later, or is passed from outside, within a second or two. Prefer a cgroup that exists before \
its processes, such as a pod's, to one that is attached while they run.

Examples:
  interceptor attach --name micky --cgroup /sys/fs/cgroup/agents.slice/micky
  interceptor attach --name micky --pid 4242 --secret OPENAI_API_KEY";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AttachArgs {
    /// The sandbox in the configuration, which gives it policies and secrets
    #[arg(long)]
    name: String,
    #[command(flatten)]
    target: Target,
    /// A secret of the configuration, beyond those that it gives the sandbox; may be given several times
    #[arg(long = "secret", value_name = "KEY")]
    secrets: Vec<String>,
    /// Lets sockets that were opened before go on as they are, beside interceptor; else they are destroyed
    #[arg(long)]
    keep_existing: bool,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// The cgroup: a directory of the cgroup2 file system
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// The cgroup that this process is in
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
}

pub(super) fn run(args: AttachArgs, run_dir: &Path) -> anyhow::Result<()> {
    // The daemon has another working directory.
    let cgroup = args.target.cgroup.map(std::path::absolute).transpose()?;
    let sandbox = Client::new(run_dir).attach(&AttachRequest {
        name: args.name,
        cgroup,
        pid: args.target.pid,
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
        escape(&sandbox.cgroup.display().to_string()),
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

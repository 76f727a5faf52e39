//! `interceptor ca install` and `uninstall`

use std::{path::Path, process::ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::{
    super::{
        Json,
        output::{self, complain, escape},
        table::{Column, Table},
        target::TargetArgs,
    },
    Source,
};
use crate::{
    error::chain,
    kernel::Hierarchy,
    locate::{Host, Target, locate},
    tls::anchor::Anchor,
    trust::{self, Became, Change, Outcome},
};

pub(super) const EXAMPLES: &str = "\
The certificate goes into the bundles that distributions have in /etc/ssl, /etc/pki and /var/lib/ca-certificates, and \
into OpenShell's in /etc/openshell-tls, as far as they are there, between two lines of comment by which `uninstall` \
finds it; what is there already is not put in again, and an earlier CA of ours makes way. What is mounted into the \
container from elsewhere is left alone, and so is a container that sees this host's own files.

Programs read bundles when they start. What Java trusts is in none of them, and Node reads only the file that \
NODE_EXTRA_CA_CERTS names: see `interceptor ca env`.

Of --pid it is what this one process sees, of everything else what all processes in the cgroup see. It is run where the processes' numbers are those of the host, as root. Exit code 1: a bundle that is there could not be \
changed, or there is none.

Examples:
  sudo interceptor ca install --pid 4242
  sudo interceptor ca install --pod agents/micky-0
  sudo interceptor ca install --container micky
  sudo interceptor ca uninstall --pid 4242";

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("required").required(true).args(TargetArgs::NAMES))]
pub(in crate::cli) struct InstallArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("required").required(true).args(TargetArgs::NAMES))]
pub(in crate::cli) struct UninstallArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    json: Json,
}

/// What came of one container.
#[derive(Debug, Serialize)]
struct Container {
    /// One process that sees it.
    pid: u32,
    bundles: Vec<Outcome>,
}

pub(super) fn install(args: InstallArgs, run_dir: &Path) -> anyhow::Result<ExitCode> {
    let path = args.source.certificate(run_dir);
    let anchor = Anchor::read(&path).with_context(|| {
        format!(
            "cannot read the certificate authority's {}: make one with `interceptor ca init`",
            path.display()
        )
    })?;
    change(args.target, Change::Install(&anchor), args.json)
}

pub(super) fn uninstall(args: UninstallArgs) -> anyhow::Result<ExitCode> {
    change(args.target, Change::Uninstall, args.json)
}

fn change(target: TargetArgs, change: Change<'_>, json: Json) -> anyhow::Result<ExitCode> {
    let target = target.target()?.context("no container is named")?;
    let (views, mut errors) = trust::views(&processes(&target)?);
    let mut containers = Vec::new();
    for (pid, view) in views.into_values() {
        match trust::apply(&view, change) {
            Ok(bundles) => containers.push(Container { pid, bundles }),
            Err(error) => errors.push(error),
        }
    }
    for error in &errors {
        complain(&format!("warning: {}", chain(error)));
    }
    if containers.is_empty() {
        bail!("no container's files were found");
    }
    if json.json {
        output::json(&containers)?;
    } else {
        output::print(&render(&containers, change))?;
    }
    Ok(
        if errors.is_empty() && containers.iter().all(Container::is_done) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        },
    )
}

/// Of a process the one that is named, of everything else all that it holds.
fn processes(target: &Target) -> anyhow::Result<Vec<u32>> {
    if let Target::Pid(pid) = target {
        return Ok(vec![*pid]);
    }
    let cgroup = locate(&Hierarchy::find()?, &Host::here(), target)?.cgroup;
    cgroup
        .processes()
        .with_context(|| format!("cannot list the processes in {}", cgroup.path().display()))
}

impl Container {
    fn is_done(&self) -> bool {
        let mut bundles = self.bundles.iter();
        let some = self
            .bundles
            .iter()
            .any(|bundle| matches!(bundle.became, Became::Changed | Became::Unchanged));
        some && !bundles.any(|bundle| matches!(bundle.became, Became::Refused(_)))
    }
}

fn render(containers: &[Container], change: Change<'_>) -> String {
    let mut table = Table::new(&[
        Column::Number("PID"),
        Column::Word("BUNDLE"),
        Column::Text("OUTCOME"),
    ]);
    let mut bare = String::new();
    for Container { pid, bundles } in containers {
        for Outcome { path, became } in bundles {
            table.row([pid.to_string(), path.clone(), became.describe(change)]);
        }
        if bundles.is_empty() {
            bare.push_str(&escape(&format!(
                "process {pid} has none of the known bundles: name our CA in its environment (`interceptor ca env`)"
            )));
            bare.push('\n');
        }
    }
    if bare.is_empty() || containers.iter().any(|one| !one.bundles.is_empty()) {
        bare.insert_str(0, &table.render());
    }
    bare
}

//! `interceptor run`

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{logging::LogArgs, units};
use crate::daemon;

const EXAMPLES: &str = "\
The first start makes a certificate authority in --data-dir and puts its certificate, alone and together with the \
system's roots, into --run-dir as ca.pem and ca-bundle.pem.

A sandbox outlives the daemon: while none runs, its connections are refused. A new daemon takes it over.

With --takeover the new daemon goes on where one that runs is: with its listeners, so that no connection is refused in \
between. The other one finishes the connections that it has, for --drain at most, and exits. When anything is wrong \
with the new one it says so and ends, and the other one goes on.

Signals: SIGHUP reads the configuration again, SIGTERM and SIGINT end the daemon, and its connections after five seconds. \
One that was taken over from notes the first SIGTERM and finishes its connections all the same; SIGINT, or SIGTERM once \
more, ends it.

Examples:
  interceptor run --config /etc/interceptor/interceptor.yaml
  interceptor run --takeover --config /etc/interceptor/interceptor.yaml
  INTERCEPTOR_LOG=interceptor=debug interceptor run --config interceptor.yaml --log-format json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// The configuration: secrets, sandboxes and their policies
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where programs and maps are pinned: a directory of the BPF file system
    #[arg(long, default_value = "/sys/fs/bpf/interceptor", value_name = "DIR")]
    bpf_dir: PathBuf,
    /// Where the certificate authority is kept
    #[arg(long, default_value = super::ca::DATA_DIR, value_name = "DIR")]
    data_dir: PathBuf,
    /// Take over from the daemon that runs on --run-dir, if there is one
    #[arg(long)]
    takeover: bool,
    /// How long connections may go on once another daemon has taken over: 90s, 15m, 1h, 2d
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = units::parse_duration)]
    drain: Duration,
    /// Stay when they have ended, until SIGTERM, and answer at the address for metrics: for a supervisor that starts again
    /// whatever exits, in a network namespace that the other daemon is not in, as with pods
    #[arg(long)]
    linger: bool,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn run(args: RunArgs, run_dir: &Path) -> anyhow::Result<()> {
    args.log.start()?;
    daemon::run(daemon::Settings {
        // A daemon that drains elsewhere reads it too.
        config: std::path::absolute(args.config)?,
        run_dir: run_dir.to_owned(),
        bpf_dir: args.bpf_dir,
        data_dir: args.data_dir,
        takeover: args.takeover,
        drain: args.drain,
        linger: args.linger,
    })?;
    Ok(())
}

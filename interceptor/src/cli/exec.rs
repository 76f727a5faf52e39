//! `interceptor exec`

mod environment;
mod place;
mod supervise;

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    path::Path,
    process::{ExitCode, ExitStatus},
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use tokio::{process::Command, runtime};

use self::{
    place::Place,
    supervise::{Signals, supervise},
};
use super::output::complain;
use crate::{
    control::client::Client,
    kernel::{Credentials, Network},
};

const EXAMPLES: &str = "\
The command runs in a cgroup of its own, which is a sandbox as long as it runs, without capabilities, and in a network \
namespace that has no device but lo: names resolve and connections open through the daemon all the same. It finds the \
CA in the usual variables, and a placeholder in the variable of every secret that the sandbox has. What it leaves \
running is killed.

Examples:
  sudo interceptor exec --name micky -- node bot.js
  sudo interceptor exec --name micky --net host --user build -- ./integration-test";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExecArgs {
    /// The sandbox in the configuration, which gives it policies and secrets
    #[arg(long)]
    name: String,
    /// A network namespace of its own, or that of the host
    #[arg(long, value_enum, default_value_t = Net::Own)]
    net: Net,
    /// Whom the command runs as, a name or a number [default: who called sudo, else nobody]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Net {
    Own,
    Host,
}

pub(super) fn run(args: ExecArgs, run_dir: &Path) -> anyhow::Result<ExitCode> {
    let (program, arguments) = args.command.split_first().context("no command is given")?;
    let credentials = Credentials::of(&args.user.unwrap_or_else(default_user))?;
    let network = match args.net {
        Net::Own => Network::Own,
        Net::Host => Network::Host,
    };
    let client = Client::new(run_dir);
    let info = client.info()?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot start a runtime")?;
    // From here on a signal does not end this process, which has to clean up. It waits for the command.
    let signals = Signals::catch(&runtime).context("cannot catch signals")?;

    let mut place = Place::make(&client, &args.name, network, &credentials)?;
    let sandbox = place.attach(&args.name)?;
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    environment::prepare(&mut command, &info, &sandbox, &credentials);
    for warning in environment::warnings(&sandbox, |name| env::var(name).ok()) {
        complain(&format!("warning: {warning}"));
    }
    place.confine(&mut command, credentials)?;
    let ended = runtime.block_on(async {
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ok(not_run(program, &error)),
        };
        place.is_inhabited();
        supervise(child, signals)
            .await
            .map(exit_code)
            .context("cannot wait for the command")
    });
    drop(place);
    ended
}

fn default_user() -> String {
    env::var("SUDO_UID").unwrap_or_else(|_| "nobody".to_owned())
}

/// As shells have it: 127 for a command that is not there, 126 for one that cannot be run.
fn not_run(program: &OsStr, error: &io::Error) -> ExitCode {
    complain(&format!("error: cannot run {}: {error}", program.display()));
    ExitCode::from(match error.kind() {
        io::ErrorKind::NotFound => 127,
        _ => 126,
    })
}

/// The command's own, or as shells have it 128 and the signal's number.
fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

//! The command line: one file per subcommand. It asks the daemon, or the library, and prints.

mod attach;
mod ca;
mod check;
mod conns;
mod detach;
mod events;
mod exec;
mod failure;
mod logging;
mod output;
mod policy;
mod reload;
mod run;
mod sandboxes;
mod stats;
mod table;
mod target;
mod units;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  interceptor check --config interceptor.yaml
  sudo interceptor run --config interceptor.yaml
  sudo interceptor exec --name micky -- node bot.js
  sudo interceptor attach --name micky --pid 4242
  sudo interceptor conns --all

Exit codes: 0 done, 1 it failed, 2 usage or bad configuration, 3 a policy that is not supported; exec passes on the command's own.";

/// Puts real credentials into a sandbox's traffic on its way out.
///
/// A process in a sandbox holds placeholders instead of secrets. The kernel steers every connection that it opens to
/// the daemon, which decides by policy where it may go, and writes the secret where the protocol expects a credential
/// and nowhere else.
#[derive(Debug, Parser)]
#[command(name = "interceptor", version, after_help = EXAMPLES)]
struct Cli {
    /// Where the daemon has its control socket, its state and the public part of the CA
    #[arg(
        long,
        global = true,
        env = "INTERCEPTOR_RUN_DIR",
        default_value = "/run/interceptor",
        value_name = "DIR"
    )]
    run_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(run::RunArgs),
    /// Make a cgroup a sandbox
    Attach(attach::AttachArgs),
    /// Open a sandbox: nothing of it is intercepted any more
    Detach(detach::DetachArgs),
    /// Run a command in a sandbox of its own
    Exec(exec::ExecArgs),
    /// List the sandboxes
    #[command(after_help = sandboxes::EXAMPLES)]
    Sandboxes(Json),
    /// List connections
    Conns(conns::ConnsArgs),
    /// Show what was refused
    Events(events::EventsArgs),
    /// Show totals and the last denials
    #[command(after_help = stats::EXAMPLES)]
    Stats(Json),
    /// Read the daemon's configuration again
    #[command(after_help = reload::EXAMPLES)]
    Reload(Json),
    /// Validate a configuration
    Check(check::CheckArgs),
    /// Make and print the certificate authority that sandboxes trust, and put it where they do
    #[command(subcommand)]
    Ca(ca::CaCommand),
    /// Take over policy files that were written for OpenShell or NemoClaw
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
}

/// How a subcommand prints.
#[derive(Clone, Copy, Debug, Args)]
struct Json {
    /// Print JSON for programs instead of a table for people
    #[arg(long)]
    json: bool,
}

/// The whole program: reads the arguments, runs the subcommand, prints what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return output::usage(&usage),
    };
    match cli.run() {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

impl Cli {
    fn run(self) -> anyhow::Result<ExitCode> {
        let run_dir = self.run_dir.as_path();
        match self.command {
            Command::Exec(args) => return exec::run(args, run_dir),
            Command::Policy(command) => return policy::run(command),
            Command::Ca(command) => return ca::run(command, run_dir),
            Command::Run(args) => run::run(args, run_dir),
            Command::Attach(args) => attach::run(args, run_dir),
            Command::Detach(args) => detach::run(args, run_dir),
            Command::Sandboxes(json) => sandboxes::run(json, run_dir),
            Command::Conns(args) => conns::run(args, run_dir),
            Command::Events(args) => events::run(args, run_dir),
            Command::Stats(json) => stats::run(json, run_dir),
            Command::Reload(json) => reload::run(json, run_dir),
            Command::Check(args) => check::run(&args),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usual_lines_are_understood() {
        for line in [
            "interceptor run --config interceptor.yaml",
            "interceptor run --config c.yaml --run-dir /r --bpf-dir /b --data-dir /d --log-format json",
            "interceptor attach --name micky --cgroup /sys/fs/cgroup/micky",
            "interceptor attach --name micky --pid 42 --secret A --secret B --json",
            "interceptor attach --name micky --container 4a7d1ed41447",
            "interceptor attach --name micky --pod team/agent-0",
            "interceptor attach --name micky --pod 0b3f6a52-8f5e-4c1e-9d5a-6f6a1c0a7e11",
            "interceptor attach --name micky --systemd agents.slice",
            "interceptor detach --pod team/agent-0 --json",
            "interceptor --run-dir /r detach micky",
            "interceptor detach 7 --run-dir /r",
            "interceptor sandboxes --json",
            "interceptor conns --all --json",
            "interceptor events",
            "interceptor events --follow --sandbox micky --json",
            "interceptor stats",
            "interceptor reload",
            "interceptor check --config c.yaml",
            "interceptor ca init --data-dir /d",
            "interceptor ca export",
            "interceptor ca bundle",
            "interceptor ca env",
            "interceptor ca env --dir /etc/ssl/interceptor --format kubernetes",
            "interceptor ca install --pid 42 --json",
            "interceptor ca install --cgroup /sys/fs/cgroup/micky --data-dir /d",
            "interceptor ca install --container micky",
            "interceptor ca uninstall --pod agents/micky-0",
            "interceptor policy import discord.yaml",
            "interceptor policy import a.yaml b.yaml --sandbox micky --intercept *.discord.gg --output c.yaml --json",
            "interceptor exec --name micky -- node bot.js --flag",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn unclear_lines_are_refused() {
        for line in [
            "interceptor",
            "interceptor run",
            "interceptor attach --name micky",
            "interceptor attach --cgroup /c",
            "interceptor attach --name micky --cgroup /c --pid 4",
            "interceptor attach --name micky --pid 0",
            "interceptor attach --name micky --pid -4",
            "interceptor attach --name micky --pod agent",
            "interceptor attach --name micky --systemd agent.timer",
            "interceptor attach --name micky --container c1 --pod a/b",
            "interceptor detach",
            "interceptor detach micky --pod a/b",
            "interceptor check",
            "interceptor ca",
            "interceptor run --config c.yaml --log-format xml",
            "interceptor run --config c.yaml --log interceptor=loud",
        ] {
            let Err(error) = parse(line) else {
                panic!("understood: {line}");
            };
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}

//! Where the daemon's log goes.

use std::io::{self, IsTerminal};

use anyhow::Context;
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub(super) struct LogArgs {
    /// What to log, as `info` or `warn,interceptor::flow=debug`
    #[arg(
        long = "log",
        env = "INTERCEPTOR_LOG",
        default_value = "info",
        value_name = "FILTER",
        value_parser = filter
    )]
    filter: String,
    /// How to write it to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

impl LogArgs {
    /// Sends everything that is logged from now on to standard error.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        let log = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_new(&self.filter)?)
            .with_writer(io::stderr);
        match self.log_format {
            LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
            LogFormat::Json => log.json().try_init(),
        }
        .map_err(anyhow::Error::from_boxed)
        .context("cannot start the log")
    }
}

/// Validates a filter; it cannot be cloned, as clap wants its values to be.
fn filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}

//! Where the daemon's log goes.

use std::io::{self, IsTerminal};

use anyhow::Context;
use clap::{Args, ValueEnum};
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// What the `h2` crate tells of itself, with the frames that it writes: a secret in a path is in them.
const NEVER: &str = "h2";

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
        let log = tracing_subscriber::registry()
            .with(EnvFilter::try_new(&self.filter)?)
            .with(filter_fn(|event| may_be_logged(event.target())));
        let lines = fmt::layer().with_writer(io::stderr);
        match self.log_format {
            LogFormat::Text => {
                let lines = lines.with_ansi(io::stderr().is_terminal());
                log.with(lines).try_init()
            }
            LogFormat::Json => log.with(lines.json()).try_init(),
        }
        .context("cannot start the log")
    }
}

/// Whatever the filter says.
fn may_be_logged(target: &str) -> bool {
    target.split("::").next() != Some(NEVER)
}

/// Validates a filter; it cannot be cloned, as clap wants its values to be.
fn filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_with_secrets_in_them_are_never_logged() {
        for target in ["h2", "h2::codec::framed_write", "h2::hpack"] {
            assert!(!may_be_logged(target), "{target}");
        }
        for target in ["interceptor::http::h2", "rustls", "h2o"] {
            assert!(may_be_logged(target), "{target}");
        }
    }
}

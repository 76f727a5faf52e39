//! Runs the test gateway by itself, for trying things by hand. Prints what it sees as JSON lines, never a token.

#![allow(
    clippy::print_stdout,
    reason = "standard output is this program's result"
)]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Parser;
use tests::{
    gateway::{Gateway, Options},
    interrupt,
};

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// File with the token that logs in.
    #[arg(long)]
    token_file: PathBuf,
    /// Where to write the certificate of the gateway's authority.
    #[arg(long)]
    authority: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    interrupt::watch();
    let token = fs::read_to_string(&arguments.token_file)
        .with_context(|| format!("reading {}", arguments.token_file.display()))?;
    let listener = TcpListener::bind(arguments.listen)
        .with_context(|| format!("listening on {}", arguments.listen))?;
    let gateway = Gateway::start_on(Options::new(token.trim_end()), listener)?;
    gateway.authority().write_pem(&arguments.authority)?;
    let mut printed = 0;
    while interrupt::check().is_ok() {
        printed += gateway.record().look(|seen| {
            let new = seen.get(printed..).unwrap_or_default();
            for event in new {
                println!("{}", event.to_json());
            }
            new.len()
        });
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

use std::{
    io::Read as _,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::say;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Addresses, tried one after the other.
    #[arg(required = true)]
    addresses: Vec<SocketAddr>,
    /// Afterwards waits for the end of standard input.
    #[arg(long)]
    hold: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut open = Vec::new();
    for address in &arguments.addresses {
        let begun = Instant::now();
        match TcpStream::connect_timeout(address, Duration::from_secs(15)) {
            Ok(stream) => {
                say(&json!({
                    "event": "connected",
                    "asked": address.to_string(),
                    "peer": stream.peer_addr()?.to_string(),
                    "milliseconds": u64::try_from(begun.elapsed().as_millis())?,
                }));
                open.push(stream);
            }
            Err(error) => say(&json!({
                "event": "refused",
                "asked": address.to_string(),
                "errno": error.raw_os_error(),
                "error": error.to_string(),
            })),
        }
    }
    if arguments.hold {
        std::io::stdin().read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

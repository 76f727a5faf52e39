use std::{
    io::{Read, Write},
    net::SocketAddr,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use crate::{say, tls};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Name for the Host header, for SNI and for the connection, unless the options say otherwise.
    host: String,
    path: String,
    #[arg(long, default_value = "GET")]
    method: String,
    /// Connects here, whatever the name resolves to.
    #[arg(long)]
    address: Option<SocketAddr>,
    #[arg(long)]
    sni: Option<String>,
    /// Port, when no address is given.
    #[arg(long, default_value_t = 443)]
    port: u16,
    /// Without TLS.
    #[arg(long)]
    plain: bool,
    /// Further headers, `Name: value`.
    #[arg(long)]
    header: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match exchange(arguments) {
        Ok(answer) => {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
            let status: Option<u16> = head.split(' ').nth(1).and_then(|code| code.parse().ok());
            say(&json!({"event": "answer", "status": status, "head": head, "body": body}));
        }
        Err(error) => say(&json!({"event": "failed", "error": format!("{error:#}")})),
    }
    Ok(())
}

fn exchange(arguments: &Arguments) -> Result<String> {
    let host = &arguments.host;
    let address = match arguments.address {
        Some(address) => address,
        None => tls::resolve(host, arguments.port)?,
    };
    let tcp = tls::connect(address)?;
    let Arguments { method, path, .. } = arguments;
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
    for header in &arguments.header {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("Connection: close\r\n\r\n");
    if arguments.plain {
        return ask(tcp, &request);
    }
    let sni = arguments.sni.as_ref().unwrap_or(host);
    let stream = tls::handshake(tcp, sni, tls::config()?).context("TLS handshake")?;
    ask(stream, &request)
}

fn ask(mut stream: impl Read + Write, request: &str) -> Result<String> {
    stream.write_all(request.as_bytes()).context("sending")?;
    stream.flush().context("sending")?;
    let mut answer = Vec::new();
    // Ends are often abrupt: what has arrived counts.
    if let Err(error) = stream.read_to_end(&mut answer)
        && answer.is_empty()
    {
        return Err(error).context("no answer");
    }
    anyhow::ensure!(!answer.is_empty(), "closed without an answer");
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

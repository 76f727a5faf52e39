//! Real HTTP servers, written by others, that tell each request as they understood it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    pki::Authority,
    process::Running,
    programs::{client_sources, packages},
};

/// Whose parser it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parser {
    /// llhttp, in Node's own server.
    Node,
    /// aiohttp's, the one in Python: the other that it has is llhttp again.
    Aiohttp,
}

/// One request, as a server understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Understood {
    pub method: String,
    pub target: String,
    /// A byte for each character; `None`: it never came to its end.
    pub body: Option<String>,
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Witness {
    process: Running,
    address: SocketAddr,
}

impl Witness {
    /// Serves `name`, which may have a wildcard, on a free port of 127.0.0.1. The certificate goes into `directory`.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(
        parser: Parser,
        authority: &Authority,
        name: &str,
        directory: &Path,
    ) -> Result<Self> {
        let (certificate, key) = authority.certify(name)?;
        let files = [("witness.pem", certificate), ("witness.key", key)];
        let sources = client_sources().join("witnesses");
        let mut command = match parser {
            Parser::Node => {
                let mut command = Command::new("node");
                command.arg(sources.join("node.mjs"));
                command
            }
            Parser::Aiohttp => {
                let mut command = Command::new("/usr/bin/python3");
                command
                    .arg(sources.join("aiohttp-server.py"))
                    .env("PYTHONPATH", packages("web")?.join("python"))
                    .env("PYTHONDONTWRITEBYTECODE", "1")
                    .env("AIOHTTP_NO_EXTENSIONS", "1");
                command
            }
        };
        for (file, pem) in files {
            let path = directory.join(file);
            std::fs::write(&path, pem)?;
            command.arg(path);
        }
        let process = Running::spawn(command)?;
        let listening = process.wait_for_event("listening")?;
        let port = listening.get("port").and_then(Value::as_u64);
        let port = u16::try_from(port.context("no port")?)?;
        Ok(Self {
            process,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far on connections that asked for `host` in TLS, in order.
    pub fn understood(&self, host: &str) -> Vec<Understood> {
        let mut all: Vec<(u64, Understood)> = Vec::new();
        let output = self.process.stdout();
        for line in output.lines() {
            let Ok(event) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let text = |name: &str| event.get(name).and_then(Value::as_str).map(str::to_owned);
            let Some(number) = event.get("number").and_then(Value::as_u64) else {
                continue;
            };
            if let Some(body) = text("body") {
                let begun = all.iter_mut().find(|(other, _)| *other == number);
                if let Some((_, understood)) = begun {
                    understood.body = Some(body);
                }
            } else if text("host").as_deref() == Some(host) {
                let understood = Understood {
                    method: text("method").unwrap_or_default(),
                    target: text("target").unwrap_or_default(),
                    body: None,
                };
                all.push((number, understood));
            }
        }
        all.into_iter().map(|(_, understood)| understood).collect()
    }
}

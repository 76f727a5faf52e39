//! The client of the benchmark, a process of its own: orders on standard input, answers on standard output.

mod connection;
mod echo;
mod events;
mod work;

use std::{
    collections::HashMap,
    io::{self, BufRead as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    str::FromStr,
    thread,
};

use anyhow::{Context as _, Error, Result};
use clap::Args;
use tokio::{runtime::Builder, sync::mpsc};

use self::{
    connection::{Connection, Network},
    work::work,
};
use super::order::{Answer, Order};
use crate::load::open_many_files;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Certificates to trust, as PEM
    #[arg(long)]
    trust: Vec<PathBuf>,
    /// Where a host is, instead of what its name resolves to: HOST=ADDRESS
    #[arg(long)]
    at: Vec<At>,
}

#[derive(Clone, Debug)]
struct At {
    host: String,
    address: SocketAddr,
}

impl FromStr for At {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (host, address) = text.split_once('=').context("no `=`")?;
        Ok(Self {
            host: host.into(),
            address: address.parse()?,
        })
    }
}

/// Does what it is told until standard input ends.
///
/// # Errors
/// Standard input or output breaks, or holds something else than orders.
pub fn run(arguments: &Arguments) -> Result<()> {
    open_many_files()?;
    let known: HashMap<String, SocketAddr> = arguments
        .at
        .iter()
        .map(|At { host, address }| (host.clone(), *address))
        .collect();
    let mut network = Network::new(&arguments.trust, known)?;
    let (sender, mut orders) = mpsc::unbounded_channel();
    // Connections that are held go on while the next order is waited for.
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut held: Vec<Connection> = Vec::new();
        while let Some(line) = orders.recv().await {
            let order: Order = serde_json::from_str(&line)?;
            let outcome = work(&mut network, &order, &mut held).await;
            let answer = outcome.unwrap_or_else(|error| Answer {
                error: Some(format!("{error:#}")),
                ..Answer::default()
            });
            let number = order.number;
            let line = serde_json::to_string(&Answer { number, ..answer })?;
            let mut out = io::stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        bench::{
            content,
            order::{Framing, Place, Version, Work},
            server::Server,
            stand::SOCKET,
        },
        scenario::TOKEN,
        unique_name,
    };

    /// Has `work` done directly.
    fn ordered(version: Version, credential: &str, work: Work) -> Result<Answer> {
        let server = Server::start(TOKEN)?;
        let pem = std::env::temp_dir().join(unique_name());
        server.authority().write_pem(&pem)?;
        let known = HashMap::from([(SOCKET.to_owned(), server.address())]);
        let network = Network::new(std::slice::from_ref(&pem), known);
        std::fs::remove_file(&pem)?;
        let order = Order {
            number: 1,
            host: SOCKET.into(),
            version,
            credential: credential.into(),
            bearer: true,
            work,
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(super::work(&mut network?, &order, &mut Vec::new()))
    }

    #[test]
    fn everything_that_is_ordered_is_done_over_both_versions() {
        let bytes = 1 << 20;
        let expected = |place: Place| {
            let body = content::json(bytes, Some((place, TOKEN))).unwrap();
            body.length()
        };
        let plain = content::json(bytes, None).unwrap().length();
        for version in [Version::Http1, Version::Http2] {
            let (count, pause) = (3, 5);
            for gzip in [false, true] {
                let work = Work::Events { count, pause, gzip };
                let answer = ordered(version, TOKEN, work).unwrap();
                assert_eq!(answer.samples.len(), 3, "{version} {work:?}");
                let latest = Duration::from_nanos(answer.samples.iter().copied().max().unwrap());
                assert!(latest < Duration::from_secs(1), "{version}: {latest:?}");
            }
            for (work, samples, bytes) in [
                (Work::Small { requests: 3 }, 3, 0),
                (Work::Connect { connections: 2 }, 2, 0),
                (Work::Hold { connections: 2 }, 0, 0),
                (Work::Upload { bytes, token: None }, 1, plain),
                (
                    Work::Upload {
                        bytes,
                        token: Some(Place::First),
                    },
                    1,
                    expected(Place::First),
                ),
                (
                    Work::Upload {
                        bytes,
                        token: Some(Place::Last),
                    },
                    1,
                    expected(Place::Last),
                ),
                (
                    Work::Download {
                        bytes,
                        framing: Framing::Sized,
                    },
                    1,
                    plain,
                ),
                (
                    Work::Download {
                        bytes,
                        framing: Framing::Chunked,
                    },
                    1,
                    plain,
                ),
                (
                    Work::Download {
                        bytes,
                        framing: Framing::Gzip,
                    },
                    1,
                    bytes,
                ),
            ] {
                let answer = ordered(version, TOKEN, work).unwrap();
                assert_eq!(answer.samples.len(), samples, "{version} {work:?}");
                assert_eq!(answer.bytes, bytes, "{version} {work:?}");
            }
        }
        let echo = Work::Echo { messages: 3 };
        let answer = ordered(Version::Http1, TOKEN, echo).unwrap();
        assert_eq!(answer.samples.len(), 3);
    }

    #[test]
    fn a_credential_that_is_not_the_token_is_an_error() {
        for work in [Work::Small { requests: 1 }, Work::Echo { messages: 1 }] {
            ordered(Version::Http1, "another", work).unwrap_err();
        }
    }
}

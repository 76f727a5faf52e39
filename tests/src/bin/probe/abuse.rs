//! What a hostile program does to a daemon, and what a well-behaved one notices of it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use rustls::ClientConfig;
use serde_json::json;
use tests::load::open_many_files;

use crate::{say, tls};

#[derive(Debug, Args)]
pub(crate) struct Flood {
    kind: Kind,
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    #[arg(long, default_value_t = 4)]
    threads: u64,
    /// A host that the policy allows.
    #[arg(long, default_value = "discord.com")]
    host: String,
    #[arg(long, default_value = "192.0.2.1:443")]
    address: SocketAddr,
    /// Connections of a thread that are held; the oldest is closed for another one.
    #[arg(long, default_value_t = 1500)]
    held: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Connects and closes.
    Connects,
    /// Connects and holds.
    Hoard,
    /// Sends what is no protocol.
    Garbage,
    /// Sends most of a ClientHello of 64 KiB and holds.
    Huge,
    /// Sends the beginning of a ClientHello and holds.
    Trickle,
    /// Asks for names that nobody has heard of.
    Names,
    /// Shakes hands with an allowed host, and closes.
    Handshakes,
}

pub(crate) fn flood(flood: &Flood) -> Result<()> {
    open_many_files()?;
    let (begun, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let config = tls::config()?;
    let until = Instant::now() + Duration::from_secs(flood.seconds);
    say(&json!({"event": "flooding"}));
    thread::scope(|scope| {
        for thread in 0..flood.threads {
            let (begun, failed, config) = (&begun, &failed, &config);
            scope.spawn(move || {
                let mut held = std::collections::VecDeque::new();
                let mut number = thread << 32;
                while Instant::now() < until {
                    number += 1;
                    begun.fetch_add(1, Relaxed);
                    match flood.once(number, config) {
                        Ok(Some(stream)) => held.push_back(stream),
                        Ok(None) => {}
                        Err(_) => {
                            failed.fetch_add(1, Relaxed);
                        }
                    }
                    if held.len() > flood.held {
                        held.pop_front();
                    }
                }
            });
        }
    });
    say(&json!({
        "event": "flooded",
        "begun": begun.load(Relaxed),
        "failed": failed.load(Relaxed),
    }));
    Ok(())
}

impl Flood {
    /// One connection; what is to be held of it.
    fn once(&self, number: u64, config: &Arc<ClientConfig>) -> Result<Option<TcpStream>> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        match self.kind {
            Kind::Connects => return Ok(None),
            Kind::Hoard => {}
            Kind::Garbage => {
                let bytes = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
                stream.write_all(&bytes.repeat(64))?;
                return Ok(None);
            }
            // A handshake record, and a ClientHello in it whose length is never reached.
            Kind::Trickle => stream.write_all(&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3])?,
            Kind::Huge => {
                stream.write_all(&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf0, 3, 3])?;
                stream.write_all(&vec![0; 0x4000 - 6])?;
                for _ in 0..2 {
                    stream.write_all(&[22, 3, 1, 0x40, 0])?;
                    stream.write_all(&vec![0; 0x4000])?;
                }
            }
            Kind::Names => {
                let name = format!("n{number}.example.com");
                drop(tls::handshake(stream, &name, Arc::clone(config)));
                return Ok(None);
            }
            Kind::Handshakes => {
                drop(tls::handshake(stream, &self.host, Arc::clone(config))?);
                return Ok(None);
            }
        }
        Ok(Some(stream))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Pace {
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    #[arg(long, default_value = "discord.com")]
    host: String,
    #[arg(long, default_value = "/api/v10/users/@me")]
    path: String,
}

/// Asks again and again, each time on a new connection, and tells how long that took.
pub(crate) fn pace(pace: &Pace) -> Result<()> {
    let config = tls::config()?;
    let address = tls::resolve(&pace.host, 443)?;
    let until = Instant::now() + Duration::from_secs(pace.seconds);
    let (mut took, mut failed) = (Vec::new(), 0);
    while Instant::now() < until {
        let begun = Instant::now();
        let asked = tls::connect(address)
            .and_then(|tcp| tls::handshake(tcp, &pace.host, config.clone()))
            .and_then(|mut stream| {
                let Pace { host, path, .. } = pace;
                write!(
                    stream,
                    "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                )?;
                stream.flush()?;
                let mut status = [0; 12];
                stream.read_exact(&mut status).context("no answer")
            });
        match asked {
            Ok(()) => took.push(begun.elapsed().as_secs_f64() * 1e3),
            Err(_) => failed += 1,
        }
        thread::sleep(Duration::from_millis(10));
    }
    took.sort_by(f64::total_cmp);
    let at = |part: usize| took.get(took.len() * part / 100).or(took.last());
    say(&json!({
        "event": "paced",
        "requests": took.len(),
        "failed": failed,
        "median": at(50),
        "p99": at(99),
        "greatest": took.last(),
    }));
    Ok(())
}

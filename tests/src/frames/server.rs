//! The server's end of a connection, by hand.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};
use rustls::ServerConfig;

use super::{
    ACK, END_HEADERS, Frame, HEADERS, PING, PREFACE, SETTINGS, frame, hpack,
    recorder::tls,
    servers, settings,
    wire::{PATIENCE, Wire},
};
use crate::pki::Authority;

/// `:status: 200`, of the static table.
pub const OK: &[u8] = &[0x88];

/// One connection.
#[derive(Debug)]
pub struct Server {
    pub wire: Wire,
    /// Of the first request.
    pub stream: u32,
}

impl Server {
    /// # Errors
    /// The connection fails otherwise than by the peer's end.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.wire.send(bytes)
    }

    /// # Errors
    /// As [`Self::send`].
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        self.send(&frame(kind, flags, stream, payload))
    }

    /// A head on the first request's stream.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn head(&mut self, flags: u8, fields: &[(&str, &str)]) -> Result<()> {
        let stream = self.stream;
        self.frame(HEADERS, END_HEADERS | flags, stream, &hpack::block(fields))
    }

    /// Sends the same bytes so many times, as long as the peer takes them. In between it reads.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn flood(&mut self, bytes: &[u8], times: usize) -> Result<()> {
        let at_once = (16_000 / bytes.len().max(1)).clamp(1, times);
        let batch = bytes.repeat(at_once);
        for _ in 0..times / at_once {
            if self.wire.has_ended() {
                break;
            }
            self.send(&batch)?;
            while self.next(Instant::now())?.is_some() {}
        }
        Ok(())
    }

    /// The preface of the client, and SETTINGS both ways.
    ///
    /// # Errors
    /// The client begins otherwise.
    pub fn greet(&mut self, values: &[(u16, u32)]) -> Result<()> {
        self.send(&settings(values))?;
        let preface = self.wire.take(PREFACE.len())?;
        anyhow::ensure!(preface == PREFACE, "the client does not speak HTTP/2");
        Ok(())
    }

    /// Waits for a request.
    ///
    /// # Errors
    /// None comes.
    pub fn request(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let frame = self.next(deadline)?.context("no request came")?;
            if frame.kind == HEADERS {
                self.stream = frame.stream;
                return Ok(());
            }
        }
    }

    /// Reads until the client has ended the connection, or patience ends.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn linger(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE * 2;
        while self.next(deadline)?.is_some() {}
        Ok(())
    }

    /// The next frame; SETTINGS and PING are answered.
    fn next(&mut self, deadline: Instant) -> Result<Option<Frame>> {
        let next = self.wire.next(deadline)?;
        if let Some(came) = &next
            && matches!(came.kind, SETTINGS | PING)
            && !came.has(ACK)
        {
            let payload: &[u8] = if came.kind == PING {
                &came.payload
            } else {
                &[]
            };
            self.send(&frame(came.kind, ACK, 0, payload))?;
        }
        Ok(next)
    }
}

/// A server that plays the script which its name chooses. Its thread ends with the process.
pub struct Hostile {
    authority: Arc<Authority>,
    address: SocketAddr,
}

impl fmt::Debug for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hostile")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Hostile {
    /// Listens on a free port of 127.0.0.1, with certificates by this authority.
    ///
    /// # Errors
    /// No port to be had.
    pub fn start(authority: &Arc<Authority>) -> Result<Self> {
        let config = tls(authority)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            while let Ok((tcp, _)) = listener.accept() {
                let config = Arc::clone(&config);
                // How it ends for the client is what counts.
                thread::spawn(move || drop(play(tcp, &config)));
            }
        });
        Ok(Self {
            authority: Arc::clone(authority),
            address,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }
}

fn play(tcp: TcpStream, config: &Arc<ServerConfig>) -> Result<()> {
    let wire = Wire::server(tcp, config)?;
    let name = wire.name().context("no name was asked for")?.to_owned();
    let all = servers::all();
    let script = all.iter().find(|script| script.host() == name);
    let script = script.context("nobody has this name")?;
    let mut server = Server { wire, stream: 1 };
    script.play(&mut server)
}

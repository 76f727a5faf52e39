//! A TLS connection that reads while it writes, so that a flood never ends in two peers who wait for each other.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::Frame;

/// What ALPN calls HTTP/2 over TLS.
pub const ALPN: &[u8] = b"h2";

/// Longest time for anything, after which it counts as a hang.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that go into one TLS write at most, so that what comes is looked at between two of them.
const PIECE: usize = 16 * 1024;

#[derive(Debug)]
pub struct Wire {
    tls: Connection,
    tcp: TcpStream,
    inbox: Vec<u8>,
    /// The peer has ended the connection, in order or not.
    ended: bool,
    /// Nothing is read from now on.
    pub deaf: bool,
}

impl Wire {
    /// The client's end, with the handshake done.
    ///
    /// # Errors
    /// The handshake fails, or the server chooses another protocol.
    pub fn client(tcp: TcpStream, name: &str, config: &ClientConfig) -> Result<Self> {
        let mut config = config.clone();
        config.alpn_protocols = vec![ALPN.to_vec()];
        let tls = ClientConnection::new(Arc::new(config), name.to_owned().try_into()?)?;
        Self::shake(tls.into(), tcp)
    }

    /// The server's end, with the handshake done.
    ///
    /// # Errors
    /// The handshake fails, or the client does not offer HTTP/2.
    pub fn server(tcp: TcpStream, config: &Arc<ServerConfig>) -> Result<Self> {
        Self::shake(ServerConnection::new(Arc::clone(config))?.into(), tcp)
    }

    fn shake(mut tls: Connection, mut tcp: TcpStream) -> Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE * 2))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        anyhow::ensure!(tls.alpn_protocol() == Some(ALPN), "HTTP/2 was not chosen");
        tcp.set_nonblocking(true)?;
        let mut wire = Self {
            tls,
            tcp,
            inbox: Vec::new(),
            ended: false,
            deaf: false,
        };
        // What came with the handshake.
        wire.open()?;
        Ok(wire)
    }

    /// The name that a client asked for.
    pub fn name(&self) -> Option<&str> {
        match &self.tls {
            Connection::Server(tls) => tls.server_name(),
            Connection::Client(_) => None,
        }
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Sends as long as the peer takes it; that it does not is seen by what it said.
    ///
    /// # Errors
    /// TLS or the socket fails otherwise than by the peer's end.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for piece in bytes.chunks(PIECE) {
            if self.ended {
                break;
            }
            self.tls.writer().write_all(piece)?;
            while self.tls.wants_write() && !self.ended && Instant::now() < deadline {
                self.turn(deadline)?;
            }
        }
        Ok(())
    }

    /// The next frame, if one comes before `deadline`.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn next(&mut self, deadline: Instant) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = Frame::take(&mut self.inbox) {
                return Ok(Some(frame));
            }
            if self.ended || Instant::now() >= deadline {
                return Ok(None);
            }
            self.turn(deadline)?;
        }
    }

    /// Takes so many bytes, whatever they are.
    ///
    /// # Errors
    /// They do not come in time.
    pub fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        while self.inbox.len() < count {
            anyhow::ensure!(
                !self.ended && Instant::now() < deadline,
                "{count} bytes were to come"
            );
            self.turn(deadline)?;
        }
        Ok(self.inbox.drain(..count).collect())
    }

    /// Ends this end's direction in order.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn close(&mut self) -> Result<()> {
        self.tls.send_close_notify();
        let deadline = Instant::now() + PATIENCE;
        while self.tls.wants_write() && !self.ended && Instant::now() < deadline {
            self.turn(deadline)?;
        }
        Ok(())
    }

    /// Waits until something can be read or written, and does it.
    fn turn(&mut self, deadline: Instant) -> Result<()> {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, !self.deaf);
        wanted.set(PollFlags::OUT, self.tls.wants_write());
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))?;
        let mut fds = [PollFd::new(&self.tcp, wanted)];
        match poll(&mut fds, Some(&left)) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            ready => ready?,
        };
        let [ready] = fds.map(|fd| fd.revents());
        if ready.intersects(PollFlags::ERR | PollFlags::HUP) && self.deaf {
            self.ended = true;
        }
        if ready.contains(PollFlags::OUT) {
            let written = self.tls.write_tls(&mut self.tcp);
            self.note(written)?;
        }
        if !self.deaf && ready.intersects(PollFlags::IN | PollFlags::ERR | PollFlags::HUP) {
            let read = self.tls.read_tls(&mut self.tcp);
            if self.note(read)? == Some(0) {
                self.ended = true;
            }
            self.open()?;
        }
        Ok(())
    }

    /// Moves what TLS has decrypted into the inbox.
    fn open(&mut self) -> Result<()> {
        // An alert is an end like any other.
        if self.tls.process_new_packets().is_err() {
            self.ended = true;
        }
        let mut piece = [0; PIECE];
        loop {
            let read = self.tls.reader().read(&mut piece);
            match self.note(read)? {
                Some(0) => self.ended = true,
                Some(count) => {
                    self.inbox.extend(piece.get(..count).unwrap_or_default());
                    continue;
                }
                None => {}
            }
            return Ok(());
        }
    }

    /// `None`: nothing is to be had now, or ever.
    fn note(&mut self, moved: io::Result<usize>) -> Result<Option<usize>> {
        match moved {
            Ok(count) => Ok(Some(count)),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(None),
                ErrorKind::UnexpectedEof
                | ErrorKind::BrokenPipe
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted => {
                    self.ended = true;
                    Ok(None)
                }
                _ => Err(error.into()),
            },
        }
    }
}

//! The client's end of a connection: what it sends by hand, and what it notes of what comes.

use std::{
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustls::ClientConfig;

use super::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADER_TABLE_SIZE, HEADERS, PADDED, PING,
    PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, hpack, number, settings,
    verdict::{Right, Seen},
    wire::{PATIENCE, Wire},
};
use crate::clients::PLACEHOLDER;

/// Behind everything that a case sends.
const LAST_PING: &[u8] = b"the last";

/// Time for what is wrong to come behind what looks right.
const AFTERMATH: Duration = Duration::from_millis(100);

/// Where to, and under which name.
#[derive(Clone, Debug)]
pub struct Target<'t> {
    pub address: SocketAddr,
    pub host: String,
    pub config: &'t ClientConfig,
}

#[derive(Debug)]
pub struct Client {
    pub wire: Wire,
    pub seen: Seen,
    host: String,
    path: String,
    /// Streams on which a request was begun.
    opened: Vec<u32>,
    /// No PING ends the script.
    pub quiet: bool,
    /// Neither window is opened again.
    pub stingy: bool,
}

impl Client {
    /// Connects, and is silent. Its requests are for `path`.
    ///
    /// # Errors
    /// There is no HTTP/2 to be had.
    pub fn connect(target: &Target<'_>, path: &str) -> Result<Self> {
        let tcp = TcpStream::connect_timeout(&target.address, PATIENCE)
            .with_context(|| format!("connecting to {}", target.address))?;
        Ok(Self {
            wire: Wire::client(tcp, &target.host, target.config).context("TLS handshake")?,
            seen: Seen::default(),
            host: target.host.clone(),
            path: path.to_owned(),
            opened: Vec::new(),
            quiet: false,
            stingy: false,
        })
    }

    /// Preface and SETTINGS, both ways.
    ///
    /// # Errors
    /// The peer says something else.
    pub fn greet(&mut self) -> Result<()> {
        let hello = [PREFACE, &settings(&[(HEADER_TABLE_SIZE, 0)])].concat();
        self.send(&hello)?;
        self.read_until(|seen| seen.acks > 0)
    }

    /// # Errors
    /// The connection fails otherwise than by the peer's end.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.wire.send(bytes)
    }

    /// # Errors
    /// As [`Self::send`].
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        if kind == HEADERS && stream % 2 == 1 && !self.opened.contains(&stream) {
            self.opened.push(stream);
        }
        self.send(&frame(kind, flags, stream, payload))
    }

    /// Whom the connection is for.
    pub fn host(&self) -> String {
        self.host.clone()
    }

    /// The fields of a request that is in order.
    pub fn fields(&self, method: &str) -> Vec<(String, String)> {
        let authorization = format!("Bearer {PLACEHOLDER}");
        [
            (":method", method),
            (":scheme", "https"),
            (":authority", &self.host),
            (":path", &self.path),
            ("authorization", &authorization),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The header block of a request that is in order.
    pub fn block(&self, method: &str) -> Vec<u8> {
        hpack::block(&self.fields(method))
    }

    /// A whole request.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn get(&mut self, stream: u32) -> Result<()> {
        self.get_with(stream, &[])
    }

    /// A whole request with more fields.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn get_with(&mut self, stream: u32, more: &[(&str, &str)]) -> Result<()> {
        let block = [self.block("GET"), hpack::block(more)].concat();
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
    }

    /// The head of a request whose body follows.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn post(&mut self, stream: u32) -> Result<()> {
        self.post_with(stream, &[])
    }

    /// The head of a request with more fields whose body follows.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn post_with(&mut self, stream: u32, more: &[(&str, &str)]) -> Result<()> {
        let block = [self.block("POST"), hpack::block(more)].concat();
        self.frame(HEADERS, END_HEADERS, stream, &block)
    }

    /// A whole request on stream 1 in which one field is replaced, or left out.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn instead(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let mut fields = self.fields("GET");
        match value {
            Some(value) => fields
                .iter_mut()
                .filter(|(field, _)| field == name)
                .for_each(|(_, old)| value.clone_into(old)),
            None => fields.retain(|(field, _)| field != name),
        }
        self.frame(HEADERS, END_HEADERS | END_STREAM, 1, &hpack::block(&fields))
    }

    /// The end of a body that holds nothing else.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn end(&mut self, stream: u32) -> Result<()> {
        self.frame(DATA, END_STREAM, stream, &[])
    }

    /// Sends the same bytes so many times, as long as the peer takes them. In between it reads.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn flood(&mut self, bytes: &[u8], times: usize) -> Result<()> {
        // About as many as fit into one TLS record.
        let at_once = (16_000 / bytes.len().max(1)).clamp(1, times);
        let batch = bytes.repeat(at_once);
        for _ in 0..times / at_once {
            if self.wire.has_ended() || self.seen.goaway.is_some() {
                break;
            }
            self.send(&batch)?;
            self.take_what_came()?;
        }
        Ok(())
    }

    /// Notes what has come by now.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn take_what_came(&mut self) -> Result<()> {
        self.read(Instant::now(), |_| false)
    }

    /// Reads until something is seen, or the connection ends, or patience does.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn read_until(&mut self, enough: impl Fn(&Seen) -> bool) -> Result<()> {
        self.read(Instant::now() + PATIENCE, enough)
    }

    /// Reads until a stream is settled.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn settle(&mut self, stream: u32) -> Result<()> {
        self.read_until(|seen| seen.is_settled(stream))
    }

    fn read(&mut self, deadline: Instant, enough: impl Fn(&Seen) -> bool) -> Result<()> {
        while !enough(&self.seen) {
            let Some(frame) = self.wire.next(deadline)? else {
                break;
            };
            self.note(&frame)?;
        }
        self.seen.closed = self.wire.has_ended();
        Ok(())
    }

    /// Says that something is not as it should be.
    pub fn expect(&mut self, holds: bool, what: &str) {
        if !holds {
            self.seen.complaints.push(what.to_owned());
        }
    }

    /// Reads what comes behind a script, until it is clear whether that is right.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn conclude(&mut self, right: Right) -> Result<()> {
        if !self.quiet {
            self.frame(PING, 0, 0, LAST_PING)?;
        }
        let deadline = Instant::now() + PATIENCE;
        let judged = |seen: &Seen| right.judge(seen).is_ok();
        // A peer that answers to what stands behind what is wrong has taken that.
        self.read(deadline, |seen| {
            judged(seen) || (right.ends_connection() && seen.alive)
        })?;
        let opened = self.opened.clone();
        let all_settled = |seen: &Seen| opened.iter().all(|stream| seen.is_settled(*stream));
        if matches!(right, Right::Served | Right::Answer(_)) {
            self.read(deadline, |seen| all_settled(seen))?;
        }
        if !self.seen.closed {
            self.read(Instant::now() + AFTERMATH, |_| false)?;
        }
        Ok(())
    }

    fn note(&mut self, frame: &Frame) -> Result<()> {
        let stream = frame.stream;
        match frame.kind {
            SETTINGS if frame.has(ACK) => self.seen.acks += 1,
            SETTINGS => {
                let values = frame.payload.as_chunks::<6>().0.iter();
                let values = values.map(|[a, b, c, d, e, f]| {
                    (
                        u16::from_be_bytes([*a, *b]),
                        u32::from_be_bytes([*c, *d, *e, *f]),
                    )
                });
                self.seen.settings.extend(values);
                self.send(&super::frame(SETTINGS, ACK, 0, &[]))?;
            }
            PING if frame.has(ACK) => {
                self.seen.alive |= frame.payload == LAST_PING;
                self.seen.pongs.push(frame.payload.clone());
            }
            PING => self.send(&super::frame(PING, ACK, 0, &frame.payload))?,
            RST_STREAM => {
                let code = frame.number(0).context("a reset without a code")?;
                self.seen.resets.push((stream, code));
            }
            GOAWAY => self.seen.goaway = frame.number(4),
            HEADERS => {
                anyhow::ensure!(!frame.has(PADDED), "a padded head is not read");
                let known = self.seen.statuses.iter().any(|(known, _)| *known == stream);
                match hpack::status(&frame.payload) {
                    Some(100..=199) => self.seen.interim += 1,
                    Some(status) if !known => self.seen.statuses.push((stream, status)),
                    _ => {}
                }
            }
            DATA => {
                self.seen.data += frame.payload.len();
                if let Ok(length @ 1..) = u32::try_from(frame.payload.len())
                    && !self.stingy
                {
                    let windows = [0, stream].map(|of| number(WINDOW_UPDATE, of, length));
                    self.send(&windows.concat())?;
                }
            }
            _ => {}
        }
        if matches!(frame.kind, HEADERS | DATA) && frame.has(END_STREAM) {
            self.seen.finished.push(stream);
        }
        Ok(())
    }
}

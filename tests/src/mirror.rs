//! A server that remembers every byte, and sends it all back: what a hostile sandbox would publish through.

use std::{
    fmt,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use zlib_rs::{Deflate, DeflateFlush, crc32::crc32};

use crate::{
    bulk::GZIP,
    gateway::{
        frame::{CLOSE, PING, PONG, TEXT, encode},
        record::Bytes,
    },
    pki::{Authority, Resolver},
};

/// How long a connection may be silent after its Close.
const LINGER: Duration = Duration::from_millis(300);

/// A request header by whose value a test finds its connection.
pub const NAME: &str = "X-Vector";

/// A request header that asks for silence.
pub const QUIET: &str = "X-Quiet";

/// A request header that asks for an answer which is coded: `gzip`, `base64`, or `message` for the head as the first message
/// of a WebSocket.
pub const CODED: &str = "X-Coded";

/// Headers that an answer repeats from its request.
const REPEATED: [&str; 7] = [
    "sec-websocket-protocol",
    "origin",
    "idempotency-key",
    "last-event-id",
    "content-disposition",
    "access-control-request-headers",
    "x-comment",
];

/// One connection's first request, and all that followed it.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub head: Option<Bytes>,
    /// First byte and unmasked payload of each frame; of plain HTTP the rest of the stream, with 0.
    pub frames: Vec<(u8, Bytes)>,
}

/// A running server. Its thread ends with the process.
pub struct Mirror {
    heard: Arc<Mutex<Vec<Heard>>>,
    authority: Arc<Authority>,
    address: SocketAddr,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Mirror {
    /// Listens on a free port of 127.0.0.1, with a certificate for every name.
    ///
    /// # Errors
    /// No port or no randomness to be had.
    pub fn start() -> Result<Self> {
        Self::start_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
    }

    /// As [`Self::start`], on a listener, which may belong to another network namespace.
    ///
    /// # Errors
    /// No randomness to be had.
    pub fn start_on(listener: TcpListener) -> Result<Self> {
        let authority = Arc::new(Authority::new("test authority of the mirror")?);
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Resolver::new(Arc::clone(&authority))));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mirror = Self {
            heard: Arc::default(),
            authority,
            address: listener.local_addr()?,
            config: Arc::new(config),
        };
        mirror.listen(listener);
        Ok(mirror)
    }

    /// Serves on a further listener.
    pub fn listen(&self, listener: TcpListener) {
        let config = Arc::clone(&self.config);
        self.accept(listener, move |tcp, note| {
            let socket = tcp.try_clone()?;
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config))?, tcp);
            serve(&mut stream, &socket, note)?;
            stream.conn.send_close_notify();
            Ok(stream.flush()?)
        });
    }

    /// Serves on a further listener, without TLS.
    pub fn listen_plain(&self, listener: TcpListener) {
        self.accept(listener, |mut tcp, note| {
            let socket = tcp.try_clone()?;
            serve(&mut tcp, &socket, note)
        });
    }

    fn accept(
        &self,
        listener: TcpListener,
        serve: impl Fn(TcpStream, Note<'_>) -> Result<()> + Send + Sync + 'static,
    ) {
        let all = Arc::clone(&self.heard);
        let serve = Arc::new(serve);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (serve, heard) = (Arc::clone(&serve), Arc::clone(&all));
                thread::spawn(move || {
                    let number = {
                        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                        heard.push(Heard::default());
                        heard.len() - 1
                    };
                    let note = |note: &dyn Fn(&mut Heard)| {
                        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                        note(&mut heard[number]);
                    };
                    // What was heard until then is what counts.
                    drop(serve(stream, &note));
                });
            }
        });
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Everything so far, in the order of the connections.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Heard {
    /// The value of [`NAME`].
    pub fn name(&self) -> Option<String> {
        let head = String::from_utf8_lossy(&self.head.as_ref()?.0).into_owned();
        header(&head, NAME).map(str::to_owned)
    }

    pub fn head(&self) -> Vec<u8> {
        self.head.iter().flat_map(|head| head.0.clone()).collect()
    }

    /// All bytes, with frames unmasked.
    pub fn bytes(&self) -> Vec<u8> {
        let head = self.head().into_iter();
        let frames = self
            .frames
            .iter()
            .flat_map(|(_, payload)| payload.0.iter().copied());
        head.chain(frames).collect()
    }
}

type Note<'n> = &'n dyn Fn(&dyn Fn(&mut Heard));

/// `socket` is what the stream goes over.
fn serve(stream: &mut (impl Read + Write), socket: &TcpStream, note: Note<'_>) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    note(&|heard| heard.head = Some(Bytes(head.clone())));
    let text = String::from_utf8_lossy(&head).into_owned();
    let repeated = REPEATED.iter().filter_map(|name| {
        let value = header(&text, name)?;
        Some(format!("{name}: {value}\r\n"))
    });
    let repeated: String = repeated.collect();
    let quiet = header(&text, QUIET).is_some();
    match header(&text, "sec-websocket-key") {
        Some(key) => {
            let accept = derive_accept_key(key.as_bytes());
            let offered = header(&text, "sec-websocket-extensions");
            let deflate = offered.map_or("", |_| DEFLATE);
            write!(
                stream,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{deflate}{repeated}\r\n"
            )?;
            if header(&text, CODED) == Some("message") {
                stream.write_all(&encode(true, TEXT, None, &head))?;
            }
            stream.flush()?;
            frames(stream, socket, quiet, note)?;
        }
        None => {
            let length = header(&text, "content-length").map_or(Ok(0), str::parse)?;
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            note(&|heard| heard.frames.push((0, Bytes(body.clone()))));
            let answer = if quiet {
                Vec::new()
            } else {
                [&head[..], &body].concat()
            };
            let (coding, answer) = match header(&text, CODED) {
                Some("gzip") => ("Content-Encoding: gzip\r\n", gzip(&answer)?),
                Some("base64") => ("", STANDARD.encode(&answer).into_bytes()),
                _ => ("", answer),
            };
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nConnection: close\r\n{coding}{repeated}Content-Length: {}\r\n\r\n",
                answer.len()
            )?;
            stream.write_all(&answer)?;
        }
    }
    Ok(stream.flush()?)
}

/// Sends every frame back, to the end of the stream or until the other side, having closed, is silent.
fn frames(
    stream: &mut (impl Read + Write),
    socket: &TcpStream,
    quiet: bool,
    note: Note<'_>,
) -> Result<()> {
    loop {
        let mut header = [0; 2];
        match stream.read_exact(&mut header) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(());
            }
            other => other?,
        }
        let [first, second] = header;
        ensure!(second & 0x80 != 0, "a client's frame is not masked");
        let length = match second & 0x7f {
            126 => usize::from(u16::from_be_bytes(read(stream)?)),
            127 => usize::try_from(u64::from_be_bytes(read(stream)?))?,
            short => usize::from(short),
        };
        let mask: [u8; 4] = read(stream)?;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).context("a payload")?;
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        note(&|heard| heard.frames.push((first, Bytes(payload.clone()))));
        let (bits, opcode) = (first & 0x7f, first & 0x0f);
        let bits = if opcode == PING { PONG } else { bits };
        if !quiet || opcode == CLOSE {
            stream.write_all(&encode(first & 0x80 != 0, bits, None, &payload))?;
            stream.flush()?;
        }
        if opcode == CLOSE {
            socket.set_read_timeout(Some(LINGER))?;
        }
    }
}

/// A gzip file (RFC 1952 §2.3).
fn gzip(text: &[u8]) -> Result<Vec<u8>> {
    let mut deflate = Deflate::new(6, false, 15);
    let mut out = vec![0; text.len() + 64];
    deflate
        .compress(text, &mut out, DeflateFlush::Finish)
        .map_err(|error| anyhow!("compressing an answer: {error:?}"))?;
    out.truncate(usize::try_from(deflate.total_out())?);
    let length = u32::try_from(text.len())?;
    let end = [crc32(0, text).to_le_bytes(), length.to_le_bytes()];
    Ok([&GZIP[..], &out, &end.concat()].concat())
}

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; \
                       server_no_context_takeover\r\n";

fn read<const N: usize>(stream: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim())
}

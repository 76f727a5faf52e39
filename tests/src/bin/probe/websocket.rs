//! A WebSocket client that leaves every byte to its caller.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use rustls::ClientConfig;
use serde_json::Value;
use tests::gateway::frame::{CLOSE, TEXT, encode};

use crate::tls;

pub(crate) const HOST: &str = "gateway.discord.gg";
/// Any will do: what counts is that it arrives unchanged.
pub(crate) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) struct Client {
    pub(crate) stream: tls::Stream,
}

/// What the server sent.
pub(crate) enum Received {
    Json(Value),
    Other { opcode: u8, payload: Vec<u8> },
    Close { code: Option<u16>, reason: String },
}

impl Client {
    /// Connects, upgrades, and reads the gateway's HELLO.
    pub(crate) fn open(config: &Arc<ClientConfig>) -> Result<Self> {
        Self::open_at(HOST, config)
    }

    /// As [`Self::open`], under another name.
    pub(crate) fn open_at(host: &str, config: &Arc<ClientConfig>) -> Result<Self> {
        Self::open_offering(host, config, None)
    }

    /// The same with an offer of extensions.
    pub(crate) fn open_offering(
        host: &str,
        config: &Arc<ClientConfig>,
        extensions: Option<&str>,
    ) -> Result<Self> {
        let offer = extensions.map_or_else(String::new, |offer| {
            format!("Sec-WebSocket-Extensions: {offer}\r\n")
        });
        let tcp = tls::connect(tls::resolve(host, 443)?)?;
        let mut stream = tls::handshake(tcp, host, Arc::clone(config))?;
        let request = format!(
            "GET /?v=10&encoding=json HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n{offer}\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).context("reading the answer")?;
            head.extend_from_slice(&byte);
        }
        ensure!(
            head.starts_with(b"HTTP/1.1 101 "),
            "no upgrade: {}",
            String::from_utf8_lossy(&head)
        );
        let mut client = Self { stream };
        match client.receive()? {
            Received::Json(hello) if hello.get("op") == Some(&Value::from(10)) => Ok(client),
            _ => anyhow::bail!("the gateway did not begin with HELLO"),
        }
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) -> Result<()> {
        let frame = encode(true, opcode, Some(MASK), payload);
        self.stream.write_all(&frame)?;
        Ok(self.stream.flush()?)
    }

    /// Reads one unfragmented frame.
    pub(crate) fn receive(&mut self) -> Result<Received> {
        let [first, second] = self.read()?;
        ensure!(second & 0x80 == 0, "a server's frame is masked");
        let length = match second & 0x7f {
            126 => u16::from_be_bytes(self.read()?).into(),
            127 => usize::try_from(u64::from_be_bytes(self.read()?))?,
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok(match first & 0x0f {
            CLOSE => Received::Close {
                code: payload.first_chunk().map(|code| u16::from_be_bytes(*code)),
                reason: String::from_utf8(payload.get(2..).unwrap_or_default().to_vec())?,
            },
            TEXT => Received::Json(serde_json::from_slice(&payload)?),
            opcode => Received::Other { opcode, payload },
        })
    }

    fn read<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether READY is what comes next.
    pub(crate) fn is_ready(&mut self) -> Result<bool> {
        Ok(match self.receive()? {
            Received::Json(message) => message.get("t") == Some(&Value::from("READY")),
            Received::Other { .. } | Received::Close { .. } => false,
        })
    }
}

/// What the environment holds as token.
pub(crate) fn token() -> Result<String> {
    std::env::var("DISCORD_BOT_TOKEN").context("DISCORD_BOT_TOKEN is not set")
}

/// IDENTIFY with whatever the environment holds as token.
pub(crate) fn identify() -> Result<String> {
    let token = token()?;
    Ok(format!(
        r#"{{"op":2,"d":{{"token":"{token}","intents":513,"properties":{{"os":"linux"}}}}}}"#
    ))
}

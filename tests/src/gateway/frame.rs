//! WebSocket frames as a server reads and writes them (RFC 6455 §5), written apart from the product's codec, so that
//! one can find the other's mistakes.

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// One frame from a client.
#[derive(Debug)]
pub struct Frame {
    pub fin: bool,
    pub opcode: u8,
    /// RSV1 is set (RFC 7692 §6).
    pub compressed: bool,
    /// Unmasked.
    pub payload: Vec<u8>,
    /// Header and mask as they arrived.
    pub header: Vec<u8>,
}

impl Frame {
    pub fn is_control(&self) -> bool {
        self.opcode & 8 != 0
    }

    /// The bytes that arrived, from the first of the header to the last of the masked payload.
    pub fn raw(&self) -> Vec<u8> {
        let mut raw = self.header.clone();
        raw.extend_from_slice(&self.payload);
        if let Some((head, payload)) = raw.split_at_mut_checked(self.header.len())
            && let Some(mask) = head.last_chunk::<4>()
        {
            apply_mask(payload, *mask);
        }
        raw
    }
}

/// Reads a frame; `None` at the end of the stream.
///
/// # Errors
/// The stream breaks off inside a frame, or the client breaks a rule: reserved bits, no mask, a control frame that is
/// fragmented or longer than 125 bytes, a length that is not written in its shortest form.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Frame>> {
    read_extended(stream, false).await
}

/// As [`read`], where permessage-deflate may be agreed, which marks a message's first frame with a reserved bit.
///
/// # Errors
/// As those of [`read`].
pub async fn read_extended(
    stream: &mut (impl AsyncRead + Unpin),
    deflate: bool,
) -> Result<Option<Frame>> {
    let mut header = vec![0; 2];
    match stream.read(&mut header[..1]).await? {
        0 => return Ok(None),
        _ => stream.read_exact(&mut header[1..]).await?,
    };
    let (first, second) = (header[0], header[1]);
    let compressed = deflate && first & 0x48 == 0x40;
    let reserved = if compressed { 0x30 } else { 0x70 };
    ensure!(first & reserved == 0, "reserved bits are set");
    ensure!(second & 0x80 != 0, "a client's frame is not masked");
    let length = match second & 0x7f {
        126 => {
            let length = stream.read_u16().await?;
            header.extend_from_slice(&length.to_be_bytes());
            ensure!(length > 125, "the length is not in its shortest form");
            u64::from(length)
        }
        127 => {
            let length = stream.read_u64().await?;
            header.extend_from_slice(&length.to_be_bytes());
            ensure!(
                length > u64::from(u16::MAX),
                "the length is not in its shortest form"
            );
            length
        }
        short => u64::from(short),
    };
    let opcode = first & 0x0f;
    let fin = first & 0x80 != 0;
    if opcode & 8 != 0 {
        ensure!(fin && length <= 125, "a control frame breaks RFC 6455 §5.5");
    }
    if length > 1 << 30 {
        bail!("a frame of {length} bytes is more than this server takes");
    }
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await?;
    header.extend_from_slice(&mask);
    let mut payload = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut payload).await?;
    apply_mask(&mut payload, mask);
    Ok(Some(Frame {
        fin,
        opcode,
        compressed,
        payload,
        header,
    }))
}

/// Writes one unmasked frame.
///
/// # Errors
/// The stream is broken.
pub async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    opcode: u8,
    payload: &[u8],
) -> std::io::Result<()> {
    let bytes = encode(true, opcode, None, payload);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Writes one unmasked frame whose payload is compressed.
///
/// # Errors
/// The stream is broken.
pub async fn write_compressed(
    stream: &mut (impl AsyncWrite + Unpin),
    opcode: u8,
    payload: &[u8],
) -> std::io::Result<()> {
    let mut bytes = encode(true, opcode, None, payload);
    if let Some(first) = bytes.first_mut() {
        *first |= 0x40;
    }
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// A frame's bytes, masked as a client's are where a mask is given.
pub fn encode(fin: bool, opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    bytes.push(u8::from(fin) << 7 | opcode);
    let masked = u8::from(mask.is_some()) << 7;
    if let Some(short) = u8::try_from(payload.len()).ok().filter(|n| *n < 126) {
        bytes.push(masked | short);
    } else if let Ok(medium) = u16::try_from(payload.len()) {
        bytes.push(masked | 126);
        bytes.extend_from_slice(&medium.to_be_bytes());
    } else {
        bytes.push(masked | 127);
        bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    if let Some(mask) = mask {
        bytes.extend_from_slice(&mask);
    }
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut bytes[start..], mask);
    }
    bytes
}

fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

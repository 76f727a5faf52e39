//! A server's side of a WebSocket: whole messages in and out, recorded, compressed as agreed.

use anyhow::Result;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{
    Shared,
    deflate::{PerMessage, ZlibStream},
    frame::{self, Frame},
    record::{Bytes, Seen},
};

/// Messages longer than this are not recorded frame by frame.
pub(super) const LONG: usize = 1 << 20;

pub(super) struct Socket<'a, S> {
    stream: S,
    pub(super) shared: &'a Shared,
    pub(super) connection: u64,
    deflate: Option<PerMessage>,
    transport: Option<ZlibStream>,
}

/// A whole message from the client, inflated.
pub(super) struct Message {
    pub(super) opcode: u8,
    pub(super) payload: Vec<u8>,
    /// It begins with a text or binary frame, and goes on with continuations.
    pub(super) ordered: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Socket<'a, S> {
    pub(super) fn new(
        stream: S,
        shared: &'a Shared,
        connection: u64,
        deflate: Option<PerMessage>,
    ) -> Self {
        Self {
            stream,
            shared,
            connection,
            deflate,
            transport: None,
        }
    }

    /// Sends one zlib stream in binary messages from now on.
    pub(super) fn stream_zlib(&mut self) {
        self.transport = Some(ZlibStream::new());
    }

    /// The next message; `None` when the client is gone, whose Close is answered.
    pub(super) async fn next(&mut self) -> Result<Option<Message>> {
        let mut frames: Vec<Frame> = Vec::new();
        while let Some(frame) =
            frame::read_extended(&mut self.stream, self.deflate.is_some()).await?
        {
            match frame.opcode {
                frame::CLOSE => {
                    self.closed(frame.payload.first_chunk::<2>().copied());
                    frame::write(&mut self.stream, frame::CLOSE, &frame.payload).await?;
                    return Ok(None);
                }
                frame::PING => {
                    frame::write(&mut self.stream, frame::PONG, &frame.payload).await?;
                }
                frame::PONG => {}
                _ => {
                    let fin = frame.fin;
                    frames.push(frame);
                    if fin {
                        return self.message(frames).map(Some);
                    }
                }
            }
        }
        self.closed(None);
        Ok(None)
    }

    fn message(&mut self, frames: Vec<Frame>) -> Result<Message> {
        let opcode = frames.first().map_or(frame::TEXT, |f| f.opcode);
        let compressed = frames.first().is_some_and(|f| f.compressed);
        let ordered = opcode != frame::CONTINUATION
            && frames
                .iter()
                .skip(1)
                .all(|f| f.opcode == frame::CONTINUATION && !f.compressed);
        let length: usize = frames.iter().map(|f| f.payload.len()).sum();
        let raw = if length <= LONG {
            frames.iter().map(|f| Bytes(f.raw())).collect()
        } else {
            Vec::new()
        };
        let mut payload = frames.into_iter().fold(Vec::new(), |mut all, mut frame| {
            all.append(&mut frame.payload);
            all
        });
        if let Some(deflate) = self.deflate.as_mut().filter(|_| compressed) {
            payload = deflate.inflate(&payload)?;
        }
        self.see(Seen::Message {
            connection: self.connection,
            opcode,
            payload: Bytes(payload.clone()),
            frames: raw,
        });
        Ok(Message {
            opcode,
            payload,
            ordered,
        })
    }

    pub(super) async fn send(&mut self, message: &Value) -> Result<()> {
        let text = message.to_string();
        let (opcode, payload) = match &mut self.transport {
            None => (frame::TEXT, text.into_bytes()),
            Some(stream) => (frame::BINARY, stream.deflate(text.as_bytes())?),
        };
        let Some(deflate) = &mut self.deflate else {
            return self.send_raw(opcode, &payload).await;
        };
        let payload = deflate.deflate(&payload)?;
        Ok(frame::write_compressed(&mut self.stream, opcode, &payload).await?)
    }

    /// Sends one frame as it is.
    pub(super) async fn send_raw(&mut self, opcode: u8, payload: &[u8]) -> Result<()> {
        Ok(frame::write(&mut self.stream, opcode, payload).await?)
    }

    /// Sends frames as they are.
    pub(super) async fn send_frames(&mut self, frames: &[u8]) -> Result<()> {
        self.stream.write_all(frames).await?;
        Ok(self.stream.flush().await?)
    }

    /// Closes with a code, and waits for the client to do so.
    pub(super) async fn refuse(mut self, code: u16) -> Result<()> {
        self.see(Seen::Refused {
            connection: self.connection,
            code,
        });
        frame::write(&mut self.stream, frame::CLOSE, &code.to_be_bytes()).await?;
        while let Some(frame) =
            frame::read_extended(&mut self.stream, self.deflate.is_some()).await?
        {
            if frame.opcode == frame::CLOSE {
                break;
            }
        }
        Ok(())
    }

    fn closed(&self, code: Option<[u8; 2]>) {
        self.see(Seen::Closed {
            connection: self.connection,
            code: code.map(u16::from_be_bytes),
        });
    }

    /// The client is where it wants to be.
    pub(super) fn ready(&self) {
        self.see(Seen::Ready {
            connection: self.connection,
        });
    }

    pub(super) fn see(&self, seen: Seen) {
        self.shared.record.add(seen);
    }
}

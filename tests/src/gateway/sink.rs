//! A session that keeps nothing of what it gets, for measuring.
//!
//! Like the gateway it says HELLO and answers IDENTIFY with READY. Beyond that, by `op`: 103 asks what has come so far,
//! 104 for one message of `d` bytes, 105 for `d` small messages. A message of more than [`SMALL`] bytes is answered as
//! by 103.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{
    Shared,
    frame::{self, TEXT, encode},
    record::{Seen, Token},
};
use crate::bulk::{Bulk, Ends, KEPT, PIECE};

/// What is kept whole.
const SMALL: usize = KEPT;

const RSV1: u8 = 0x40;
const FIN: u8 = 0x80;

pub(super) struct Sink<'a, S> {
    stream: S,
    shared: &'a Shared,
    connection: u64,
    /// Messages to the client are compressed.
    deflate: bool,
    messages: u64,
    message: Ends,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Sink<'a, S> {
    pub(super) fn new(stream: S, shared: &'a Shared, connection: u64, deflate: bool) -> Self {
        Self {
            stream,
            shared,
            connection,
            deflate,
            messages: 0,
            message: Ends::default(),
        }
    }

    /// Serves to the end of the connection.
    pub(super) async fn serve(mut self) -> Result<()> {
        self.say(&json!({"op": 10, "d": {"heartbeat_interval": 41250}}))
            .await?;
        let mut piece = vec![0; PIECE];
        loop {
            let mut header = [0; 2];
            if self.stream.read(&mut header[..1]).await? == 0 {
                return Ok(());
            }
            self.stream.read_exact(&mut header[1..]).await?;
            let [first, second] = header;
            let mut left = match second & 0x7f {
                126 => self.stream.read_u16().await?.into(),
                127 => self.stream.read_u64().await?,
                short => u64::from(short),
            };
            let mut mask = [0; 4];
            self.stream.read_exact(&mut mask).await?;
            if first & 0x0f == frame::CLOSE {
                return Ok(());
            }
            while left > 0 {
                let room = usize::try_from(left)?.min(PIECE);
                let part = piece.get_mut(..room).context("a piece too long")?;
                self.stream.read_exact(part).await?;
                // A piece is a multiple of the mask's length.
                for (byte, key) in part.iter_mut().zip(mask.iter().cycle()) {
                    *byte ^= key;
                }
                self.message.push(part);
                left -= room as u64;
            }
            if first & FIN != 0 {
                self.messages += 1;
                let message = std::mem::take(&mut self.message);
                self.answer(message).await?;
            }
        }
    }

    async fn answer(&mut self, message: Ends) -> Result<()> {
        if let Some(token) = token(&message, &self.shared.options.token) {
            self.shared.record.add(Seen::Login {
                connection: self.connection,
                token,
            });
        }
        if message.bytes > SMALL as u64 {
            return self.report(message.bytes).await;
        }
        let order: Value = serde_json::from_slice(&message.head)?;
        let count = order.get("d").and_then(Value::as_u64);
        match (order.get("op").and_then(Value::as_u64), count) {
            (Some(1), _) => Ok(()),
            (Some(2), _) => self.say(&json!({"op": 0, "t": "READY"})).await,
            (Some(103), _) => self.report(message.bytes).await,
            (Some(104), Some(length)) => self.pour(length).await,
            (Some(105), Some(messages)) => self.repeat(messages).await,
            _ => bail!("an unknown order"),
        }
    }

    async fn report(&mut self, bytes: u64) -> Result<()> {
        let messages = self.messages;
        let d = json!({"bytes": bytes, "messages": messages});
        self.say(&json!({"op": 0, "t": "RECEIVED", "d": d})).await
    }

    /// One message, in one frame.
    async fn pour(&mut self, length: u64) -> Result<()> {
        let bulk = Bulk::poured(length, self.deflate)?;
        let rsv = if self.deflate { RSV1 } else { 0 };
        self.stream.write_all(&[FIN | rsv | TEXT, 127]).await?;
        self.stream.write_all(&bulk.length().to_be_bytes()).await?;
        for piece in bulk.pieces() {
            self.stream.write_all(piece).await?;
        }
        Ok(self.stream.flush().await?)
    }

    async fn repeat(&mut self, messages: u64) -> Result<()> {
        let message = encode(true, TEXT, None, br#"{"op":11,"d":null}"#);
        let batch = usize::try_from(messages)?.min(1000);
        let batch_bytes = message.repeat(batch);
        let mut left = usize::try_from(messages)?;
        while left > 0 {
            let now = left.min(batch);
            let bytes = batch_bytes.get(..now * message.len());
            self.stream.write_all(bytes.unwrap_or_default()).await?;
            left -= now;
        }
        Ok(self.stream.flush().await?)
    }

    async fn say(&mut self, message: &Value) -> Result<()> {
        let text = message.to_string();
        Ok(frame::write(&mut self.stream, TEXT, text.as_bytes()).await?)
    }
}

/// What stands as token at a message's beginning or end.
fn token(message: &Ends, real: &str) -> Option<Token> {
    if message.hold(real) {
        return Some(Token::Real);
    }
    message
        .hold("openshell:resolve:env:")
        .then_some(Token::Placeholder)
}

//! One gateway session, as strict as Discord's: <https://discord.com/developers/docs/events/gateway>.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{
    Shared,
    frame::{self, Frame},
    record::{Bytes, Seen, Token},
};

const UNKNOWN_ERROR: u16 = 4000;
const UNKNOWN_OPCODE: u16 = 4001;
const DECODE_ERROR: u16 = 4002;
const NOT_AUTHENTICATED: u16 = 4003;
const AUTHENTICATION_FAILED: u16 = 4004;
const ALREADY_AUTHENTICATED: u16 = 4005;

/// Messages longer than this are neither echoed nor recorded frame by frame.
const LONG: usize = 1 << 20;

const SESSION_ID: &str = "0123456789abcdef0123456789abcdef";

pub(super) struct Session<'a, S> {
    stream: S,
    shared: &'a Shared,
    connection: u64,
    authenticated: bool,
    sequence: u64,
}

enum Next {
    Stay,
    Close(u16),
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    pub(super) fn new(stream: S, shared: &'a Shared, connection: u64) -> Self {
        Self {
            stream,
            shared,
            connection,
            authenticated: false,
            sequence: 0,
        }
    }

    /// Serves to the end of the connection.
    pub(super) async fn serve(mut self) -> Result<()> {
        let interval = self.shared.options.heartbeat_interval.as_millis();
        self.send(&json!({"op": 10, "d": {"heartbeat_interval": u64::try_from(interval)?}, "s": null, "t": null}))
            .await?;
        let mut message: Vec<Frame> = Vec::new();
        while let Some(frame) = frame::read(&mut self.stream).await? {
            match frame.opcode {
                frame::CLOSE => return self.closed_by_client(&frame).await,
                frame::PING => {
                    frame::write(&mut self.stream, frame::PONG, &frame.payload).await?;
                }
                frame::PONG => {}
                _ => {
                    let fin = frame.fin;
                    message.push(frame);
                    if !fin {
                        continue;
                    }
                    if let Next::Close(code) = self.message(std::mem::take(&mut message)).await? {
                        return self.refuse(code).await;
                    }
                }
            }
        }
        self.see(Seen::Closed {
            connection: self.connection,
            code: None,
        });
        Ok(())
    }

    async fn message(&mut self, frames: Vec<Frame>) -> Result<Next> {
        let opcode = frames.first().map_or(frame::TEXT, |f| f.opcode);
        let ordered = opcode != frame::CONTINUATION
            && frames
                .iter()
                .skip(1)
                .all(|f| f.opcode == frame::CONTINUATION);
        let length: usize = frames.iter().map(|f| f.payload.len()).sum();
        let raw = if length <= LONG {
            frames.iter().map(|f| Bytes(f.raw())).collect()
        } else {
            Vec::new()
        };
        let payload = frames.into_iter().fold(Vec::new(), |mut all, mut frame| {
            all.append(&mut frame.payload);
            all
        });
        self.see(Seen::Message {
            connection: self.connection,
            opcode,
            payload: Bytes(payload.clone()),
            frames: raw,
        });
        if !ordered
            || self
                .shared
                .options
                .largest_payload
                .is_some_and(|most| length > most)
        {
            return Ok(Next::Close(DECODE_ERROR));
        }
        match serde_json::from_slice::<Value>(&payload) {
            Ok(value) => self.operation(&value, length).await,
            Err(_) if opcode == frame::BINARY && self.authenticated => {
                frame::write(&mut self.stream, frame::BINARY, &payload).await?;
                Ok(Next::Stay)
            }
            Err(_) => Ok(Next::Close(DECODE_ERROR)),
        }
    }

    async fn operation(&mut self, message: &Value, length: usize) -> Result<Next> {
        let Some(op) = message.get("op").and_then(Value::as_u64) else {
            return Ok(Next::Close(DECODE_ERROR));
        };
        match op {
            1 => self.send(&json!({"op": 11})).await?,
            2 if self.authenticated => return Ok(Next::Close(ALREADY_AUTHENTICATED)),
            2 => {
                if self.login(message) != Token::Real {
                    return Ok(Next::Close(AUTHENTICATION_FAILED));
                }
                self.authenticated = true;
                let ready = json!({
                    "v": 10,
                    "user": {"id": "1000000000000000001", "username": "micky", "bot": true},
                    "guilds": [],
                    "session_id": SESSION_ID,
                    "resume_gateway_url": self.shared.options.resume_url,
                    "application": {"id": "1000000000000000001", "flags": 0},
                });
                self.dispatch("READY", ready).await?;
                self.see(Seen::Ready {
                    connection: self.connection,
                });
            }
            6 if self.authenticated => return Ok(Next::Close(ALREADY_AUTHENTICATED)),
            6 => {
                if self.login(message) != Token::Real {
                    return Ok(Next::Close(AUTHENTICATION_FAILED));
                }
                if message.pointer("/d/session_id").and_then(Value::as_str) != Some(SESSION_ID) {
                    self.send(&json!({"op": 9, "d": false})).await?;
                    return Ok(Next::Stay);
                }
                self.authenticated = true;
                self.dispatch("RESUMED", Value::Null).await?;
            }
            3 | 4 | 8 | 100 if !self.authenticated => return Ok(Next::Close(NOT_AUTHENTICATED)),
            3 | 4 | 8 => {}
            // Not Discord's: sends `d` back, for tests of both directions.
            100 if length > LONG => self.dispatch("RECEIVED", json!({"bytes": length})).await?,
            100 => {
                let echo = message.get("d").cloned().unwrap_or_default();
                self.dispatch("ECHO", echo).await?;
            }
            // Nor these: the client asks to be told to reconnect, and to be cut off.
            101 => self.send(&json!({"op": 7, "d": null})).await?,
            102 => return Ok(Next::Close(UNKNOWN_ERROR)),
            // Not Discord's: gives the real token away, as a careless server might.
            103 if self.authenticated => {
                let how = message.get("d").and_then(Value::as_str).unwrap_or_default();
                self.give_away(how).await?;
            }
            _ => return Ok(Next::Close(UNKNOWN_OPCODE)),
        }
        Ok(Next::Stay)
    }

    fn login(&self, message: &Value) -> Token {
        let presented = message
            .pointer("/d/token")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let token = Token::judge(presented, &self.shared.options.token);
        self.see(Seen::Login {
            connection: self.connection,
            token,
        });
        token
    }

    async fn give_away(&mut self, how: &str) -> Result<()> {
        let token = self.shared.options.token.clone();
        let text = json!({"op": 0, "t": "TOKEN", "d": format!("<{token}>")}).to_string();
        match how {
            "base64" => {
                let d = STANDARD.encode(format!("user:{token}"));
                self.dispatch("TOKEN", Value::from(d)).await
            }
            "fragments" => {
                let (head, tail) = text.split_at(text.len() / 2);
                let frames = [
                    frame::encode(false, frame::TEXT, None, head.as_bytes()),
                    frame::encode(true, frame::CONTINUATION, None, tail.as_bytes()),
                ];
                self.stream.write_all(&frames.concat()).await?;
                Ok(self.stream.flush().await?)
            }
            "binary" => {
                let payload = format!("\u{1}{token}\u{2}");
                Ok(frame::write(&mut self.stream, frame::BINARY, payload.as_bytes()).await?)
            }
            "pong" => Ok(frame::write(&mut self.stream, frame::PONG, token.as_bytes()).await?),
            "close" => {
                let reason = format!("no longer {token}");
                let payload = [&AUTHENTICATION_FAILED.to_be_bytes(), reason.as_bytes()].concat();
                Ok(frame::write(&mut self.stream, frame::CLOSE, &payload).await?)
            }
            _ => Ok(frame::write(&mut self.stream, frame::TEXT, text.as_bytes()).await?),
        }
    }

    async fn dispatch(&mut self, name: &str, d: Value) -> Result<()> {
        self.sequence += 1;
        let message = json!({"op": 0, "t": name, "s": self.sequence, "d": d});
        self.send(&message).await
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        let text = message.to_string();
        Ok(frame::write(&mut self.stream, frame::TEXT, text.as_bytes()).await?)
    }

    async fn refuse(mut self, code: u16) -> Result<()> {
        self.see(Seen::Refused {
            connection: self.connection,
            code,
        });
        frame::write(&mut self.stream, frame::CLOSE, &code.to_be_bytes()).await?;
        while let Some(frame) = frame::read(&mut self.stream).await? {
            if frame.opcode == frame::CLOSE {
                break;
            }
        }
        Ok(())
    }

    async fn closed_by_client(mut self, frame: &Frame) -> Result<()> {
        self.see(Seen::Closed {
            connection: self.connection,
            code: frame
                .payload
                .first_chunk::<2>()
                .map(|code| u16::from_be_bytes(*code)),
        });
        Ok(frame::write(&mut self.stream, frame::CLOSE, &frame.payload).await?)
    }

    fn see(&self, seen: Seen) {
        self.shared.record.add(seen);
    }
}

//! One gateway session, as strict as Discord's: <https://discord.com/developers/docs/events/gateway>.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    discord, frame,
    record::{Seen, Token},
    socket::{LONG, Message, Socket},
};

const UNKNOWN_ERROR: u16 = 4000;
const UNKNOWN_OPCODE: u16 = 4001;
const DECODE_ERROR: u16 = 4002;
const NOT_AUTHENTICATED: u16 = 4003;
const AUTHENTICATION_FAILED: u16 = 4004;
const ALREADY_AUTHENTICATED: u16 = 4005;

const SESSION_ID: &str = "0123456789abcdef0123456789abcdef";

pub(super) struct Session<'a, S> {
    socket: Socket<'a, S>,
    authenticated: bool,
    sequence: u64,
}

enum Next {
    Stay,
    Close(u16),
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    pub(super) fn new(socket: Socket<'a, S>) -> Self {
        Self {
            socket,
            authenticated: false,
            sequence: 0,
        }
    }

    /// Serves to the end of the connection.
    pub(super) async fn serve(mut self) -> Result<()> {
        let interval = self.socket.shared.options.heartbeat_interval.as_millis();
        self.socket
            .send(&json!({"op": 10, "d": {"heartbeat_interval": u64::try_from(interval)?}, "s": null, "t": null}))
            .await?;
        while let Some(message) = self.socket.next().await? {
            if let Next::Close(code) = self.message(&message).await? {
                return self.socket.refuse(code).await;
            }
        }
        Ok(())
    }

    async fn message(&mut self, message: &Message) -> Result<Next> {
        let Message {
            opcode,
            payload,
            ordered,
        } = message;
        let most = self.socket.shared.options.largest_payload;
        if !ordered || most.is_some_and(|most| payload.len() > most) {
            return Ok(Next::Close(DECODE_ERROR));
        }
        match serde_json::from_slice::<Value>(payload) {
            Ok(value) => self.operation(&value, payload.len()).await,
            Err(_) if *opcode == frame::BINARY && self.authenticated => {
                self.socket.send_raw(frame::BINARY, payload).await?;
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
            1 => {
                let acknowledgement = json!({"op": 11, "d": null, "s": null, "t": null});
                self.socket.send(&acknowledgement).await?;
            }
            2 if self.authenticated => return Ok(Next::Close(ALREADY_AUTHENTICATED)),
            2 => {
                if self.login(message) != Token::Real {
                    return Ok(Next::Close(AUTHENTICATION_FAILED));
                }
                self.authenticated = true;
                self.welcome().await?;
            }
            6 if self.authenticated => return Ok(Next::Close(ALREADY_AUTHENTICATED)),
            6 => {
                if self.login(message) != Token::Real {
                    return Ok(Next::Close(AUTHENTICATION_FAILED));
                }
                if message.pointer("/d/session_id").and_then(Value::as_str) != Some(SESSION_ID) {
                    self.socket.send(&json!({"op": 9, "d": false})).await?;
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
            101 => self.socket.send(&json!({"op": 7, "d": null})).await?,
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

    /// What follows IDENTIFY: READY, and where there is a guild, the guild and a message in it.
    async fn welcome(&mut self) -> Result<()> {
        let populated = self.socket.shared.options.populated;
        let guilds = if populated {
            vec![json!({"id": discord::GUILD, "unavailable": true})]
        } else {
            Vec::new()
        };
        let ready = json!({
            "v": 10,
            "user": discord::bot(),
            "guilds": guilds,
            "session_id": SESSION_ID,
            "resume_gateway_url": self.socket.shared.options.resume_url,
            "shard": [0, 1],
            "application": {"id": discord::BOT, "flags": 0},
        });
        self.dispatch("READY", ready).await?;
        self.socket.ready();
        if populated {
            self.dispatch("GUILD_CREATE", discord::guild()).await?;
            let message = discord::message("hello", &discord::owner());
            self.dispatch("MESSAGE_CREATE", message).await?;
        }
        Ok(())
    }

    fn login(&self, message: &Value) -> Token {
        let presented = message
            .pointer("/d/token")
            .and_then(Value::as_str)
            .unwrap_or_default();
        // Discord takes it with the scheme of HTTP as well, and twilight sends it so.
        let presented = presented.strip_prefix("Bot ").unwrap_or(presented);
        let token = Token::judge(presented, &self.socket.shared.options.token);
        self.socket.see(Seen::Login {
            connection: self.socket.connection,
            token,
        });
        token
    }

    async fn give_away(&mut self, how: &str) -> Result<()> {
        let token = self.socket.shared.options.token.clone();
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
                self.socket.send_frames(&frames.concat()).await
            }
            "binary" => {
                let payload = format!("\u{1}{token}\u{2}");
                self.socket
                    .send_raw(frame::BINARY, payload.as_bytes())
                    .await
            }
            "pong" => self.socket.send_raw(frame::PONG, token.as_bytes()).await,
            "close" => {
                let reason = format!("no longer {token}");
                let payload = [&AUTHENTICATION_FAILED.to_be_bytes(), reason.as_bytes()].concat();
                self.socket.send_raw(frame::CLOSE, &payload).await
            }
            _ => self.socket.send_raw(frame::TEXT, text.as_bytes()).await,
        }
    }

    async fn dispatch(&mut self, name: &str, d: Value) -> Result<()> {
        self.sequence += 1;
        let message = json!({"op": 0, "t": name, "s": self.sequence, "d": d});
        self.socket.send(&message).await
    }
}

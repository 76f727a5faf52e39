//! What a gateway saw, for tests to ask.

use std::{
    fmt,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::{bytes, interrupt};

/// What a client presented as its token. The token itself stays in the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Real,
    Placeholder,
    Other,
}

impl Token {
    pub fn judge(presented: &str, real: &str) -> Self {
        if presented == real {
            Self::Real
        } else if presented.contains("openshell:resolve:env:")
            || presented.contains("OPENSHELL-RESOLVE-ENV-")
        {
            Self::Placeholder
        } else {
            Self::Other
        }
    }
}

/// Bytes that may hold a secret: compared by tests, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

#[derive(Clone, Debug)]
pub enum Seen {
    /// A TLS handshake was completed.
    Connected {
        connection: u64,
        sni: String,
    },
    /// A connection came to nothing, for instance because the other side did not like the certificate.
    Failed {
        connection: u64,
        error: String,
    },
    /// A request's head, to its empty line.
    Request {
        connection: u64,
        line: String,
        head: Bytes,
        body: Bytes,
        /// At the place of the credential, which is the header `Authorization` for most.
        token: Option<Token>,
    },
    /// A request became a WebSocket.
    Switched {
        connection: u64,
        /// Those that were agreed on.
        extensions: Option<String>,
    },
    /// IDENTIFY or RESUME.
    Login {
        connection: u64,
        token: Token,
    },
    Ready {
        connection: u64,
    },
    /// A whole text or binary message.
    Message {
        connection: u64,
        opcode: u8,
        payload: Bytes,
        /// Each frame as it arrived, masked. Not kept for messages of more than a mebibyte.
        frames: Vec<Bytes>,
    },
    /// The gateway closed with this code.
    Refused {
        connection: u64,
        code: u16,
    },
    /// The client closed, with a code if it sent a close frame.
    Closed {
        connection: u64,
        code: Option<u16>,
    },
}

impl Seen {
    /// One line for a log.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Connected { connection, sni } => {
                json!({"event": "connected", "connection": connection, "sni": sni})
            }
            Self::Failed { connection, error } => {
                json!({"event": "failed", "connection": connection, "error": error})
            }
            Self::Request {
                connection,
                line,
                token,
                ..
            } => {
                json!({"event": "request", "connection": connection, "line": line, "token": token.map(name)})
            }
            Self::Switched {
                connection,
                extensions,
            } => {
                json!({"event": "switched", "connection": connection, "extensions": extensions})
            }
            Self::Login { connection, token } => {
                json!({"event": "login", "connection": connection, "token": name(*token)})
            }
            Self::Ready { connection } => json!({"event": "ready", "connection": connection}),
            Self::Message {
                connection,
                payload,
                frames,
                ..
            } => {
                json!({"event": "message", "connection": connection, "bytes": payload.0.len(), "frames": frames.len()})
            }
            Self::Refused { connection, code } => {
                json!({"event": "refused", "connection": connection, "code": code})
            }
            Self::Closed { connection, code } => {
                json!({"event": "closed", "connection": connection, "code": code})
            }
        }
    }
}

fn name(token: Token) -> &'static str {
    match token {
        Token::Real => "real",
        Token::Placeholder => "placeholder",
        Token::Other => "other",
    }
}

/// Everything seen, in order.
#[derive(Debug, Default)]
pub struct Record {
    seen: Mutex<Vec<Seen>>,
    added: Condvar,
}

impl Record {
    pub(super) fn add(&self, seen: Seen) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(seen);
        self.added.notify_all();
    }

    /// Looks at everything seen so far.
    pub fn look<T>(&self, at: impl FnOnce(&[Seen]) -> T) -> T {
        at(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets everything seen so far.
    pub fn clear(&self) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Looks until there is an answer.
    ///
    /// # Errors
    /// There is none within ten seconds; the message lists what was seen instead.
    pub fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&[Seen]) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(&seen) {
                return Ok(found);
            }
            interrupt::check()?;
            if Instant::now() > deadline {
                let lines: Vec<_> = seen.iter().map(|s| s.to_json().to_string()).collect();
                bail!(
                    "the gateway did not see {what}, but:\n  {}",
                    lines.join("\n  ")
                );
            }
            seen = self
                .added
                .wait_timeout(seen, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// What clients presented as tokens so far: at logins and in headers.
    pub fn tokens(&self) -> Vec<Token> {
        self.look(|seen| {
            seen.iter()
                .filter_map(|seen| match seen {
                    Seen::Login { token, .. } => Some(*token),
                    Seen::Request { token, .. } => *token,
                    _ => None,
                })
                .collect()
        })
    }

    /// How often `secret` was seen so far, in requests and messages, wherever.
    pub fn count(&self, secret: &str) -> usize {
        let within = |Bytes(bytes): &Bytes| bytes::count(bytes, secret.as_bytes());
        self.look(|seen| {
            seen.iter()
                .map(|seen| match seen {
                    Seen::Request { head, body, .. } => within(head) + within(body),
                    Seen::Message { payload, .. } => within(payload),
                    _ => 0,
                })
                .sum()
        })
    }

    /// Payloads of whole messages so far.
    pub fn payloads(&self) -> Vec<Vec<u8>> {
        self.look(|seen| {
            seen.iter()
                .filter_map(|seen| match seen {
                    Seen::Message { payload, .. } => Some(payload.0.clone()),
                    _ => None,
                })
                .collect()
        })
    }
}

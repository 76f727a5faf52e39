//! One connection's record, filled by `flow`, `http` and `websocket` while it lives.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{address::Host, secrets::SecretName};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ClientToServer,
    ServerToClient,
}

/// Counters and facts of one connection. All methods take `&self`; facts are set at most a few times in its life.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    sent: Flow,
    received: Flow,
    placeholders_passed: AtomicU64,
    redactions: AtomicU64,
    opaque_messages: AtomicU64,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Flow {
    bytes: AtomicU64,
    messages: AtomicU64,
}

/// What is known of a connection beyond its counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) sni: Option<Host>,
    /// `deny`, `tunnel` or `intercept`, once decided.
    pub(crate) verdict: Option<&'static str>,
    /// The rule that decided, as the operator wrote it: `discord/gateway.discord.gg:443`.
    pub(crate) rule: Option<String>,
    /// `tls`, `http`, `h2`, `websocket`, `tcp`, `dns`.
    pub(crate) protocol: Option<&'static str>,
    /// The connection to the server is one that another client of the sandbox has left.
    pub(crate) reused: bool,
    pub(crate) dial: Option<Duration>,
    pub(crate) upstream_handshake: Option<Duration>,
    pub(crate) client_handshake: Option<Duration>,
    pub(crate) rewrites: BTreeMap<SecretName, u64>,
    pub(crate) remarks: BTreeSet<Remark>,
    /// How it ended, for an operator: `client closed`, `denied: no rule for example.com:443`.
    pub(crate) end: Option<String>,
}

/// What an operator should know of a connection, however it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Remark {
    /// A message was longer with its secret than the other side takes.
    OutgrewLimit,
    /// A placeholder stood where nothing is bound.
    Unbound,
    /// A reused connection to the server had ended.
    Renewed,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutgrewLimit => "a message outgrew the server's limit with its secret",
            Self::Renewed => {
                "the reused connection had ended: the request was sent again on a new one"
            }
            Self::Unbound => "a placeholder stood outside its binding",
        })
    }
}

impl Connection {
    /// Counts application bytes: what is inside TLS where we open it, else what is tunnelled.
    pub(crate) fn count_bytes(&self, direction: Direction, bytes: u64) {
        self.flow(direction).bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts one WebSocket data message or one HTTP request or response.
    pub(crate) fn count_message(&self, direction: Direction) {
        self.flow(direction).messages.fetch_add(1, Relaxed);
    }

    /// A placeholder went on as the harmless text that it is, outside its binding.
    pub(crate) fn count_placeholder_passed(&self) {
        self.placeholders_passed.fetch_add(1, Relaxed);
    }

    /// So many secrets came back and became placeholders again.
    pub(crate) fn count_redactions(&self, count: u64) {
        self.redactions.fetch_add(count, Relaxed);
    }

    /// A message that mentions a placeholder, or a response in which a secret may come back, went on as it was, since it
    /// cannot be read.
    pub(crate) fn count_opaque_message(&self) {
        self.opaque_messages.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_rewrite(&self, name: &SecretName) {
        self.note(|facts| *facts.rewrites.entry(name.clone()).or_default() += 1);
    }

    /// Returns whether that is new.
    pub(crate) fn remark(&self, remark: Remark) -> bool {
        let mut new = false;
        self.note(|facts| new = facts.remarks.insert(remark));
        new
    }

    /// Sets facts.
    pub(crate) fn note(&self, set: impl FnOnce(&mut Facts)) {
        set(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn facts(&self) -> Facts {
        self.facts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn bytes(&self, direction: Direction) -> u64 {
        self.flow(direction).bytes.load(Relaxed)
    }

    pub(crate) fn messages(&self, direction: Direction) -> u64 {
        self.flow(direction).messages.load(Relaxed)
    }

    pub(crate) fn placeholders_passed(&self) -> u64 {
        self.placeholders_passed.load(Relaxed)
    }

    pub(crate) fn redactions(&self) -> u64 {
        self.redactions.load(Relaxed)
    }

    pub(crate) fn opaque_messages(&self) -> u64 {
        self.opaque_messages.load(Relaxed)
    }

    fn flow(&self, direction: Direction) -> &Flow {
        match direction {
            Direction::ClientToServer => &self.sent,
            Direction::ServerToClient => &self.received,
        }
    }
}

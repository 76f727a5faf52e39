//! Autobahn's WebSocket suite, run direct and through interceptor: the verdicts have to be the same.
//!
//! The suite plays one side, server or client, and errs on purpose; the npm library `ws` plays the other. In between is
//! the real daemon, to which the kernel brings a sandbox's connections, with a secret that is bound to both servers, so
//! that every message is looked into.

pub mod stage;
mod suite;
pub mod verdict;

use std::fmt;

/// The side that Autobahn plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fuzzer {
    /// The client, in the sandbox, is `ws`.
    Server,
    /// The client, in the sandbox, is Autobahn, and `ws` echoes what it sends.
    Client,
}

/// How a client reaches its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Direct,
    Through,
}

impl fmt::Display for Fuzzer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "fuzzing server",
            Self::Client => "fuzzing client",
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Through => "through",
        })
    }
}

/// Whether a case keeps a processor busy, rather than waiting: large messages, or many of them compressed.
pub fn is_large(case: &str) -> bool {
    ["9.", "12.", "13."]
        .iter()
        .any(|section| case.starts_with(section))
}

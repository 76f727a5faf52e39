//! From one daemon to the next while both run: over a socket in the run directory the old one passes on its listeners,
//! its locks and its control socket.
//!
//! | the new one says | the old one answers | afterwards |
//! |---|---|---|
//! | `Hello` | `Welcome` with locks and control sockets, or `Refused` | the new one loads its programs |
//! | `Ready` | `Namespace` with its listeners, for each, then `Complete` | the old one stands still, but for accepting |
//! | `Taken` | `Memories`, any number, then `Released` | the new one accepts, the old one only finishes |
//!
//! Whatever goes wrong before `Taken` leaves the old one as it was. Each message is one packet of JSON, which both
//! releases have to understand: [`PROTOCOL`].

mod channel;
mod door;
mod give;
mod take;

use std::{io, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub(crate) use self::{channel::Channel, door::Door, give::Offer, take::Legacy};
use crate::{flow::Memories, kernel::ListenersError, sandbox::Bequest};

/// For the running daemon to finish what is under way: an attach, a reload, a sweep.
pub(crate) const STANDSTILL: Duration = Duration::from_secs(20);
/// Of the messages. Another one is refused.
const PROTOCOL: u32 = 1;
/// For an answer that needs no work.
const ANSWER: Duration = Duration::from_secs(5);
/// For the new daemon to load its programs.
const LOADING: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
enum Message {
    Hello(Identity),
    Welcome(Identity),
    Refused {
        error: String,
    },
    Ready,
    Namespace(Bequest),
    Complete {
        namespaces: usize,
    },
    Taken {
        /// Whether it takes [`Message::Memories`].
        #[serde(default)]
        memories: bool,
    },
    Memories(Memories),
    Released {
        /// The highest number that a connection was given.
        last_connection: u64,
    },
}

/// Who speaks. No field of it may ever go or change: it is what two releases tell each other apart by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    protocol: u32,
    /// Of maps and programs.
    abi: u32,
    version: String,
    pid: u32,
}

impl Identity {
    fn own() -> Self {
        Self {
            protocol: PROTOCOL,
            abi: interceptor_ebpf::VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        }
    }
}

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandoverError {
    #[error("cannot reach the daemon to take over from at {}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("cannot make the socket {} for a daemon to take over by", path.display())]
    Bind { path: PathBuf, source: io::Error },
    #[error("a process on the handover socket may not take over: {0}")]
    Unwelcome(String),
    #[error("the running daemon refuses: {0}")]
    Refused(String),
    #[error("the other daemon closed the handover socket before it was done")]
    Closed,
    #[error("the other daemon did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the other daemon said something else than was expected: is it of another release?")]
    Unexpected,
    #[error("what was handed over cannot be served")]
    Listeners(#[from] ListenersError),
    #[error("the handover socket failed")]
    Socket(#[source] io::Error),
}

//! Clients that do not take `client_no_context_takeover` in an answer to an offer that did not ask for it.
//!
//! They may (RFC 7692 §7.1.1.2 lets the server say it), but a client can be stricter than that, and then fails every
//! connection that it makes. Such a client ends the connection before its first message; the next one from its sandbox
//! to that host is answered without the parameter. Whoever ended the connection for another reason loses little: its
//! messages are followed with its window then, and rewritten all the same.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::{End, Side, close};
use crate::address::Host;

/// Hosts that are remembered; beyond, the oldest is forgotten, and its client fails once more.
const HOSTS: usize = 64;

/// The hosts that a sandbox's clients did not take the parameter for.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<VecDeque<Host>>);

/// A connection whose client was told the parameter unasked, and has not begun a message.
#[derive(Debug)]
pub(crate) struct Trial {
    memory: Arc<Memory>,
    host: Host,
}

impl Memory {
    /// Clients of this host are not to be told unasked.
    pub(crate) fn holds(&self, host: &Host) -> bool {
        self.hosts().contains(host)
    }

    /// All of them, the oldest first.
    pub(crate) fn all(&self) -> Vec<Host> {
        self.hosts().iter().cloned().collect()
    }

    pub(crate) fn note(&self, host: Host) {
        let mut hosts = self.hosts();
        if hosts.contains(&host) {
            return;
        }
        if hosts.len() == HOSTS {
            hosts.pop_front();
        }
        hosts.push_back(host);
    }

    fn hosts(&self) -> std::sync::MutexGuard<'_, VecDeque<Host>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trial {
    pub(crate) fn new(memory: Arc<Memory>, host: Host) -> Self {
        Self { memory, host }
    }

    /// The connection ended like this, `None` if the client's side of it broke.
    pub(super) fn end(self, end: Option<End>) {
        let refused = match end {
            None | Some(End::Vanished { by: Side::Client }) => true,
            Some(End::Closed {
                by: Side::Client,
                code,
            }) => matches!(code, Some(close::PROTOCOL_ERROR | close::MISSING_EXTENSION)),
            Some(
                End::Closed {
                    by: Side::Server, ..
                }
                | End::Vanished { by: Side::Server }
                | End::GoingAway,
            ) => false,
        };
        if refused {
            tracing::info!(
                host = %self.host,
                "a client left where it was told client_no_context_takeover unasked: the next will not be told"
            );
            self.memory.note(self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn only_what_a_client_does_to_an_answer_it_dislikes_is_remembered() {
        let closed = |by, code| Some(End::Closed { by, code });
        for (end, remembered) in [
            (None, true),
            (Some(End::Vanished { by: Side::Client }), true),
            (closed(Side::Client, Some(1002)), true),
            (closed(Side::Client, Some(1010)), true),
            (closed(Side::Client, Some(1000)), false),
            (closed(Side::Client, None), false),
            (closed(Side::Server, Some(1002)), false),
            (Some(End::Vanished { by: Side::Server }), false),
            (Some(End::GoingAway), false),
        ] {
            let memory = Arc::new(Memory::default());
            Trial::new(Arc::clone(&memory), host("a.example")).end(end);
            assert_eq!(memory.holds(&host("a.example")), remembered, "{end:?}");
            assert!(!memory.holds(&host("b.example")));
        }
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest() {
        let memory = Memory::default();
        for _ in 0..2 {
            for index in 0..=HOSTS {
                memory.note(host(&format!("h{index}.example")));
            }
        }
        assert_eq!(memory.hosts().len(), HOSTS);
        assert!(memory.holds(&host(&format!("h{HOSTS}.example"))));
    }
}

//! The side of the daemon that runs.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::process::{PidfdFlags, getpid, pidfd_open};
use tokio::time::timeout;

use super::{ANSWER, Channel, HandoverError, Identity, LOADING, Message};
use crate::{control::listener::Shared, flow::Memories, sandbox::Frozen};

/// What is shared before anything is given up.
pub(crate) struct Offer<'a> {
    /// Holds the directory of pins.
    pub(crate) pins: BorrowedFd<'a>,
    pub(crate) control: &'a Shared,
    pub(crate) door: BorrowedFd<'a>,
}

impl Channel {
    /// Hears who wants to take over, and waits until it could.
    pub(crate) async fn greet(&self, offer: Offer<'_>) -> Result<(), HandoverError> {
        let (Message::Hello(other), _) = self.receive(ANSWER).await? else {
            return Err(HandoverError::Unexpected);
        };
        if let Err(error) = check(&other) {
            self.refuse(&error).await?;
            return Err(HandoverError::Refused(error));
        }
        let Offer {
            pins,
            control,
            door,
        } = offer;
        let own = pidfd_open(getpid(), PidfdFlags::empty())
            .map_err(|errno| HandoverError::Socket(errno.into()))?;
        let (listener, lock) = (control.listener.as_fd(), control.lock.as_fd());
        let descriptors = [pins, lock, listener, door, own.as_fd()];
        let welcome = Message::Welcome(Identity::own());
        self.send(&welcome, &descriptors).await?;
        tracing::info!(
            pid = other.pid,
            version = other.version,
            "another daemon gets ready to take over"
        );
        match self.receive(LOADING).await? {
            (Message::Ready, _) => Ok(()),
            _ => Err(HandoverError::Unexpected),
        }
    }

    /// Says why it comes to nothing.
    pub(crate) async fn refuse(&self, error: &str) -> Result<(), HandoverError> {
        let error = error.to_owned();
        self.send(&Message::Refused { error }, &[]).await
    }

    /// Passes everything on, and waits for the word that it was taken. After it there is no way back. Tells whether the
    /// other one takes memories.
    pub(crate) async fn give(&self, frozen: &Frozen) -> Result<bool, HandoverError> {
        let mut namespaces = 0;
        for (bequest, listeners) in frozen.namespaces() {
            self.send(&Message::Namespace(bequest), &listeners).await?;
            namespaces += 1;
        }
        self.send(&Message::Complete { namespaces }, &[]).await?;
        match self.receive(ANSWER).await? {
            (Message::Taken { memories }, _) => Ok(memories),
            _ => Err(HandoverError::Unexpected),
        }
    }

    /// Passes on what was learned of the sandboxes' clients. Nobody accepts meanwhile.
    pub(crate) async fn recount(&self, memories: Vec<Memories>) -> Result<(), HandoverError> {
        let send = async {
            for part in memories {
                self.send(&Message::Memories(part), &[]).await?;
            }
            Ok(())
        };
        timeout(ANSWER, send)
            .await
            .unwrap_or(Err(HandoverError::Silent(ANSWER)))
    }

    /// Says that nothing more is accepted here.
    pub(crate) async fn release(&self, last_connection: u64) -> Result<(), HandoverError> {
        self.send(&Message::Released { last_connection }, &[]).await
    }
}

/// Programs and maps of one ABI work together, of whatever release they are.
fn check(other: &Identity) -> Result<(), String> {
    let own = Identity::own();
    if other.abi == own.abi && other.protocol == own.protocol {
        return Ok(());
    }
    Err(format!(
        "interceptor {} (ABI {}, handover {}) runs, and {} (ABI {}, handover {}) cannot go on from where it is: detach its \
         sandboxes, stop it, and start the new one without --takeover",
        own.version, own.abi, own.protocol, other.version, other.abi, other.protocol
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_abi_or_another_protocol_is_refused_with_what_to_do() {
        let own = Identity::own();
        let release = Identity {
            version: "99.0.0".into(),
            ..own.clone()
        };
        assert_eq!(check(&release), Ok(()));
        for other in [
            Identity {
                abi: own.abi + 1,
                ..own.clone()
            },
            Identity {
                protocol: own.protocol + 1,
                ..own.clone()
            },
        ] {
            let refusal = check(&other).unwrap_err();
            assert!(refusal.contains("without --takeover"), "{refusal}");
        }
    }
}

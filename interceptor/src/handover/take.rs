//! The side of the daemon that takes over.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{ANSWER, Channel, HandoverError, Identity, Message, STANDSTILL};
use crate::{control::listener::Shared, flow::Memories, kernel::Listeners, sandbox::Bequest};

/// What the running daemon shares before it gives anything up.
#[derive(Debug)]
pub(crate) struct Welcomed {
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) pins: OwnedFd,
    pub(crate) control: Shared,
    pub(crate) door: OwnedFd,
    pub(crate) process: OtherProcess,
}

/// The daemon to take over from, whatever its number is in whatever namespace.
#[derive(Debug)]
pub(crate) struct OtherProcess(OwnedFd);

impl OtherProcess {
    fn is_gone(&self) -> bool {
        // It is readable once the process has ended (pidfd_open(2)), which is a moment after its sockets were closed.
        let moment = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        matches!(poll(&mut polled, Some(&moment)), Ok(1))
    }
}

/// Each namespace with its listeners.
pub(crate) type Estate = Vec<(Bequest, Listeners)>;

/// What the other daemon leaves when it stops.
#[derive(Debug, Default)]
pub(crate) struct Legacy {
    /// The highest number that it has given a connection; `None` where it has died over it.
    pub(crate) last_connection: Option<u64>,
    pub(crate) memories: Vec<Memories>,
}

impl Channel {
    /// Says who wants to take over.
    pub(crate) async fn introduce(&self) -> Result<Welcomed, HandoverError> {
        self.send(&Message::Hello(Identity::own()), &[]).await?;
        let (Message::Welcome(other), descriptors) = self.receive(ANSWER).await? else {
            return Err(HandoverError::Unexpected);
        };
        let Ok([pins, lock, listener, door, process]) = <[OwnedFd; 5]>::try_from(descriptors)
        else {
            return Err(HandoverError::Unexpected);
        };
        Ok(Welcomed {
            pid: other.pid,
            version: other.version,
            pins,
            control: Shared { listener, lock },
            door,
            process: OtherProcess(process),
        })
    }

    /// Has everything passed on. The running daemon stands still from now on.
    pub(crate) async fn collect(&self) -> Result<Estate, HandoverError> {
        self.send(&Message::Ready, &[]).await?;
        let mut estate = Vec::new();
        // The first one comes when what is under way there is done.
        let mut limit = STANDSTILL;
        loop {
            let received = self.receive(limit).await?;
            limit = ANSWER;
            match received {
                (Message::Namespace(bequest), sockets) => {
                    let listeners = Listeners::inherit(bequest.cookie, bequest.port, sockets)?;
                    estate.push((bequest, listeners));
                }
                (Message::Complete { namespaces }, _) if namespaces == estate.len() => {
                    return Ok(estate);
                }
                _ => return Err(HandoverError::Unexpected),
            }
        }
    }

    /// When it returns, nothing is accepted elsewhere any more.
    ///
    /// # Errors
    /// The other daemon goes on.
    pub(crate) async fn take(&self, other: &OtherProcess) -> Result<Legacy, HandoverError> {
        self.send(&Message::Taken { memories: true }, &[]).await?;
        let mut legacy = Legacy::default();
        loop {
            match self.receive(ANSWER).await {
                Ok((Message::Memories(part), _)) => legacy.memories.push(part),
                Ok((Message::Released { last_connection }, _)) => {
                    legacy.last_connection = Some(last_connection);
                    return Ok(legacy);
                }
                // Alive it has heard nothing of it, or will stop: two that accept must never be.
                Err(HandoverError::Silent(_)) if !other.is_gone() => {
                    tracing::error!("the earlier daemon does not stop: waiting for it, or its end");
                }
                Ok(_) | Err(_) if other.is_gone() => return Ok(legacy),
                Ok(_) => return Err(HandoverError::Unexpected),
                Err(error) => return Err(error),
            }
        }
    }
}

//! The side of the daemon that takes over.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::task::spawn_blocking;

use super::{ANSWER, Channel, HandoverError, Identity, Message, STANDSTILL};
use crate::{control::listener::Shared, flow::Memories, kernel::Listeners, sandbox::Bequest};

/// A process ends a moment after its sockets were closed.
const MOMENT: Duration = Duration::from_secs(1);
/// For a daemon that was told to end while it handed over: longer than it gives its connections.
const ENDING: Duration = Duration::from_secs(20);

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
    /// Whether it ends within `limit`.
    async fn is_gone(&self, limit: Duration) -> bool {
        let Ok(process) = self.0.try_clone() else {
            return false;
        };
        let ended = spawn_blocking(move || {
            // It is readable once the process has ended (pidfd_open(2)).
            let mut polled = [PollFd::new(&process, PollFlags::IN)];
            let limit = Timespec::try_from(limit).ok();
            matches!(poll(&mut polled, limit.as_ref()), Ok(1))
        });
        ended.await.unwrap_or(false)
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
        match self.send(&Message::Taken { memories: true }, &[]).await {
            // What it means is the same as below.
            Ok(()) | Err(HandoverError::Closed) => {}
            Err(error) => return Err(error),
        }
        let mut legacy = Legacy::default();
        loop {
            match self.receive(ANSWER).await {
                Ok((Message::Memories(part), _)) => legacy.memories.push(part),
                Ok((Message::Released { last_connection }, _)) => {
                    legacy.last_connection = Some(last_connection);
                    return Ok(legacy);
                }
                // Alive it has heard nothing of it, or will stop: two that accept must never be.
                Err(HandoverError::Silent(_)) => {
                    if other.is_gone(MOMENT).await {
                        return Ok(legacy);
                    }
                    tracing::error!("the earlier daemon does not stop: waiting for it, or its end");
                }
                // Told to end, it carries its connections for a while; its listeners are safe here.
                Ok(_) | Err(_) if other.is_gone(ENDING).await => return Ok(legacy),
                Ok(_) => return Err(HandoverError::Unexpected),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream as Socket, process::Command};

    use rustix::{
        net::{AddressFamily, SocketFlags, SocketType, socketpair},
        process::{Pid, PidfdFlags, pidfd_open},
    };
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn one_that_is_told_to_end_over_it_is_waited_for_as_long_as_its_connections_may_go_on() {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let channel = Channel::over(UnixStream::from_std(Socket::from(pair.0)).unwrap());
        drop(pair.1);
        let mut ending = Command::new("sleep").arg("2").spawn().unwrap();
        let pid = Pid::from_child(&ending);
        let process = OtherProcess(pidfd_open(pid, PidfdFlags::empty()).unwrap());
        // It has closed the channel before it heard that it was taken over from.
        let waited = channel.take(&process).await;
        ending.wait().unwrap();
        assert_eq!(waited.unwrap().last_connection, None);
    }
}

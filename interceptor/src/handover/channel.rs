//! Packets with descriptors between two daemons.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream as Socket,
    },
    path::Path,
    time::Duration,
};

use rustix::{
    cmsg_space,
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
        SocketType, connect, recvmsg, sendmsg, socket_with,
    },
};
use tokio::{io::Interest, net::UnixStream, time::timeout};

use super::{HandoverError, Message, door};
use crate::kernel::Peer;

/// Bytes of the longest packet.
const PACKET: usize = 64 * 1024;
/// Descriptors of one packet, at most.
const DESCRIPTORS: usize = 5;

/// A connection between two daemons. It keeps the bounds of packets, whatever tokio's type is called.
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

impl Channel {
    /// Reaches the daemon that serves a run directory; `None` when there is none.
    pub(crate) fn open(run_dir: &Path) -> Result<Option<Self>, HandoverError> {
        let path = door::path(run_dir);
        let open = || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
            connect(&socket, &SocketAddrUnix::new(&path)?)?;
            Ok::<_, Errno>(socket)
        };
        match open() {
            Ok(socket) => UnixStream::from_std(Socket::from(socket))
                .map(|socket| Some(Self::over(socket)))
                .map_err(HandoverError::Socket),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
            Err(errno) => Err(HandoverError::Connect {
                path,
                source: errno.into(),
            }),
        }
    }

    pub(super) fn over(socket: UnixStream) -> Self {
        Self(socket)
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> Result<Peer, HandoverError> {
        Peer::of(&self.0).map_err(HandoverError::Socket)
    }

    pub(super) async fn send(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), HandoverError> {
        let packet =
            serde_json::to_vec(message).map_err(|error| HandoverError::Socket(error.into()))?;
        let sent = self.0.async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty()
                && !control.push(SendAncillaryMessage::ScmRights(descriptors))
            {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let data = [IoSlice::new(&packet)];
            Ok(sendmsg(&self.0, &data, &mut control, SendFlags::NOSIGNAL)?)
        });
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(HandoverError::Closed),
            Err(error) => Err(HandoverError::Socket(error)),
        }
    }

    /// The next message, within `limit`.
    pub(super) async fn receive(
        &self,
        limit: Duration,
    ) -> Result<(Message, Vec<OwnedFd>), HandoverError> {
        let received = self.0.async_io(Interest::READABLE, || read_packet(&self.0));
        match timeout(limit, received).await {
            Err(_elapsed) => Err(HandoverError::Silent(limit)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(HandoverError::Closed)
            }
            Ok(Err(error)) => Err(HandoverError::Socket(error)),
            Ok(Ok((packet, _))) if packet.is_empty() => Err(HandoverError::Closed),
            Ok(Ok((packet, descriptors))) => match serde_json::from_slice(&packet) {
                Ok(Message::Refused { error }) => Err(HandoverError::Refused(error)),
                Ok(message) => Ok((message, descriptors)),
                Err(error) => {
                    tracing::debug!(%error, "a message that cannot be read");
                    Err(HandoverError::Unexpected)
                }
            },
        }
    }
}

fn read_packet(socket: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut packet = vec![0; PACKET];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [IoSliceMut::new(&mut packet)];
    let received = recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    let descriptors = descriptors.collect();
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::ErrorKind::InvalidData.into());
    }
    packet.truncate(received.bytes);
    Ok((packet, descriptors))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::handover::Identity;

    const MOMENT: Duration = Duration::from_millis(200);

    fn pair() -> (Channel, Channel) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                .unwrap();
        let over = |socket| Channel(UnixStream::from_std(Socket::from(socket)).unwrap());
        (over(one), over(other))
    }

    #[tokio::test]
    async fn a_message_arrives_with_its_descriptors_and_another_one_without() {
        let (one, other) = pair();
        let file = tempfile::tempfile().unwrap();
        let handles = [file.as_fd(); DESCRIPTORS];
        let hello = Message::Hello(Identity::own());
        one.send(&hello, &handles).await.unwrap();
        one.send(&Message::Ready, &[]).await.unwrap();
        let (message, descriptors) = other.receive(MOMENT).await.unwrap();
        assert_eq!((message, descriptors.len()), (hello, DESCRIPTORS));
        let (message, descriptors) = other.receive(MOMENT).await.unwrap();
        assert_eq!((message, descriptors.len()), (Message::Ready, 0));
    }

    #[test]
    fn a_release_that_knows_nothing_of_memories_is_sent_none() {
        let taken: Message = serde_json::from_str(r#"{"message":"taken"}"#).unwrap();
        assert_eq!(taken, Message::Taken { memories: false });
    }

    #[tokio::test]
    async fn an_end_and_a_silence_are_told_apart() {
        let (one, other) = pair();
        let silent = other.receive(MOMENT).await;
        assert!(matches!(silent, Err(HandoverError::Silent(_))));
        drop(one);
        let closed = other.receive(MOMENT).await;
        assert!(matches!(closed, Err(HandoverError::Closed)));
        let closed = other.send(&Message::Ready, &[]).await;
        assert!(matches!(closed, Err(HandoverError::Closed)));
    }

    #[tokio::test]
    async fn what_is_no_message_or_too_many_descriptors_is_refused() {
        let (one, other) = pair();
        let garbage = [IoSlice::new(b"{\"message\":\"sing\"}")];
        let mut none = SendAncillaryBuffer::default();
        sendmsg(&one.0, &garbage, &mut none, SendFlags::NOSIGNAL).unwrap();
        let unexpected = other.receive(MOMENT).await;
        assert!(matches!(unexpected, Err(HandoverError::Unexpected)));
        let file = tempfile::tempfile().unwrap();
        // A few more may find room in what the buffers are padded with.
        let many = [file.as_fd(); DESCRIPTORS * 3];
        assert!(one.send(&Message::Ready, &many).await.is_err());
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS * 3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&many));
        sendmsg(&one.0, &garbage, &mut control, SendFlags::NOSIGNAL).unwrap();
        let cut = other.receive(MOMENT).await;
        assert!(matches!(cut, Err(HandoverError::Socket(_))));
    }
}

//! The two halves of a stream as one stream of bytes: DATA is what is read and written, END_STREAM is an end, and
//! RST_STREAM a connection that was reset (RFC 8441 §5).

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};
use zeroize::Zeroizing;

use super::piece::Piece;

/// One side of what a stream was switched to. A reset where it is dropped before its end.
#[derive(Debug)]
pub(super) struct Pipe {
    from: RecvStream,
    /// Came, and was not read: its room in the window is not given back yet.
    unread: Bytes,
    to: SendStream<Piece>,
    /// Resolves once what was written last has left: a reset takes back what has not.
    leaving: Option<oneshot::Receiver<()>>,
    ended: bool,
}

impl Pipe {
    pub(super) fn new(from: RecvStream, to: SendStream<Piece>) -> Self {
        Self {
            from,
            unread: Bytes::new(),
            to,
            leaving: None,
            ended: false,
        }
    }

    fn send(&mut self, bytes: Bytes, last: bool) -> io::Result<()> {
        let (piece, passed) = Piece::tracked(bytes);
        self.to.send_data(piece, last).map_err(broken)?;
        self.leaving = Some(passed);
        Ok(())
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.from.poll_data(cx)) {
                Some(Ok(data)) => self.unread = data,
                // How servers take leave of a client that has not ended its side.
                Some(Err(error))
                    if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) =>
                {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                // Trailers mean nothing here.
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.unread.len().min(into.remaining());
        into.put_slice(self.unread.get(..count).unwrap_or_default());
        self.unread.advance(count);
        let window = self.from.flow_control();
        Poll::Ready(window.release_capacity(count).map_err(broken))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.to.reserve_capacity(bytes.len());
        let room = match self.to.capacity() {
            0 => match ready!(self.to.poll_capacity(cx)) {
                Some(room) => room.map_err(broken)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            },
            room => room,
        };
        let part = bytes.get(..room).unwrap_or(bytes);
        // It may hold a secret.
        let owned = Bytes::from_owner(Zeroizing::new(part.to_vec()));
        self.send(owned, false)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(leaving) = &mut self.leaving {
            // Told by being dropped.
            let _dropped = ready!(Pin::new(leaving).poll(cx));
            self.leaving = None;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            self.ended = true;
            self.send(Bytes::new(), true)?;
        }
        self.poll_flush(cx)
    }
}

/// Without the error's text, which a GOAWAY's can be in.
fn broken(error: h2::Error) -> io::Error {
    if error.is_reset() || error.is_go_away() {
        return io::ErrorKind::ConnectionReset.into();
    }
    error
        .into_io()
        .unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
}

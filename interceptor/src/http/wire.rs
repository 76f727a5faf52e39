//! The two ends of a stream, with a buffer and with deadlines.

use std::{io, time::Duration};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout, timeout_at},
};

/// Room made for one read: a TLS record's payload (RFC 8446 §5.1).
const READ: usize = 16 * 1024;
/// Below this much room a read would be wasteful.
const READ_MIN: usize = 2 * 1024;
/// Longest time that a peer may take no byte of what is written to it.
pub(crate) const WRITE_STALL: Duration = Duration::from_secs(60);
/// Longest time that the end of a stream may take to be written.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// After our last byte, the peer has this long to close…
const LINGER: Duration = Duration::from_secs(30);
/// … as long as it is not silent for longer than this.
const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// What a peer sends, and how far it was read.
#[derive(Debug)]
pub(crate) struct Inbound<R> {
    pub(crate) io: R,
    pub(crate) buffer: BytesMut,
    ended: bool,
    torn: bool,
}

impl<R: AsyncRead + Unpin> Inbound<R> {
    pub(crate) fn new(io: R, buffer: BytesMut) -> Self {
        Self {
            io,
            buffer,
            ended: false,
            torn: false,
        }
    }

    /// Appends what arrives next to the buffer; 0 once the peer has ended. Cancelling loses nothing.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        if self.buffer.capacity() - self.buffer.len() < READ_MIN {
            self.buffer.reserve(READ);
        }
        let read = match self.io.read_buf(&mut self.buffer).await {
            Ok(read) => read,
            // TLS without close_notify: common, and an end all the same. Whoever counts on the end looks at `torn`.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.torn = true;
                0
            }
            Err(error) => return Err(error),
        };
        self.ended = read == 0;
        Ok(read)
    }

    /// Drops the empty lines that old clients send after a body (RFC 9112 §2.2); whether there were any.
    pub(crate) fn skip_empty_lines(&mut self) -> bool {
        let before = self.buffer.len();
        while self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
        }
        self.buffer.len() < before
    }

    /// The peer has ended.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// The stream ended without TLS's close_notify: it may have been cut.
    pub(crate) fn torn(&self) -> bool {
        self.torn
    }

    /// Waits for the peer to close after our last byte, so that what it has not yet read is not destroyed by a reset
    /// (RFC 9112 §9.6).
    pub(crate) async fn linger(&mut self) {
        let end = Instant::now() + LINGER;
        loop {
            self.buffer.clear();
            let silence = Instant::now() + LINGER_SILENCE;
            match timeout_at(silence.min(end), self.fill()).await {
                Ok(Ok(read)) if read > 0 => {}
                _ => return,
            }
        }
    }
}

/// What goes to a peer.
#[derive(Debug)]
pub(crate) struct Outbound<W> {
    pub(crate) io: W,
}

impl<W: AsyncWrite + Unpin> Outbound<W> {
    /// Writes all of `bytes` and flushes.
    ///
    /// # Errors
    /// The stream's, or `TimedOut` after [`WRITE_STALL`] without progress.
    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = within(WRITE_STALL, self.io.write(bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
        }
        within(WRITE_STALL, self.io.flush()).await
    }

    /// Ends the stream.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        within(SHUTDOWN, self.io.shutdown()).await
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(late) => Err(late.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::io::ReadBuf;

    use super::*;

    /// Some bytes, then the end that rustls reports when close_notify is missing.
    struct Torn(&'static [u8]);

    impl AsyncRead for Torn {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            into.put_slice(std::mem::take(&mut self.0));
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn an_end_without_close_notify_is_an_end_but_remembered() {
        let mut inbound = Inbound::new(Torn(b"abc"), BytesMut::new());
        assert_eq!(inbound.fill().await.unwrap(), 3);
        assert!(!inbound.torn());
        assert_eq!(inbound.fill().await.unwrap(), 0);
        assert_eq!(inbound.fill().await.unwrap(), 0);
        assert!(inbound.torn());
        assert_eq!(&inbound.buffer[..], b"abc");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_given_up() {
        let (near, _far) = tokio::io::duplex(10);
        let mut outbound = Outbound { io: near };
        outbound.send(b"0123456789").await.unwrap();
        let error = outbound.send(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}

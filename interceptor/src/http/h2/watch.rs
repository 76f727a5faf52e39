//! A socket under HTTP/2 that is looked at from outside: its bytes are counted, a peer that sends nothing but control
//! frames is found, and so is one that does not read.
//!
//! DATA frames without anything are made frames of a kind that does not exist, which has to be ignored (RFC 9113 §4.1):
//! the `h2` crate ends a connection for more than 100 of them in all its life, and servers flush so.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::frames::{Frames, Seen};
use crate::{
    http::wire::WRITE_STALL,
    stats::connection::{Connection, Direction},
};

/// Control frames that come at once, and how many more in each second. grpc-go sends a PING in each round trip of a
/// download, over loopback.
const BURST: f64 = 10_000.0;
const PER_SECOND: f64 = 1_000.0;
/// Each so many bytes that go to the peer let it send one more.
const PER_FRAME: f64 = 512.0;
/// Window updates with which a peer may answer each part of a message that goes to it, whenever it gets to it: a simple
/// client sends one for the stream and one for the connection.
const UPDATES: u64 = 2;
/// What a frame's type is replaced by.
const NO_TYPE: u8 = 0xff;
/// A stream that is taken back costs both sides more than a PING.
const RESET: f64 = 10.0;

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Sight {
    flooded: AtomicBool,
    /// The highest stream that the peer has seen, or will, if it has said so.
    last_stream: AtomicU32,
}

impl Sight {
    /// The peer sent more control frames than anything that works would.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.load(Relaxed)
    }

    /// The peer takes no more streams.
    pub(super) fn is_leaving(&self) -> bool {
        self.last_stream.load(Relaxed) != u32::MAX
    }

    /// The peer has said that it will not look at the stream.
    pub(super) fn is_unseen(&self, stream: u32) -> bool {
        stream > self.last_stream.load(Relaxed)
    }
}

/// What one frame after the other is held against.
#[derive(Debug)]
struct Allowance {
    left: f64,
    since: Instant,
    /// What goes to the peer.
    sent: Frames,
    /// Window updates that it may still answer that with.
    updates: u64,
}

/// One socket.
#[derive(Debug)]
pub(super) struct Watched<S> {
    io: S,
    sight: Arc<Sight>,
    frames: Frames,
    /// `None`: the peer may send what it likes.
    allowance: Option<Allowance>,
    stats: Option<Arc<Connection>>,
    /// Runs while the peer takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    /// `stats` count what the client sends and gets.
    pub(super) fn client(io: S, stats: Arc<Connection>) -> Self {
        Self {
            frames: Frames::of_client(),
            allowance: Some(Allowance {
                left: BURST,
                since: Instant::now(),
                sent: Frames::of_server(),
                updates: 0,
            }),
            stats: Some(stats),
            ..Self::server(io)
        }
    }

    pub(super) fn server(io: S) -> Self {
        Self {
            io,
            sight: Arc::new(Sight {
                flooded: AtomicBool::new(false),
                last_stream: AtomicU32::new(u32::MAX),
            }),
            frames: Frames::of_server(),
            allowance: None,
            stats: None,
            stall: None,
        }
    }

    pub(super) fn sight(&self) -> &Arc<Sight> {
        &self.sight
    }

    fn read(&mut self, bytes: &mut [u8]) {
        let Self {
            io: _,
            sight,
            frames,
            allowance,
            stats,
            stall: _,
        } = self;
        if let Some(stats) = stats {
            stats.count_bytes(Direction::ClientToServer, bytes.len() as u64);
        }
        if let Some(allowance) = allowance {
            allowance.renew();
        }
        let mut nothing = Vec::new();
        frames.push(bytes, |seen| {
            match seen {
                Seen::Nothing(at) => nothing.extend(at),
                Seen::GoAway(last) => sight.last_stream.store(last, Relaxed),
                Seen::Message | Seen::Reset | Seen::WindowUpdate | Seen::Control => {}
            }
            if let Some(allowance) = allowance
                && !allowance.pay(seen)
            {
                sight.flooded.store(true, Relaxed);
            }
        });
        for at in nothing {
            if let Some(kind) = bytes.get_mut(at) {
                *kind = NO_TYPE;
            }
        }
    }

    /// So many of `bytes` have gone.
    fn written(&mut self, bytes: &[io::IoSlice<'_>], written: usize) {
        self.stall = None;
        if let Some(stats) = &self.stats {
            stats.count_bytes(Direction::ServerToClient, written as u64);
        }
        if let Some(allowance) = &mut self.allowance {
            let mut left = written;
            for part in bytes {
                let part = part.split_at(left.min(part.len())).0;
                left -= part.len();
                allowance.earn(part);
            }
        }
    }

    /// The peer takes nothing: for how long?
    fn stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + WRITE_STALL)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl Allowance {
    fn renew(&mut self) {
        let now = Instant::now();
        let passed = now.duration_since(self.since).as_secs_f64();
        self.since = now;
        self.add(passed * PER_SECOND);
    }

    /// These bytes have gone to the peer.
    fn earn(&mut self, bytes: &[u8]) {
        let Self { sent, updates, .. } = self;
        sent.push(bytes, |seen| {
            if seen == Seen::Message {
                *updates += UPDATES;
            }
        });
        self.add(bytes.len() as f64 / PER_FRAME);
    }

    fn add(&mut self, more: f64) {
        self.left = (self.left + more).min(BURST);
    }

    /// Whether a frame may come.
    fn pay(&mut self, seen: Seen) -> bool {
        self.left -= match seen {
            Seen::Message => 0.0,
            Seen::WindowUpdate if self.updates > 0 => {
                self.updates -= 1;
                0.0
            }
            Seen::WindowUpdate | Seen::Control | Seen::Nothing(_) | Seen::GoAway(_) => 1.0,
            Seen::Reset => RESET,
        };
        self.left >= 0.0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.sight.is_flooded() {
            // Nothing more is read: whoever polled sees why.
            return Poll::Pending;
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, into))?;
        self.read(into.filled_mut().get_mut(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                let written = written?;
                self.written(&[io::IoSlice::new(bytes)], written);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => self.stalled(cx).map(Err),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write_vectored(cx, bytes) {
            Poll::Ready(written) => {
                let written = written?;
                self.written(bytes, written);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => self.stalled(cx).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(flushed) => {
                flushed?;
                self.stall = None;
                Poll::Ready(Ok(()))
            }
            Poll::Pending => self.stalled(cx).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_shutdown(cx) {
            Poll::Ready(ended) => Poll::Ready(ended),
            Poll::Pending => self.stalled(cx).map(Err),
        }
    }
}

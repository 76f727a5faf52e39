//! Moves bytes from one socket through a filter to another.

use std::{
    io::{self, IoSlice},
    mem::{self, MaybeUninit},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BufMut as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::filter::{Filter, Stop};
use crate::stats::connection::{Connection, Direction};

/// What is read at once from a socket that says little. Read onto the stack: an idle connection holds no buffer.
const READ_MIN: usize = 4 * 1024;

/// What is read at once from a socket that says much.
const READ_MAX: usize = 64 * 1024;

/// One direction of a connection.
pub(super) struct Lane<F> {
    pub(super) filter: F,
    direction: Direction,
    /// Count what is read; `None`: others do.
    stats: Option<Arc<Connection>>,
    stage: Stage,
    /// The filter has no more to say, and its owner was told so.
    stop: Option<Stop>,
    /// A Close frame of ours, for when the stream ends at a frame's end.
    farewell: Vec<u8>,
    ending: bool,
    source_ended: bool,
    /// Something was read since [`has_read`](Self::has_read) was asked.
    has_read: bool,
    flushed: bool,
    /// What is read at once: grows while reads fill it, shrinks when they do not.
    read: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// From the source through the filter to the sink.
    Flowing,
    /// The filter stopped: what was cleared goes out, then the owner decides.
    Stopped,
    /// Farewell, then the end of the stream.
    Closing,
    /// What still comes is read and thrown away: unread bytes would make the kernel reset the connection, and take
    /// our last words from the other side.
    Discarding,
    Done,
}

/// Why a lane cannot go on by itself.
#[derive(Debug)]
pub(super) enum Trouble {
    Read(io::Error),
    Write(io::Error),
    Stop(Stop),
}

impl<F: Filter> Lane<F> {
    pub(super) fn new(filter: F, direction: Direction, stats: Option<Arc<Connection>>) -> Self {
        Self {
            filter,
            direction,
            stats,
            stage: Stage::Flowing,
            stop: None,
            farewell: Vec::new(),
            ending: false,
            source_ended: false,
            has_read: false,
            flushed: true,
            read: READ_MIN,
        }
    }

    /// Moves what can be moved. Ready when the lane came to its end.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
    ) -> Poll<Result<(), Trouble>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if self.stage != Stage::Discarding && self.stage != Stage::Done {
                ready!(self.poll_write(cx, sink)).map_err(Trouble::Write)?;
            }
            match self.stage {
                Stage::Flowing => {
                    if let Err(stop) = self.filter.process() {
                        self.stop = Some(stop);
                        self.stage = Stage::Stopped;
                    } else if self.has_output() {
                        continue;
                    } else if self.source_ended || self.ending && self.filter.at_boundary() {
                        self.stage = Stage::Closing;
                    } else {
                        let read = ready!(self.poll_read(cx, source)).map_err(Trouble::Read)?;
                        self.source_ended = read == 0;
                        if self.source_ended {
                            self.filter.end();
                        }
                        self.has_read = true;
                        if let Some(stats) = &self.stats {
                            stats.count_bytes(self.direction, read as u64);
                        }
                    }
                }
                Stage::Stopped => match self.stop.take() {
                    Some(stop) => return Poll::Ready(Err(Trouble::Stop(stop))),
                    None => return Poll::Pending,
                },
                Stage::Closing => {
                    if !self.farewell.is_empty() && self.filter.at_boundary() {
                        ready!(self.poll_farewell(cx, sink)).map_err(Trouble::Write)?;
                    }
                    // The other side may have closed already.
                    let _closed: io::Result<()> = ready!(Pin::new(&mut *sink).poll_shutdown(cx));
                    self.stage = if self.ending && !self.source_ended {
                        Stage::Discarding
                    } else {
                        Stage::Done
                    };
                }
                Stage::Discarding => {
                    let mut chunk = [MaybeUninit::uninit(); READ_MIN];
                    let mut chunk = ReadBuf::uninit(&mut chunk);
                    let read = ready!(Pin::new(&mut *source).poll_read(cx, &mut chunk));
                    if read.is_err() || chunk.filled().is_empty() {
                        self.stage = Stage::Done;
                    }
                }
                Stage::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Says `farewell` (if the stream can still take a frame) when the stream ends by itself.
    pub(super) fn set_farewell(&mut self, farewell: Vec<u8>) {
        self.farewell = farewell;
    }

    /// Ends the stream with the current frame and `farewell`.
    pub(super) fn end(&mut self, farewell: Vec<u8>) {
        self.farewell = farewell;
        self.ending = true;
        self.filter.stop();
        if self.stage == Stage::Stopped {
            self.stage = Stage::Closing;
        }
    }

    /// Ends the stream as it is.
    pub(super) fn abandon(&mut self) {
        self.stage = Stage::Done;
    }

    /// The source came to its end by itself.
    pub(super) fn source_ended(&self) -> bool {
        self.source_ended
    }

    /// Has the source said anything since this was last asked?
    pub(super) fn has_read(&mut self) -> bool {
        mem::take(&mut self.has_read)
    }

    /// Nothing will be moved any more.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    fn has_output(&self) -> bool {
        self.filter.output().iter().any(|part| !part.is_empty())
    }

    fn poll_write<W>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        let mut sink = Pin::new(sink);
        loop {
            let [first, second] = self.filter.output();
            let written = match (first.is_empty(), second.is_empty()) {
                (true, true) => break,
                (false, true) => ready!(sink.as_mut().poll_write(cx, first)),
                (true, false) => ready!(sink.as_mut().poll_write(cx, second)),
                (false, false) => {
                    let parts = [IoSlice::new(first), IoSlice::new(second)];
                    ready!(sink.as_mut().poll_write_vectored(cx, &parts))
                }
            }?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.filter.written(written);
            self.flushed = false;
        }
        if !self.flushed {
            ready!(sink.as_mut().poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_farewell<W>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while !self.farewell.is_empty() {
            let written = ready!(Pin::new(&mut *sink).poll_write(cx, &self.farewell))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.farewell.drain(..written);
        }
        Pin::new(sink).poll_flush(cx)
    }

    /// Reads into the filter's input; 0 is the source's end.
    fn poll_read<R>(&mut self, cx: &mut Context<'_>, source: &mut R) -> Poll<io::Result<usize>>
    where
        R: AsyncRead + Unpin,
    {
        let input = self.filter.input();
        let room = self
            .read
            .min(READ_MAX.saturating_sub(input.len()))
            .max(READ_MIN);
        let result = if input.is_empty() && room == READ_MIN {
            let mut chunk = [MaybeUninit::uninit(); READ_MIN];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            let result = Pin::new(source).poll_read(cx, &mut chunk);
            input.extend_from_slice(chunk.filled());
            result.map_ok(|()| chunk.filled().len())
        } else {
            input.reserve(room);
            let mut room = input.limit(room);
            pin!(source.read_buf(&mut room)).poll(cx)
        };
        match result {
            Poll::Pending => {
                self.filter.relax();
                Poll::Pending
            }
            // Real clients often leave out TLS's close_notify.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(0))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(read)) => {
                self.read = match read {
                    _ if read >= room => (room * 4).min(READ_MAX),
                    _ if read < room / 4 => (room / 4).max(READ_MIN),
                    _ => room,
                };
                Poll::Ready(Ok(read))
            }
        }
    }
}

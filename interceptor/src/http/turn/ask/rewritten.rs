//! A request with a body that secrets may go into.
//!
//! The head is held back until the body is complete or [`HOLD`] of it were seen: until then a refusal is an answer and
//! the server has heard nothing, and a body that is complete gets the length that it has. A longer one is chunked. A
//! client that waits for a 100 would wait for ever: its head goes at once. So would one that pauses in its body until it
//! is answered: after [`PAUSE`] its head goes, chunked.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Buf as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Sent, more, refuses};
use crate::{
    http::{
        HttpError,
        body::{
            Taken,
            transcode::{Framer, Unframer},
        },
        framing::Framing,
        head::Version,
        refusal::Refusal,
        request::Request,
        rewriting::reframe,
        turn::{Head, Progress},
        wire::{Inbound, Outbound},
    },
    rewrite::{
        append,
        body::{HOLD, PAUSE, Rewriter},
    },
    stats::connection::{Connection, Direction::ClientToServer},
};

/// Sends a request whose body goes through `rewriter`.
pub(super) async fn rewritten<R, W>(
    client: &mut Inbound<R>,
    upstream: &mut Outbound<W>,
    request: &Request,
    head: Head,
    rewriter: Rewriter,
    progress: &Progress,
    stats: &Connection,
) -> Result<Sent, HttpError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut carriage = Carriage {
        stage: Stage::Held(head),
        unframer: Unframer::new(request.framing),
        rewriter,
        text: Zeroizing::new(Vec::new()),
        wire: Zeroizing::new(Vec::new()),
        secret: false,
        seen: 0,
    };
    loop {
        let taken = match carriage.take(&client.buffer, request, stats) {
            Ok(taken) => taken,
            Err(refusal) => return Ok(Sent::Refused(refusal)),
        };
        client.buffer.advance(taken.bytes);
        stats.count_bytes(ClientToServer, taken.bytes as u64);
        if !carriage.send(upstream).await? {
            return Ok(Sent::Unwanted);
        }
        progress.moved.fetch_add(taken.bytes as u64, Relaxed);
        if taken.complete {
            return Ok(Sent::Whole);
        }
        if carriage.may_begin(request) {
            if let Ok(read) = timeout(PAUSE, more(client)).await {
                read?;
                continue;
            }
            if let Err(refusal) = carriage.begin(request, None, stats) {
                return Ok(Sent::Refused(refusal));
            }
            if !carriage.send(upstream).await? {
                return Ok(Sent::Unwanted);
            }
        }
        more(client).await?;
    }
}

/// A request on its way from one framing into another. Sans-IO.
struct Carriage {
    stage: Stage,
    unframer: Unframer,
    rewriter: Rewriter,
    /// Rewritten, not yet framed.
    text: Zeroizing<Vec<u8>>,
    /// To be sent.
    wire: Zeroizing<Vec<u8>>,
    /// There is a secret in either.
    secret: bool,
    /// Bytes of the body that have come.
    seen: usize,
}

enum Stage {
    Held(Head),
    Sent(Framer),
}

impl Carriage {
    /// Takes what belongs to the body from the front of `input`, and makes of it what is to be sent.
    fn take(
        &mut self,
        input: &[u8],
        request: &Request,
        stats: &Connection,
    ) -> Result<Taken, Refusal> {
        let Self {
            unframer,
            rewriter,
            text,
            seen,
            ..
        } = self;
        let before = rewriter.taken();
        let taken = unframer.push(input, &mut |data: &[u8]| {
            *seen = seen.saturating_add(data.len());
            rewriter.push(data, text).map_err(Refusal::from)
        })?;
        if taken.complete {
            rewriter.finish(text)?;
        }
        self.secret |=
            rewriter.taken() > before || matches!(&self.stage, Stage::Held(Head::Changed(_)));
        if let Stage::Held(_) = self.stage
            && !taken.complete
            && !request.expects
            && self.seen <= HOLD
        {
            return Ok(taken);
        }
        let whole = taken.complete.then_some(self.text.len() as u64);
        let framer = self.begin(request, whole, stats)?;
        if taken.complete {
            framer.end(self.unframer.trailers(), &mut self.wire);
        }
        Ok(taken)
    }

    /// The head may go before the body's length is known.
    fn may_begin(&self, request: &Request) -> bool {
        matches!(self.stage, Stage::Held(_)) && self.framing(request, None).is_ok()
    }

    /// Lets what has come go, behind the head; `whole`: the body's length, if that is known.
    fn begin(
        &mut self,
        request: &Request,
        whole: Option<u64>,
        stats: &Connection,
    ) -> Result<Framer, Refusal> {
        let framer = match &self.stage {
            Stage::Sent(framer) => *framer,
            Stage::Held(head) => {
                let framing = self.framing(request, whole)?;
                if framing == request.framing {
                    append(head.bytes(), &mut self.wire);
                } else {
                    append(&reframe(head.bytes(), framing), &mut self.wire);
                }
                request.count(stats);
                match framing {
                    Framing::Chunked => Framer::Chunked,
                    Framing::Length(_) | Framing::UntilClose => Framer::Plain,
                }
            }
        };
        self.stage = Stage::Sent(framer);
        framer.frame(&self.text, &mut self.wire);
        Ok(framer)
    }

    /// Sends what is to be sent; whether the server takes more.
    async fn send<W>(&mut self, upstream: &mut Outbound<W>) -> Result<bool, HttpError>
    where
        W: AsyncWrite + Unpin,
    {
        if self.wire.is_empty() {
            return Ok(true);
        }
        let sent = upstream.send(&self.wire).await;
        self.sent();
        Ok(!refuses(sent)?)
    }

    /// What was to be sent has gone.
    fn sent(&mut self) {
        // Wiping is slow, and most bodies hold one secret.
        if std::mem::take(&mut self.secret) {
            self.text.zeroize();
            self.wire.zeroize();
        }
        self.text.clear();
        self.wire.clear();
    }

    /// How the body is framed towards the server; `whole`: its length, if that is known.
    fn framing(&self, request: &Request, whole: Option<u64>) -> Result<Framing, Refusal> {
        match (request.framing, whole) {
            (Framing::Length(_), Some(length)) => Ok(Framing::Length(length)),
            (Framing::Length(length), None) if self.rewriter.keeps_length() => {
                Ok(Framing::Length(length))
            }
            (Framing::Length(_), None) if request.version == Version::Http10 => {
                Err(Refusal::LongInHttp10)
            }
            (Framing::Length(_), None) => Ok(Framing::Chunked),
            (framing @ (Framing::Chunked | Framing::UntilClose), _) => Ok(framing),
        }
    }
}

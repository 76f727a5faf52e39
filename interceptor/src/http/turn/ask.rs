//! The request's half of a turn.

mod rewritten;

use std::{io, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use self::rewritten::rewritten;
use super::{Head, Progress};
use crate::{
    http::{
        HttpError,
        body::Body,
        framing::Framing,
        refusal::Refusal,
        request::Request,
        wire::{Inbound, Outbound},
    },
    rewrite::body::Rewriter,
    stats::connection::{Connection, Direction::ClientToServer},
};

/// Longest silence of a client in the middle of a request's body.
const BODY_SILENCE: Duration = Duration::from_secs(300);
/// Most bytes of pipelined requests that are read ahead.
const READ_AHEAD: usize = 64 * 1024;

/// How the client's side of a turn came out.
pub(super) enum Asked {
    /// The request was complete only after its response.
    AfterAnswer,
    /// The client has ended its stream, after a complete request or after the server stopped reading.
    ClientEnded,
    Refused(Refusal),
}

/// How the sending of a request came out.
enum Sent {
    Whole,
    /// It may not go on.
    Refused(Refusal),
    /// The server takes no more of it.
    Unwanted,
}

/// Sends a request, then watches the client until it ends; what it pipelines stays in its buffer.
pub(super) async fn ask<R, W>(
    client: &mut Inbound<R>,
    upstream: &mut Outbound<W>,
    request: &Request,
    head: Head,
    rewriter: Option<Rewriter>,
    progress: &Progress,
    stats: &Connection,
) -> Result<Asked, HttpError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let sent = match rewriter {
        None => verbatim(client, upstream, request.framing, head, progress, stats).await?,
        Some(rewriter) => {
            rewritten(client, upstream, request, head, rewriter, progress, stats).await?
        }
    };
    match sent {
        Sent::Whole => {}
        Sent::Refused(refusal) => return Ok(Asked::Refused(refusal)),
        Sent::Unwanted => {
            // What it sends next is its next request, which another connection may have to take.
            let next = request.framing == Framing::EMPTY;
            return outlast(client, next, progress).await;
        }
    }
    progress.asked.store(true, Relaxed);
    if progress.answered.load(Relaxed) {
        return Ok(Asked::AfterAnswer);
    }

    while client.buffer.len() < READ_AHEAD {
        if client.fill().await.map_err(HttpError::Client)? > 0 {
            continue;
        }
        // Half-closed as the server would have seen it, unless there is more to send.
        if client.buffer.is_empty()
            && let Err(error) = upstream.shutdown().await
        {
            tracing::debug!(%error, "passing the client's end on failed");
        }
        return Ok(Asked::ClientEnded);
    }
    std::future::pending().await
}

/// Sends a request whose body is the bytes that it is.
async fn verbatim<R, W>(
    client: &mut Inbound<R>,
    upstream: &mut Outbound<W>,
    framing: Framing,
    head: Head,
    progress: &Progress,
    stats: &Connection,
) -> Result<Sent, HttpError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let sent = upstream.send(head.bytes()).await;
    drop(head);
    if refuses(sent)? {
        return Ok(Sent::Unwanted);
    }
    let mut body = Body::new(framing);
    loop {
        let taken = match body.push(&client.buffer) {
            Ok(taken) => taken,
            Err(error) => return Ok(Sent::Refused(error.into())),
        };
        if taken.bytes > 0 {
            let bytes = client.buffer.split_to(taken.bytes);
            stats.count_bytes(ClientToServer, bytes.len() as u64);
            if refuses(upstream.send(&bytes).await)? {
                return Ok(Sent::Unwanted);
            }
            progress.moved.fetch_add(bytes.len() as u64, Relaxed);
        }
        if taken.complete {
            return Ok(Sent::Whole);
        }
        more(client).await?;
    }
}

/// Waits for more of the body.
async fn more<R: AsyncRead + Unpin>(client: &mut Inbound<R>) -> Result<(), HttpError> {
    match timeout(BODY_SILENCE, client.fill()).await {
        Ok(Ok(0)) => Err(HttpError::ClientCutShort),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(HttpError::Client(error)),
        Err(_late) => Err(HttpError::BodyStalled(BODY_SILENCE)),
    }
}

/// Whether the server takes no more bytes. One that merely takes none for too long is an error: it could go on later,
/// and would take what follows for something else.
fn refuses(sent: io::Result<()>) -> Result<bool, HttpError> {
    match sent {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(HttpError::Upstream(error)),
        Err(error) => {
            tracing::debug!(%error, "the server takes no more of the request");
            Ok(true)
        }
    }
}

/// The server takes no more bytes, but may have answered already: lets a client that writes before it reads come to an
/// end. `hold`: what it writes is kept.
async fn outlast<R: AsyncRead + Unpin>(
    client: &mut Inbound<R>,
    hold: bool,
    progress: &Progress,
) -> Result<Asked, HttpError> {
    loop {
        if !hold {
            client.buffer.clear();
        } else if client.buffer.len() >= READ_AHEAD {
            return std::future::pending().await;
        }
        if client.fill().await.map_err(HttpError::Client)? == 0 {
            return Ok(Asked::ClientEnded);
        }
        if progress.answered.load(Relaxed) {
            return Ok(Asked::AfterAnswer);
        }
    }
}

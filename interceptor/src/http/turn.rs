//! One request and its response, both under way at once: the server may answer while the body is still being sent.

mod answer;
mod ask;
mod filtered;

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};
use zeroize::Zeroizing;

use self::{
    answer::answer,
    ask::{Asked, ask},
};
use super::{
    HttpError,
    refusal::Refusal,
    request::Request,
    wire::{Inbound, Outbound},
};
use crate::{stats::connection::Connection, websocket::Compression};

/// Longest stretch without a byte either way after the client has half-closed: it may be gone altogether.
const HALF_CLOSED: Duration = Duration::from_secs(300);
/// Longest stretch without a byte of the request's body after the response is complete.
const LATE_BODY: Duration = Duration::from_secs(30);

/// The four halves of the two streams.
#[derive(Debug)]
pub(crate) struct Ends<CR, CW, UR, UW> {
    pub(crate) client: Inbound<CR>,
    pub(crate) to_client: Outbound<CW>,
    pub(crate) upstream: Inbound<UR>,
    pub(crate) to_upstream: Outbound<UW>,
}

/// How a turn came out.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The response is complete.
    Answered(After),
    /// The server closed before the first byte of its response.
    Unanswered,
    /// The server has switched to WebSocket, and the client was told.
    Switched {
        /// With permessage-deflate, in this way.
        deflate: Option<Compression>,
        /// The client was told `client_no_context_takeover` unasked.
        unasked: bool,
    },
    /// The server has switched to another protocol, and the client was told.
    SwitchedTo(Box<str>),
    /// To be told to the client if nothing of a response has gone to it.
    Refused { refusal: Refusal, tellable: bool },
}

/// What may follow a complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Another request, as far as the server says.
    Reuse,
    /// Nothing.
    Close,
    /// Nothing: the server has ended its stream, which ended the response. `torn`: without TLS's close_notify.
    Ended { torn: bool },
}

/// What the two directions tell each other.
#[derive(Debug, Default)]
struct Progress {
    /// The request has gone to the server in full.
    asked: AtomicBool,
    /// The response has gone to the client in full.
    answered: AtomicBool,
    /// A part of a response has gone to the client.
    answering: AtomicBool,
    /// Bytes both ways.
    moved: AtomicU64,
}

/// A request's head as it goes to the server. Gone, and wiped if it holds secrets, as soon as it is written.
pub(crate) enum Head {
    Verbatim(BytesMut),
    Changed(Zeroizing<Vec<u8>>),
}

impl Head {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Verbatim(bytes) => bytes,
            Self::Changed(bytes) => bytes,
        }
    }
}

/// Sends `head` and the body that follows it; brings the response back.
pub(crate) async fn run<CR, CW, UR, UW>(
    ends: &mut Ends<CR, CW, UR, UW>,
    request: &mut Request,
    head: Head,
    stats: &Connection,
) -> Result<Turn, HttpError>
where
    CR: AsyncRead + Unpin,
    CW: AsyncWrite + Unpin,
    UR: AsyncRead + Unpin,
    UW: AsyncWrite + Unpin,
{
    let Ends {
        client,
        to_client,
        upstream,
        to_upstream,
    } = ends;
    let progress = Progress::default();
    let rewriter = request.rewriter.take();
    let reads_body = rewriter.is_some();
    let request = &*request;
    let mut asking = pin!(ask(
        client,
        to_upstream,
        request,
        head,
        rewriter,
        &progress,
        stats
    ));
    let mut answering = pin!(answer(
        upstream, to_client, request, reads_body, &progress, stats
    ));

    let mut answered = false;
    let mut client_ended = false;
    let mut stall = pin!(sleep_until(Instant::now()));
    let mut silence: Option<Duration> = None;
    let mut seen = 0;
    loop {
        tokio::select! {
            // The request first: it must be known to be complete before the response is judged.
            biased;
            asked = &mut asking, if !client_ended => match asked? {
                Asked::AfterAnswer => break,
                Asked::ClientEnded if answered => break,
                Asked::ClientEnded => {
                    client_ended = true;
                    silence = Some(HALF_CLOSED);
                    seen = progress.moved.load(Relaxed);
                    stall.as_mut().reset(Instant::now() + HALF_CLOSED);
                }
                Asked::Refused(refusal) => {
                    let tellable = !progress.answering.load(Relaxed);
                    return Ok(Turn::Refused { refusal, tellable });
                }
            },
            turn = &mut answering, if !answered => {
                let turn = turn?;
                let early = matches!(turn, Turn::Answered(After::Reuse | After::Close));
                if !early || progress.asked.load(Relaxed) || client_ended {
                    return Ok(turn);
                }
                // The rest of the body still goes on, but what would follow it is not read: a server that answers
                // early may take the rest for a request of its own.
                progress.answered.store(true, Relaxed);
                answered = true;
                silence = Some(LATE_BODY);
                seen = progress.moved.load(Relaxed);
                stall.as_mut().reset(Instant::now() + LATE_BODY);
            }
            () = &mut stall, if silence.is_some() => {
                let moved = progress.moved.load(Relaxed);
                let limit = silence.unwrap_or(HALF_CLOSED);
                if moved == seen {
                    if answered {
                        break;
                    }
                    return Err(HttpError::HalfClosed(limit));
                }
                seen = moved;
                stall.as_mut().reset(Instant::now() + limit);
            }
        }
    }
    Ok(Turn::Answered(After::Close))
}

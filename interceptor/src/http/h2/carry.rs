//! Moves a body from one stream to another, at the pace of whoever reads it.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;

use super::{fault::Cut, piece::Piece};

/// How a body came to its end.
pub(super) enum Carried {
    /// It is complete, with its trailers.
    Whole,
    /// The receiver takes no more: it has reset the stream.
    Unwanted(Reason),
}

/// How far some data came.
pub(super) enum Sent {
    /// So many bytes have gone.
    Part(usize),
    /// The receiver takes no more: it has reset the stream.
    Unwanted(Reason),
}

/// Carries all of `from`, and its trailers. What was taken from the sender is given back to its window only when it was
/// handed on: between the two there is never more than that.
///
/// # Errors
/// The sender's side broke, or the receiver's connection.
pub(super) async fn carry(
    from: &mut RecvStream,
    to: &mut SendStream<Piece>,
) -> Result<Carried, Cut> {
    loop {
        let data = tokio::select! {
            biased;
            reset = poll_fn(|cx| to.poll_reset(cx)) => return unwanted(reset),
            data = from.data() => data,
        };
        let Some(data) = data else {
            break;
        };
        let mut data = data.map_err(Cut::Sender)?;
        let last = from.is_end_stream();
        // An empty one ends the body, or says nothing.
        if data.is_empty() && last {
            return end(to, None);
        }
        while !data.is_empty() {
            match send(to, &mut data, last).await? {
                Sent::Part(moved) => give_back(from, moved)?,
                Sent::Unwanted(reason) => return Ok(Carried::Unwanted(reason)),
            }
        }
        if last {
            return Ok(Carried::Whole);
        }
    }
    let trailers = from.trailers().await.map_err(Cut::Sender)?;
    end(to, trailers)
}

/// Sends as much from the front of `data` as there is room for; if that is all and `last`, the body ends with it.
pub(super) async fn send(
    to: &mut SendStream<Piece>,
    data: &mut Bytes,
    last: bool,
) -> Result<Sent, Cut> {
    to.reserve_capacity(data.len());
    let room = match poll_fn(|cx| to.poll_capacity(cx)).await {
        Some(room) => room.map_err(Cut::Receiver)?,
        None => {
            let reset = poll_fn(|cx| to.poll_reset(cx)).await;
            return reset.map(Sent::Unwanted).map_err(Cut::Receiver);
        }
    };
    let part = data.split_to(room.min(data.len()));
    let moved = part.len();
    to.send_data(part.into(), last && data.is_empty())
        .map_err(Cut::Receiver)?;
    Ok(Sent::Part(moved))
}

/// Ends a body whose data has gone.
pub(super) fn end(to: &mut SendStream<Piece>, trailers: Option<HeaderMap>) -> Result<Carried, Cut> {
    let sent = match trailers {
        Some(trailers) => to.send_trailers(trailers),
        None => to.send_data(Piece::default(), true),
    };
    sent.map_err(Cut::Receiver)?;
    Ok(Carried::Whole)
}

/// Lets the sender send so many bytes more.
pub(super) fn give_back(from: &mut RecvStream, bytes: usize) -> Result<(), Cut> {
    from.flow_control()
        .release_capacity(bytes)
        .map_err(Cut::Sender)
}

pub(super) fn unwanted(reset: Result<Reason, h2::Error>) -> Result<Carried, Cut> {
    reset.map(Carried::Unwanted).map_err(Cut::Receiver)
}

//! Moves a body from one stream to another, at the pace of whoever reads it.

use std::future::poll_fn;

use h2::{Reason, RecvStream, SendStream};

use super::{fault::Cut, piece::Piece};

/// How a body came to its end.
pub(super) enum Carried {
    /// It is complete, with its trailers.
    Whole,
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
            return match to.send_data(data.into(), true) {
                Ok(()) => Ok(Carried::Whole),
                Err(error) => Err(Cut::Receiver(error)),
            };
        }
        while !data.is_empty() {
            to.reserve_capacity(data.len());
            let room = match poll_fn(|cx| to.poll_capacity(cx)).await {
                Some(room) => room.map_err(Cut::Receiver)?,
                None => return unwanted(poll_fn(|cx| to.poll_reset(cx)).await),
            };
            let part = data.split_to(room.min(data.len()));
            let moved = part.len();
            to.send_data(part.into(), last && data.is_empty())
                .map_err(Cut::Receiver)?;
            from.flow_control()
                .release_capacity(moved)
                .map_err(Cut::Sender)?;
        }
        if last {
            return Ok(Carried::Whole);
        }
    }
    let sent = match from.trailers().await.map_err(Cut::Sender)? {
        Some(trailers) => to.send_trailers(trailers),
        None => to.send_data(Piece::default(), true),
    };
    sent.map_err(Cut::Receiver)?;
    Ok(Carried::Whole)
}

fn unwanted(reset: Result<Reason, h2::Error>) -> Result<Carried, Cut> {
    reset.map(Carried::Unwanted).map_err(Cut::Receiver)
}

//! A request's body that secrets may go into.
//!
//! As over HTTP/1, the head is held back until the body is complete or [`HOLD`] of it were seen: until then a refusal is
//! an answer and the server has heard nothing, and a body that is complete gets the length that it has. A longer one
//! goes without a length. A client that waits for a 100 would wait for ever: its head goes at once, and that of one which
//! pauses in its body after [`PAUSE`].

use std::{future::poll_fn, mem};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, header::CONTENT_LENGTH};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{
    carry::{Carried, Sent, end, give_back, send, unwanted},
    fault::Cut,
    piece::Piece,
};
use crate::{
    http::refusal::Refusal,
    rewrite::body::{HOLD, PAUSE, Rewriter},
};

/// One body on its way.
pub(super) struct Upload {
    rewriter: Rewriter,
    /// Rewritten, not yet sent.
    text: Zeroizing<Vec<u8>>,
    /// There is a secret in it.
    secret: bool,
    /// Bytes of the body that have come.
    seen: usize,
    complete: bool,
}

impl Upload {
    pub(super) fn new(rewriter: Rewriter) -> Self {
        Self {
            rewriter,
            text: Zeroizing::new(Vec::new()),
            secret: false,
            seen: 0,
            complete: false,
        }
    }

    /// All of it has come.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes as much as the request's head waits for.
    pub(super) async fn hold(&mut self, body: &mut RecvStream) -> Result<(), Cut> {
        while !self.complete && self.seen <= HOLD {
            let Ok(taken) = timeout(PAUSE, self.take(body)).await else {
                return Ok(());
            };
            let taken = taken?;
            // What is held counts as gone: the windows are no larger than what may be held, and others need theirs.
            give_back(body, taken)?;
        }
        Ok(())
    }

    /// Has the request's head tell the length that the body will have, if it tells any and this one is known.
    pub(super) fn measure(&self, head: &mut HeaderMap) {
        if !head.contains_key(CONTENT_LENGTH) {
            return;
        }
        if self.complete {
            head.insert(CONTENT_LENGTH, self.text.len().into());
        } else if !self.rewriter.keeps_length() {
            head.remove(CONTENT_LENGTH);
        }
    }

    /// Sends all of it behind the head, and its trailers.
    pub(super) async fn carry(
        mut self,
        body: &mut RecvStream,
        to: &mut SendStream<Piece>,
    ) -> Result<Carried, Cut> {
        let mut taken = 0;
        loop {
            let trailers = if self.complete {
                body.trailers().await.map_err(Cut::Sender)?
            } else {
                None
            };
            let last = self.complete && trailers.is_none();
            let mut text = self.text();
            let ended = last && !text.is_empty();
            while !text.is_empty() {
                if let Sent::Unwanted(reason) = send(to, &mut text, last).await? {
                    return Ok(Carried::Unwanted(reason));
                }
            }
            give_back(body, taken)?;
            if ended {
                return Ok(Carried::Whole);
            }
            if self.complete {
                return end(to, trailers);
            }
            taken = tokio::select! {
                biased;
                reset = poll_fn(|cx| to.poll_reset(cx)) => return unwanted(reset),
                taken = self.take(body) => taken?,
            };
        }
    }

    /// Takes what comes next, and tells how much of the client's windows it took. Cancelling loses nothing.
    async fn take(&mut self, body: &mut RecvStream) -> Result<usize, Cut> {
        let data = body.data().await.transpose().map_err(Cut::Sender)?;
        let before = self.rewriter.taken();
        let taken = data.as_ref().map_or(0, Bytes::len);
        if let Some(data) = &data {
            self.seen = self.seen.saturating_add(data.len());
            self.rewriter.push(data, &mut self.text).map_err(refused)?;
        }
        self.complete = data.is_none() || body.is_end_stream();
        if self.complete {
            self.rewriter.finish(&mut self.text).map_err(refused)?;
        }
        self.secret |= self.rewriter.taken() > before;
        Ok(taken)
    }

    /// What is to be sent.
    fn text(&mut self) -> Bytes {
        let mut text = mem::take(&mut self.text);
        // Wiping is slow, and most bodies hold one secret.
        if mem::take(&mut self.secret) {
            Bytes::from_owner(text)
        } else {
            Bytes::from(mem::take(&mut *text))
        }
    }
}

fn refused(refusal: crate::rewrite::body::Refusal) -> Cut {
    Cut::Refused(Refusal::from(refusal))
}

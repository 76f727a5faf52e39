//! An answer that secrets may come back in.

use std::{future::poll_fn, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use tokio::time::sleep;

use super::{
    answer::Client,
    carry::{Carried, Sent, end, give_back, send, unwanted},
    fault::Cut,
};
use crate::{
    http::{
        redaction::{Change, Facts, ResponseFilter, Stop, fields},
        refusal::Refusal,
    },
    rewrite::reflection::{Lookout, Patterns, Reflection},
    stats::connection::Connection,
};

/// One answer on its way. It is looked at from when something was written on the connection, on whatever stream.
pub(super) struct Download<'s> {
    lookout: Lookout,
    filter: Option<ResponseFilter>,
    /// Not yet sent.
    head: Option<Response<()>>,
    late: Late,
    /// What may go on of what came, as far as it was not sent.
    data: Vec<u8>,
    stats: &'s Connection,
}

/// What is still to be known of a head that has gone.
struct Late {
    status: StatusCode,
    media_type: Option<HeaderValue>,
    /// It told the body's length.
    sized: bool,
    /// It told codings, which are not to be understood from the middle.
    coded: bool,
}

/// What follows some data.
enum Then {
    More,
    End(Option<HeaderMap>),
}

impl<'s> Download<'s> {
    pub(super) fn new(
        head: Response<()>,
        reflection: &Arc<Reflection>,
        expected: bool,
        stats: &'s Connection,
    ) -> Self {
        let patterns = reflection.patterns_for(expected);
        let fields = head.headers();
        Self {
            filter: patterns.map(|patterns| filter(&head, &patterns)),
            lookout: Lookout::new(Arc::clone(reflection)),
            late: Late {
                status: head.status(),
                media_type: fields.get(CONTENT_TYPE).cloned(),
                sized: fields.contains_key(CONTENT_LENGTH),
                coded: fields.contains_key(CONTENT_ENCODING),
            },
            head: Some(head),
            data: Vec::new(),
            stats,
        }
    }

    /// Carries all of it. What was taken from the server is given back to its window only when it was handed on, or has
    /// become a part of what is held.
    pub(super) async fn carry(
        mut self,
        from: &mut RecvStream,
        client: &mut Client,
    ) -> Result<Carried, Cut> {
        if let Some(reason) = self.go_on(client, Then::More).await? {
            return Ok(Carried::Unwanted(reason));
        }
        loop {
            let patience = self.filter.as_ref().and_then(ResponseFilter::patience);
            let data = tokio::select! {
                biased;
                reset = poll_fn(|cx| client.poll_reset(cx)) => return unwanted(reset),
                data = from.data() => data,
                () = pause(patience) => {
                    self.rest(client).await?;
                    continue;
                }
            };
            let data = match data.transpose() {
                Ok(data) => data,
                Err(error) => {
                    // What the server did not mean so is answered otherwise.
                    if !error.is_library() {
                        self.let_go(client).await?;
                    }
                    return Err(Cut::Sender(error));
                }
            };
            let then = if data.is_none() {
                Then::End(from.trailers().await.map_err(Cut::Sender)?)
            } else if from.is_end_stream() {
                Then::End(None)
            } else {
                Then::More
            };
            let last = matches!(then, Then::End(_));
            let data = data.unwrap_or_default();
            let taken = data.len();
            if let Some(reason) = self.pass(data, then, client).await? {
                return Ok(Carried::Unwanted(reason));
            }
            give_back(from, taken)?;
            if last {
                return Ok(Carried::Whole);
            }
        }
    }

    /// Takes more of the body. `Some`: the client wants no more.
    async fn pass(
        &mut self,
        data: Bytes,
        then: Then,
        client: &mut Client,
    ) -> Result<Option<Reason>, Cut> {
        self.look();
        let Some(filter) = &mut self.filter else {
            return self.send(client, data, then).await;
        };
        filter.push(&data, &mut self.data).map_err(stopped)?;
        self.go_on(client, then).await
    }

    /// The server has ended its answer in the middle: all that came before, and can go, goes before that.
    async fn let_go(&mut self, client: &mut Client) -> Result<(), Cut> {
        while self
            .filter
            .as_ref()
            .is_some_and(|filter| filter.patience().is_some())
        {
            match self.rest(client).await {
                Ok(()) => {}
                Err(Cut::Refused(_)) => break,
                Err(cut) => return Err(cut),
            }
        }
        Ok(())
    }

    /// The server pauses: nothing that can go may wait. That the client wants no more is heard when there is more.
    async fn rest(&mut self, client: &mut Client) -> Result<(), Cut> {
        if let Some(filter) = &mut self.filter {
            filter.rest(&mut self.data).map_err(stopped)?;
            self.go_on(client, Then::More).await?;
        }
        Ok(())
    }

    /// Sends what may go on.
    async fn go_on(&mut self, client: &mut Client, mut then: Then) -> Result<Option<Reason>, Cut> {
        let complete = matches!(then, Then::End(_));
        loop {
            let Some(filter) = &mut self.filter else {
                return self.send(client, Bytes::new(), then).await;
            };
            let last = filter
                .step(complete, &mut self.data, self.stats)
                .map_err(stopped)?;
            if !filter.holds() {
                let data = mem::take(&mut self.data).into();
                let next = if last {
                    mem::replace(&mut then, Then::More)
                } else {
                    Then::More
                };
                if let Some(reason) = self.send(client, data, next).await? {
                    return Ok(Some(reason));
                }
            }
            if last {
                return Ok(None);
            }
        }
    }

    /// Sends `data`, behind the head.
    async fn send(
        &mut self,
        client: &mut Client,
        mut data: Bytes,
        then: Then,
    ) -> Result<Option<Reason>, Cut> {
        if let Some(mut head) = self.head.take() {
            let change = self.filter.as_ref().map(ResponseFilter::change);
            self.redact(head.headers_mut(), change.unwrap_or_default());
            client.send_head(head, false).map_err(Cut::Receiver)?;
        }
        let Some(to) = &mut client.body else {
            return Ok(None);
        };
        let last = matches!(then, Then::End(None));
        let mut ended = false;
        while !data.is_empty() {
            if let Sent::Unwanted(reason) = send(to, &mut data, last).await? {
                return Ok(Some(reason));
            }
            ended = last;
        }
        if let Then::End(mut trailers) = then
            && !ended
        {
            if let Some(trailers) = &mut trailers {
                self.redact(trailers, Change::default());
            }
            end(to, trailers)?;
        }
        Ok(None)
    }

    fn redact(&mut self, fields: &mut HeaderMap, change: Change) {
        if let Some(patterns) = self.lookout.patterns() {
            let found = fields::redact(fields, patterns, change);
            self.stats.count_redactions(found);
        }
    }

    /// Searches for what was written meanwhile, too.
    fn look(&mut self) {
        let Self {
            lookout,
            filter,
            late,
            ..
        } = self;
        let Some(patterns) = lookout.patterns() else {
            return;
        };
        match filter {
            Some(filter) => filter.arm(patterns),
            None => *filter = Some(late.filter(patterns)),
        }
    }
}

impl Late {
    /// For what is still to come of the body.
    fn filter(&self, patterns: &Arc<Patterns>) -> ResponseFilter {
        if self.coded {
            return ResponseFilter::unread();
        }
        let facts = Facts {
            status: self.status.as_u16(),
            media_type: self.media_type.as_ref().map(HeaderValue::as_bytes),
            // No head waits for it any more.
            length: self.sized.then_some(u64::MAX),
        };
        ResponseFilter::new(patterns, facts, std::iter::empty())
    }
}

/// For the body of the answer with this head.
fn filter(head: &Response<()>, patterns: &Arc<Patterns>) -> ResponseFilter {
    let fields = head.headers();
    let length = fields
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse().ok());
    let facts = Facts {
        status: head.status().as_u16(),
        media_type: fields.get(CONTENT_TYPE).map(HeaderValue::as_bytes),
        length,
    };
    let codings = fields.get_all(CONTENT_ENCODING).iter();
    ResponseFilter::new(patterns, facts, codings.map(HeaderValue::as_bytes))
}

async fn pause(patience: Option<Duration>) {
    match patience {
        Some(patience) => sleep(patience).await,
        None => std::future::pending().await,
    }
}

fn stopped(stop: Stop) -> Cut {
    Cut::Refused(Refusal::Reflected(stop))
}

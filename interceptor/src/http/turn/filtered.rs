//! A response that secrets may come back in.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use zeroize::Zeroizing;

use super::{
    After, Progress, Turn,
    answer::{Final, pass_on},
};
use crate::{
    http::{
        HttpError,
        body::{
            BodyError,
            transcode::{Framer, Unframer},
        },
        framing::Framing,
        head::{ResponseHead, Version},
        redaction::{
            Facts, Length, ResponseFilter, Stop,
            head::{self, Instead},
        },
        refusal::Refusal,
        request::Request,
        wire::{Inbound, Outbound},
    },
    rewrite::reflection::{Lookout, Patterns},
    stats::connection::Connection,
};

/// One response on its way.
struct Filtered<'t> {
    lookout: Lookout,
    filter: ResponseFilter,
    framing: Framing,
    framer: Framer,
    after: After,
    version: Version,
    /// Not yet sent.
    head: Option<BytesMut>,
    /// The body's data that may go on, as far as it was not sent.
    data: Vec<u8>,
    progress: &'t Progress,
    stats: &'t Connection,
}

/// Why a body does not go on.
enum Fault {
    Malformed(BodyError),
    Stop(Stop),
}

/// Brings the response with `head` back, whose body's beginning may have come already.
pub(super) async fn filtered<R, W>(
    (upstream, client): (&mut Inbound<R>, &mut Outbound<W>),
    request: &Request,
    Final {
        length,
        framing,
        after,
    }: Final,
    patterns: &Arc<Patterns>,
    progress: &Progress,
    stats: &Connection,
) -> Result<Turn, HttpError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let head = upstream.buffer.split_to(length);
    let filter = match filter(&head, framing, patterns) {
        Ok(filter) => filter,
        Err(refusal) => return Ok(refused(refusal, progress)),
    };
    let mut response = Filtered {
        lookout: Lookout::new(Arc::clone(&request.reflection)),
        filter,
        framing,
        framer: match framing {
            Framing::Chunked => Framer::Chunked,
            Framing::Length(_) | Framing::UntilClose => Framer::Plain,
        },
        after,
        version: request.version,
        head: Some(head),
        data: Vec::new(),
        progress,
        stats,
    };
    let mut unframer = Unframer::new(framing);
    loop {
        response.arm();
        let Filtered { filter, data, .. } = &mut response;
        let taken = unframer.push(&upstream.buffer, &mut |piece| {
            filter.push(piece, data).map_err(Fault::Stop)
        });
        let taken = match taken {
            Ok(taken) => taken,
            Err(Fault::Malformed(error)) => {
                return Ok(refused(Refusal::ResponseBody(error), progress));
            }
            Err(Fault::Stop(stop)) => return Ok(refused(Refusal::Reflected(stop), progress)),
        };
        upstream.buffer.advance(taken.bytes);
        let complete = taken.complete;
        if let Err(stop) = response
            .go_on(client, complete, unframer.trailers())
            .await?
        {
            return Ok(refused(Refusal::Reflected(stop), progress));
        }
        if complete {
            return Ok(Turn::Answered(response.after));
        }
        // The sender may rest more than once, until there is nothing more to let go.
        let read = loop {
            let Some(patience) = response.filter.patience() else {
                break upstream.fill().await;
            };
            if let Ok(read) = timeout(patience, upstream.fill()).await {
                break read;
            }
            if let Err(stop) = response.rest(client).await? {
                return Ok(refused(Refusal::Reflected(stop), progress));
            }
        };
        let broken = match read {
            Ok(1..) => continue,
            Ok(0) if unframer.ends_with_close() => None,
            Ok(0) => Some(HttpError::UpstreamCutShort),
            Err(error) => Some(HttpError::Upstream(error)),
        };
        if let Some(broken) = broken {
            // All that came before goes before that.
            while response.filter.patience().is_some() && response.rest(client).await?.is_ok() {}
            return Err(broken);
        }
        if let Err(stop) = response.go_on(client, true, &[]).await? {
            return Ok(refused(Refusal::Reflected(stop), progress));
        }
        let torn = upstream.torn();
        return Ok(Turn::Answered(After::Ended { torn }));
    }
}

impl Filtered<'_> {
    /// Searches for what was written meanwhile, too.
    fn arm(&mut self) {
        if let Some(patterns) = self.lookout.patterns() {
            self.filter.arm(patterns);
        }
    }

    /// The sender pauses: nothing that can go may wait.
    async fn rest<W: AsyncWrite + Unpin>(
        &mut self,
        client: &mut Outbound<W>,
    ) -> Result<Result<(), Stop>, HttpError> {
        match self.filter.rest(&mut self.data) {
            Ok(()) => self.go_on(client, false, &[]).await,
            Err(stop) => Ok(Err(stop)),
        }
    }

    /// Sends what may go on of the body, and its end if it is `complete`.
    async fn go_on<W: AsyncWrite + Unpin>(
        &mut self,
        client: &mut Outbound<W>,
        complete: bool,
        trailers: &[u8],
    ) -> Result<Result<(), Stop>, HttpError> {
        loop {
            let last = match self.filter.step(complete, &mut self.data, self.stats) {
                Ok(last) => last,
                Err(stop) => return Ok(Err(stop)),
            };
            let end = (complete && last).then_some(trailers);
            self.send(client, end).await?;
            if last {
                return Ok(Ok(()));
            }
        }
    }

    async fn send<W: AsyncWrite + Unpin>(
        &mut self,
        client: &mut Outbound<W>,
        end: Option<&[u8]>,
    ) -> Result<(), HttpError> {
        if self.filter.holds() {
            return Ok(());
        }
        let mut out = Zeroizing::new(Vec::new());
        if let Some(head) = self.head.take() {
            *out = self.changed_head(&head);
        }
        self.framer.frame(&self.data, &mut out);
        self.data.clear();
        if let Some(trailers) = end {
            let trailers = match self.lookout.patterns() {
                Some(patterns) => {
                    let (trailers, found) = head::trailers(trailers, patterns);
                    self.stats.count_redactions(found);
                    trailers.into()
                }
                None => Cow::Borrowed(trailers),
            };
            self.framer.end(&trailers, &mut out);
        }
        if out.is_empty() {
            return Ok(());
        }
        pass_on(client, &out, self.progress, self.stats).await
    }

    fn changed_head(&mut self, raw: &[u8]) -> Vec<u8> {
        let change = self.filter.change();
        let mut instead = Instead::Chunked;
        if change.length == Length::Unknown && matches!(self.framing, Framing::Length(_)) {
            match self.version {
                Version::Http11 => self.framer = Framer::Chunked,
                Version::Http10 => {
                    instead = Instead::Nothing;
                    self.after = After::Close;
                }
            }
        }
        // Nothing is changed where nothing was written yet.
        let Some(patterns) = self.lookout.patterns() else {
            return raw.to_vec();
        };
        let (head, found) = head::head(raw, patterns, change, instead);
        self.stats.count_redactions(found);
        head
    }
}

fn filter(
    raw: &[u8],
    framing: Framing,
    patterns: &Arc<Patterns>,
) -> Result<ResponseFilter, Refusal> {
    let head = ResponseHead::parse(raw).map_err(Refusal::Response)?;
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::Chunked | Framing::UntilClose => None,
    };
    let facts = Facts {
        status: head.status,
        media_type: head.fields.all("content-type").next(),
        length,
    };
    let encodings = head.fields.all("content-encoding");
    Ok(ResponseFilter::new(patterns, facts, encodings))
}

fn refused(refusal: Refusal, progress: &Progress) -> Turn {
    Turn::Refused {
        refusal,
        tellable: !progress.answering.load(Relaxed),
    }
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        Self::Malformed(error)
    }
}

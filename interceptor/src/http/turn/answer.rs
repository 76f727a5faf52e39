//! The response's half of a turn.

use std::{borrow::Cow, sync::atomic::Ordering::Relaxed};

use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::{After, Progress, Turn, filtered::filtered};
use crate::{
    http::{
        HttpError, MAX_INTERIM,
        body::Body,
        framing::Framing,
        head::{Fields, HeadError, ResponseHead, Scanner},
        redaction::{
            Change,
            head::{self, Instead},
        },
        refusal::Refusal,
        request::{Request, Switch},
        reuse::Kept,
        rewriting::{self, Edit, Edits},
        wire::{Inbound, Outbound},
    },
    stats::connection::{Connection, Direction::ServerToClient},
    websocket::{
        Compression,
        handshake::{Agreement, EXTENSIONS},
    },
};

/// A response that is not interim.
pub(super) struct Final {
    /// Of its head, in bytes; that stands at the front of what has come.
    pub(super) length: usize,
    pub(super) framing: Framing,
    pub(super) after: After,
}

/// Brings the response back, interim ones included. `reads_body`: secrets may be put into the request's body.
pub(super) async fn answer<R, W>(
    upstream: &mut Inbound<R>,
    client: &mut Outbound<W>,
    request: &Request,
    reads_body: bool,
    progress: &Progress,
    stats: &Connection,
) -> Result<Turn, HttpError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let refused = |refusal| {
        Ok(Turn::Refused {
            refusal,
            tellable: true,
        })
    };
    let mut interim = 0;
    loop {
        let length = match read_head(upstream, &request.kept).await? {
            Read::Head(length) => length,
            Read::Ended => return Ok(Turn::Unanswered),
            Read::Malformed(error) => return refused(Refusal::Response(error)),
        };
        let judged = judge(upstream.buffer.get(..length).unwrap_or_default(), request);
        let last = match judged {
            Ok(Judged::Interim) if interim == MAX_INTERIM => {
                return refused(Refusal::TooManyInterim(MAX_INTERIM));
            }
            Ok(Judged::Interim) => {
                interim += 1;
                let head = upstream.buffer.split_to(length);
                pass_on(client, &redacted(&head, request, stats), progress, stats).await?;
                progress.answering.store(false, Relaxed);
                continue;
            }
            // The rest of the body would be taken for the new protocol.
            Ok(Judged::SwitchTo(_)) if !progress.asked.load(Relaxed) => {
                return refused(Refusal::UnaskedSwitch);
            }
            Ok(Judged::SwitchTo(protocol)) => {
                let head = upstream.buffer.split_to(length);
                pass_switch_on(client, &head, request, progress, stats).await?;
                return Ok(Turn::SwitchedTo(protocol));
            }
            Ok(Judged::Switch { deflate, changed }) => {
                let head = upstream.buffer.split_to(length);
                let unasked = changed.is_some();
                let head = changed.as_ref().map_or(&*head, |changed| changed);
                pass_switch_on(client, head, request, progress, stats).await?;
                return Ok(Turn::Switched { deflate, unasked });
            }
            Ok(Judged::Final(framing, after)) => Final {
                length,
                framing,
                after,
            },
            Err(refusal) => return refused(refusal),
        };

        // What is put into the rest of the request's body may come back behind the head of an early answer.
        let expected = reads_body && !progress.asked.load(Relaxed);
        if let Some(patterns) = request.reflection.patterns_for(expected) {
            stats.count_message(ServerToClient);
            let parts = (upstream, client);
            return filtered(parts, request, last, &patterns, progress, stats).await;
        }
        // The head goes on together with what has come of the body: one write, one segment.
        let Final { framing, after, .. } = last;
        let mut body = Body::new(framing);
        let mut taken = match body.push(upstream.buffer.get(length..).unwrap_or_default()) {
            Ok(taken) => taken,
            Err(error) => return refused(Refusal::ResponseBody(error)),
        };
        taken.bytes += length;
        stats.count_message(ServerToClient);
        loop {
            let bytes = upstream.buffer.split_to(taken.bytes);
            pass_on(client, &bytes, progress, stats).await?;
            if taken.complete {
                return Ok(Turn::Answered(after));
            }
            if upstream.fill().await.map_err(HttpError::Upstream)? == 0 {
                if !body.ends_with_close() {
                    return Err(HttpError::UpstreamCutShort);
                }
                let torn = upstream.torn();
                return Ok(Turn::Answered(After::Ended { torn }));
            }
            taken = match body.push(&upstream.buffer) {
                Ok(taken) => taken,
                Err(error) => {
                    let refusal = Refusal::ResponseBody(error);
                    let tellable = false;
                    return Ok(Turn::Refused { refusal, tellable });
                }
            };
        }
    }
}

/// The head of an interim response, or one that switches, without secrets.
fn redacted<'h>(raw: &'h [u8], request: &Request, stats: &Connection) -> Cow<'h, [u8]> {
    let Some(patterns) = request.reflection.patterns() else {
        return raw.into();
    };
    let (head, found) = head::head(raw, &patterns, Change::default(), Instead::Nothing);
    stats.count_redactions(found);
    head.into()
}

/// Passes on the head of a 101, without the secrets that it repeats.
async fn pass_switch_on<W: AsyncWrite + Unpin>(
    client: &mut Outbound<W>,
    head: &[u8],
    request: &Request,
    progress: &Progress,
    stats: &Connection,
) -> Result<(), HttpError> {
    pass_on(client, &redacted(head, request, stats), progress, stats).await?;
    stats.count_message(ServerToClient);
    Ok(())
}

pub(super) async fn pass_on<W: AsyncWrite + Unpin>(
    client: &mut Outbound<W>,
    bytes: &[u8],
    progress: &Progress,
    stats: &Connection,
) -> Result<(), HttpError> {
    progress.answering.store(true, Relaxed);
    stats.count_bytes(ServerToClient, bytes.len() as u64);
    client.send(bytes).await.map_err(HttpError::Client)?;
    progress.moved.fetch_add(bytes.len() as u64, Relaxed);
    Ok(())
}

enum Read {
    /// The first so many bytes of the buffer.
    Head(usize),
    Ended,
    Malformed(HeadError),
}

/// Waits for a response's head, for as long as the client does: a long poll has no other limit.
async fn read_head<R: AsyncRead + Unpin>(
    upstream: &mut Inbound<R>,
    kept: &Kept,
) -> Result<Read, HttpError> {
    let mut scanner = Scanner::default();
    loop {
        match scanner.find(&upstream.buffer) {
            Ok(Some(length)) => return Ok(Read::Head(length)),
            Ok(None) => {}
            Err(error) => return Ok(Read::Malformed(error)),
        }
        if upstream.fill().await.map_err(HttpError::Upstream)? == 0 {
            if upstream.buffer.is_empty() {
                return Ok(Read::Ended);
            }
            return Err(HttpError::UpstreamCutShort);
        }
        kept.forget();
    }
}

/// What a response's head means.
enum Judged {
    /// 1xx other than 101: another head follows.
    Interim,
    /// 101, properly asked for and properly answered.
    Switch {
        /// permessage-deflate was agreed on, in this way.
        deflate: Option<Compression>,
        /// The head that the client has to see instead.
        changed: Option<Zeroizing<Vec<u8>>>,
    },
    /// 101, to another protocol that was asked for.
    SwitchTo(Box<str>),
    Final(Framing, After),
}

fn judge(raw: &[u8], request: &Request) -> Result<Judged, Refusal> {
    let head = ResponseHead::parse(raw).map_err(Refusal::Response)?;
    let framing = Framing::of_response(&head.fields, head.version, head.status, request.to_head)
        .map_err(Refusal::Response)?;
    match (head.status, &request.offer) {
        (101, Switch::Other(protocol)) => {
            let mut switched = head.fields.list("upgrade");
            let agreed = switched
                .next()
                .is_some_and(|answer| answer.eq_ignore_ascii_case(protocol.as_bytes()));
            if agreed && switched.next().is_none() {
                Ok(Judged::SwitchTo(protocol.clone()))
            } else {
                Err(Refusal::UnaskedSwitch)
            }
        }
        (101, Switch::WebSocket(offer)) => {
            let Agreement {
                deflate,
                extensions,
            } = offer
                .check_answer(head.fields.iter())
                .map_err(Refusal::WebSocketAnswer)?;
            let changed =
                extensions.and_then(|value| with_value(raw, &head.fields, EXTENSIONS, value));
            Ok(Judged::Switch { deflate, changed })
        }
        (101, Switch::Nothing) => Err(Refusal::UnaskedSwitch),
        (100..=199, _) => Ok(Judged::Interim),
        _ if head.fields.persistent(head.version) => Ok(Judged::Final(framing, After::Reuse)),
        _ => Ok(Judged::Final(framing, After::Close)),
    }
}

/// The head with another value for the field `name`, which stands in it once.
fn with_value(
    raw: &[u8],
    fields: &Fields<'_>,
    name: &str,
    value: Vec<u8>,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut value = Some(Zeroizing::new(value));
    let mut edits = Edits::none(fields);
    for ((other, _), edit) in fields.iter().zip(&mut edits.fields) {
        let value = value.take_if(|_| other.eq_ignore_ascii_case(name));
        *edit = value.map_or(Edit::Keep, Edit::Value);
    }
    rewriting::write(raw, &edits)
}

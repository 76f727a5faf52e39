//! The answer's half of an exchange.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use h2::{Reason, RecvStream, SendStream, client::ResponseFuture, server::SendResponse};
use http::{Response, StatusCode};

use super::{carry::Carried, download::Download, fault::Cut, piece::Piece, stream::Break};
use crate::{
    http::{
        MAX_INTERIM,
        redaction::{Change, fields},
        refusal::Refusal,
    },
    rewrite::reflection::Reflection,
    stats::connection::{Connection, Direction::ServerToClient},
};

/// What goes to the client on one stream: a head first, then a body.
pub(super) struct Client {
    pub(super) respond: SendResponse<Piece>,
    /// Once the head has gone.
    pub(super) body: Option<SendStream<Piece>>,
}

/// Brings the answer back, interim ones included, without the secrets that come back in it.
pub(super) async fn answer(
    response: ResponseFuture,
    client: &mut Client,
    reflection: &Arc<Reflection>,
    stats: &Connection,
) -> Result<(), Break> {
    let answered = await_answer(response, client, reflection, stats).await?;
    pass_answer(answered, client, reflection, stats).await
}

/// Waits for the answer, and passes interim ones on.
pub(super) async fn await_answer(
    mut response: ResponseFuture,
    client: &mut Client,
    reflection: &Reflection,
    stats: &Connection,
) -> Result<Response<RecvStream>, Break> {
    let mut interim = 0;
    loop {
        let next = tokio::select! {
            biased;
            reset = poll_fn(|cx| client.poll_reset(cx)) => return Err(Break::client(reset)),
            next = poll_fn(|cx| poll_head(&mut response, cx)) => next.map_err(Break::Server)?,
        };
        match next {
            Head::Final(response) => return Ok(response),
            // HTTP/2 has no such thing (RFC 9113 §8.6).
            Head::Interim(head) if head.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Break::Refused(Refusal::UnaskedSwitch));
            }
            Head::Interim(_) if interim == MAX_INTERIM => {
                return Err(Break::Refused(Refusal::TooManyInterim(MAX_INTERIM)));
            }
            Head::Interim(mut head) => {
                interim += 1;
                head.extensions_mut().clear();
                redact(&mut head, reflection, stats);
                client
                    .respond
                    .send_informational(head)
                    .map_err(Break::client_error)?;
            }
        }
    }
}

/// Passes an answer on, to its end.
pub(super) async fn pass_answer(
    answered: Response<RecvStream>,
    client: &mut Client,
    reflection: &Arc<Reflection>,
    stats: &Connection,
) -> Result<(), Break> {
    let (head, mut body) = answered.into_parts();
    stats.count_message(ServerToClient);
    let mut head = Response::from_parts(head, ());
    head.extensions_mut().clear();
    if body.is_end_stream() {
        redact(&mut head, reflection, stats);
        return client.send_head(head, true).map_err(Break::client_error);
    }
    let download = Download::new(head, reflection, stats);
    match download.carry(&mut body, client).await {
        Ok(Carried::Whole) => Ok(()),
        Ok(Carried::Unwanted(reason)) => Err(Break::ClientReset(reason)),
        Err(Cut::Sender(error)) => Err(Break::Server(error)),
        Err(Cut::Receiver(error)) => Err(Break::client_error(error)),
        Err(Cut::Refused(refusal)) => Err(Break::Refused(refusal)),
    }
}

/// Takes secrets out of a head that no body follows.
pub(super) fn redact(head: &mut Response<()>, reflection: &Reflection, stats: &Connection) {
    if let Some(patterns) = reflection.patterns() {
        let found = fields::redact(head.headers_mut(), &patterns, Change::default());
        stats.count_redactions(found);
    }
}

impl Client {
    pub(super) fn send_head(
        &mut self,
        head: Response<()>,
        complete: bool,
    ) -> Result<(), h2::Error> {
        self.body = Some(self.respond.send_response(head, complete)?);
        Ok(())
    }

    /// Whether it wants no more.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        match &mut self.body {
            Some(body) => body.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        }
    }
}

enum Head {
    /// 1xx: another head follows.
    Interim(Response<()>),
    Final(Response<RecvStream>),
}

fn poll_head(response: &mut ResponseFuture, cx: &mut Context<'_>) -> Poll<Result<Head, h2::Error>> {
    if let Some(head) = ready!(response.poll_informational(cx)) {
        return Poll::Ready(head.map(Head::Interim));
    }
    Pin::new(response).poll(cx).map_ok(Head::Final)
}

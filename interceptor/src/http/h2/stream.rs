//! One request and its answer, both under way at once, and who is told when one of them breaks.

use std::{future::poll_fn, pin::pin, sync::Arc};

use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
    server::SendResponse,
};
use http::Request;

use super::{
    answer::{Client, answer},
    carry::{Carried, carry},
    fault::Cut,
    piece::Piece,
    request::Allowed,
    upload::Upload,
    watch::Sight,
    websocket::Switched,
};
use crate::{
    http::{head::HeadError, refusal::Refusal},
    rewrite::reflection::Reflection,
    stats::connection::{Connection, Direction::ClientToServer},
};

/// A request that goes to the server, and what it takes to answer it.
pub(super) struct Stream {
    pub(super) request: Allowed,
    pub(super) body: RecvStream,
    pub(super) respond: SendResponse<Piece>,
    pub(super) server: SendRequest<Piece>,
    /// Of the server's socket.
    pub(super) sight: Arc<Sight>,
    /// What was written on the connection.
    pub(super) reflection: Arc<Reflection>,
    pub(super) stats: Arc<Connection>,
}

/// How a stream came out, for the connection to count.
pub(super) enum Outcome {
    Done,
    /// Answered in the server's place.
    Refused(Refusal),
    /// Ended for the policy: one of a fixed set of codes, and the reason.
    Denied(&'static str, String),
    /// It is to carry a WebSocket from here on.
    Switched(Box<Switched>),
}

/// Why an exchange does not come to its end.
pub(super) enum Break {
    ClientReset(Reason),
    /// The client's stream failed otherwise: it broke the protocol, or its connection is gone.
    Client,
    Server(h2::Error),
    Refused(Refusal),
}

impl Break {
    pub(super) fn client(reset: Result<Reason, h2::Error>) -> Self {
        match reset {
            Ok(reason) => Self::ClientReset(reason),
            Err(error) => Self::client_error(error),
        }
    }

    pub(super) fn client_error(error: h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() && error.is_remote() => Self::ClientReset(reason),
            _ => {
                tracing::debug!(reason = ?error.reason(), "a stream of the client's failed");
                Self::Client
            }
        }
    }
}

impl Stream {
    /// Carries the exchange to its end.
    pub(super) async fn run(self) -> Outcome {
        let Self {
            request,
            mut body,
            respond,
            server,
            sight,
            reflection,
            stats,
        } = self;
        let Allowed {
            mut head,
            to_head,
            expects,
            rewriter,
            // One with it is not carried here.
            upgrade: _,
        } = request;
        let mut client = Client {
            respond,
            body: None,
        };
        let complete = body.is_end_stream();
        let mut upload = rewriter.map(Upload::new);
        if let Some(upload) = &mut upload {
            if !expects && let Err(cut) = upload.hold(&mut body).await {
                return match cut {
                    Cut::Refused(refusal) => {
                        refuse(client, &refusal, to_head);
                        Outcome::Refused(refusal)
                    }
                    // The client has taken it back, or is gone.
                    Cut::Sender(_) | Cut::Receiver(_) => Outcome::Done,
                };
            }
            upload.measure(head.headers_mut());
            stats.count_message(ClientToServer);
        }
        // A server may answer early: what is put into the rest of the body may come back behind the answer's head.
        let expected = upload.as_ref().is_some_and(|upload| !upload.is_complete());
        let sent = open(server, head, complete, &mut client);
        let Some((response, mut to_server)) = sent else {
            return Outcome::Done;
        };
        let broken = {
            let ask = async {
                if complete {
                    return Ok(());
                }
                let carried = match upload {
                    Some(upload) => upload.carry(&mut body, &mut to_server).await,
                    None => carry(&mut body, &mut to_server).await,
                };
                match carried {
                    // A server may answer without having read everything (RFC 9113 §8.1). Its answer says how it was meant.
                    Ok(Carried::Whole | Carried::Unwanted(_)) | Err(Cut::Receiver(_)) => Ok(()),
                    Err(Cut::Sender(error)) => Err(Break::client_error(error)),
                    Err(Cut::Refused(refusal)) => Err(Break::Refused(refusal)),
                }
            };
            let mut ask = pin!(ask);
            let mut answer = pin!(answer(response, &mut client, &reflection, expected, &stats));
            let (mut asked, mut answered) = (false, false);
            loop {
                let half = tokio::select! {
                    biased;
                    half = &mut ask, if !asked => {
                        asked = true;
                        half
                    }
                    half = &mut answer, if !answered => {
                        answered = true;
                        half
                    }
                    else => break None,
                };
                if let Err(broken) = half {
                    break Some(broken);
                }
            }
        };
        match broken {
            // What the server did not want of the body is told to the client as the streams are dropped: NO_ERROR.
            None => Outcome::Done,
            Some(broken) => settle(broken, client, &mut to_server, &sight, to_head).await,
        }
    }
}

/// Sends a request's head. `None`: it does not go, and the client was told that it may ask again.
pub(super) fn open(
    mut server: SendRequest<Piece>,
    head: Request<()>,
    complete: bool,
    client: &mut Client,
) -> Option<(ResponseFuture, SendStream<Piece>)> {
    // Nobody holds on to the server's connection through a stream: its sender is dropped here.
    match server.send_request(head, complete) {
        Ok(sent) => Some(sent),
        // Nothing went: the server is leaving, or gone.
        Err(error) => {
            tracing::debug!(reason = ?error.reason(), "the server takes no more streams");
            client.reset(Reason::REFUSED_STREAM);
            None
        }
    }
}

/// Tells both sides of a break in terms of their own.
pub(super) async fn settle(
    broken: Break,
    mut client: Client,
    to_server: &mut SendStream<Piece>,
    sight: &Sight,
    to_head: bool,
) -> Outcome {
    match broken {
        Break::ClientReset(reason) => {
            to_server.send_reset(taken_back(reason));
            Outcome::Done
        }
        // The h2 crate has told the client, where there still is one.
        Break::Client => {
            to_server.send_reset(Reason::CANCEL);
            Outcome::Done
        }
        Break::Refused(refusal) => {
            to_server.send_reset(Reason::CANCEL);
            refuse(client, &refusal, to_head);
            Outcome::Refused(refusal)
        }
        Break::Server(error) => {
            // What it has not looked at may be asked again, on another connection (RFC 9113 §8.7).
            if sight.is_unseen(to_server.stream_id().as_u32()) {
                client.reset(Reason::REFUSED_STREAM);
                return Outcome::Done;
            }
            let reason = error.reason().unwrap_or(Reason::INTERNAL_ERROR);
            if error.is_reset() && error.is_remote() {
                client.flush().await;
                client.reset(reason);
                return Outcome::Done;
            }
            if error.is_library() && error.is_reset() && client.body.is_none() {
                let refusal = Refusal::Response(HeadError::Http2);
                refuse(client, &refusal, to_head);
                return Outcome::Refused(refusal);
            }
            client.reset(Reason::INTERNAL_ERROR);
            Outcome::Done
        }
    }
}

/// How a server is told that its client wants no answer. What the client blames its own connection for is nothing that
/// the server did.
fn taken_back(reason: Reason) -> Reason {
    match reason {
        Reason::INTERNAL_ERROR | Reason::CONNECT_ERROR | Reason::REFUSED_STREAM => reason,
        _ => Reason::CANCEL,
    }
}

/// Answers in the server's place, if the client has not begun to get an answer.
pub(super) fn refuse(mut client: Client, refusal: &Refusal, to_head: bool) {
    if client.body.is_some() {
        client.reset(Reason::INTERNAL_ERROR);
        return;
    }
    let (head, body) = refusal.response_http2();
    let sent = client.respond.send_response(head, to_head);
    if let Ok(mut stream) = sent
        && !to_head
        && let Err(error) = stream.send_data(body.into(), true)
    {
        tracing::debug!(reason = ?error.reason(), "the client could not be told why it was refused");
    }
}

impl Client {
    /// Waits until what was sent has left: a reset takes back what is still queued.
    async fn flush(&mut self) {
        let Some(body) = &mut self.body else {
            return;
        };
        let (mark, passed) = Piece::mark();
        if body.send_data(mark, false).is_ok() {
            tokio::select! {
                biased;
                // It does not want it any more, or is gone.
                _ = poll_fn(|cx| body.poll_reset(cx)) => {}
                _ = passed => {}
            }
        }
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.body {
            Some(body) => body.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

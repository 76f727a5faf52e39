//! WebSocket on a stream of its own (RFC 8441), beside all others of its connection.
//!
//! A client may ask for one if its server's SETTINGS say that the server takes such requests; only then it is told so.
//! Its CONNECT stands for the GET that asks for the same over HTTP/1.1, and everything is decided as for that one. What
//! both sides have agreed on is carried by the same relay. Nothing of what the client sends goes on before that.

use std::{future::Future, sync::Arc};

use bytes::BytesMut;
use h2::ext::Protocol;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, request, response};

use super::{
    answer::{Client, await_answer, pass_answer, redact},
    piece::Piece,
    pipe::Pipe,
    stream::{Break, Outcome, Stream, open, settle},
};
use crate::{
    error::chain,
    http::{Exchange, refusal::Refusal, relay::listen_only, request::demands},
    stats::connection::Direction::ServerToClient,
    websocket::{
        Compression, Session,
        handshake::{self, Agreement, EXTENSIONS, Offer, Offered},
        relay,
        takeover::Trial,
    },
};

const PROTOCOL: &str = "websocket";
const EXTENSIONS_FIELD: HeaderName = HeaderName::from_static(EXTENSIONS);

/// What an extended CONNECT asks for.
pub(super) struct Upgrade {
    offer: Offer,
    /// As the client wrote it.
    target: Box<str>,
}

/// A stream that both sides have agreed to use for a WebSocket.
pub(super) struct Switched {
    client: Pipe,
    server: Pipe,
    /// With permessage-deflate, in this way.
    deflate: Option<Compression>,
    /// The client was told `client_no_context_takeover` unasked.
    unasked: bool,
    target: Box<str>,
}

/// Whether `head` asks for a WebSocket: it is the GET then that it stands for (RFC 8441 §5), until [`ask`] makes it what
/// it was.
pub(super) fn stand_for_get(head: &mut request::Parts) -> Result<bool, Refusal> {
    match head.extensions.get::<Protocol>() {
        None => Ok(false),
        Some(protocol) if protocol.as_str() == PROTOCOL => {
            head.method = Method::GET;
            Ok(true)
        }
        Some(_) => Err(Refusal::Protocol),
    }
}

/// Has `head` ask for a WebSocket.
pub(super) fn ask(head: &mut request::Parts) {
    head.method = Method::CONNECT;
    head.extensions.insert(Protocol::from_static(PROTOCOL));
}

impl Upgrade {
    /// Reads what is offered, and leaves only what can be dealt with in it.
    pub(super) fn read(
        fields: &mut HeaderMap,
        target: &str,
        exchange: &Exchange,
    ) -> Result<Self, Refusal> {
        let demands = demands(exchange);
        let offer = Offer::read_http2(named(fields).into_iter(), demands)?;
        let narrowed: Vec<_> = fields
            .get_all(EXTENSIONS)
            .into_iter()
            .filter_map(|value| match handshake::narrow(value.as_bytes(), demands) {
                Offered::Keep => Some(Ok(value.clone())),
                Offered::Narrow(narrowed) => Some(HeaderValue::from_maybe_shared(narrowed)),
                Offered::Drop => None,
            })
            .collect();
        fields.remove(EXTENSIONS);
        for value in narrowed {
            // Made of what was a value.
            let value = value.map_err(|_invalid| Refusal::Upgrade)?;
            fields.append(EXTENSIONS_FIELD, value);
        }
        Ok(Self {
            offer,
            target: target.into(),
        })
    }
}

/// Asks the server, and brings its answer back: the stream is switched, or comes to its end as any other.
pub(super) async fn shake(stream: Stream, upgrade: Upgrade) -> Outcome {
    let Stream {
        request,
        body,
        respond,
        server,
        sight,
        reflection,
        stats,
    } = stream;
    let Upgrade { offer, target } = upgrade;
    let mut client = Client {
        respond,
        body: None,
    };
    let Some((response, mut to_server)) = open(server, request.head, false, &mut client) else {
        return Outcome::Done;
    };
    let answered = match await_answer(response, &mut client, &reflection, &stats).await {
        Ok(answered) if answered.status().is_success() => answered,
        Ok(refused) => {
            let broken = match to_server.send_data(Piece::default(), true) {
                Ok(()) => pass_answer(refused, &mut client, &reflection, &stats)
                    .await
                    .err(),
                Err(error) => Some(Break::Server(error)),
            };
            return match broken {
                None => Outcome::Done,
                Some(broken) => settle(broken, client, &mut to_server, &sight, false).await,
            };
        }
        Err(broken) => return settle(broken, client, &mut to_server, &sight, false).await,
    };
    let (mut head, from_server) = answered.into_parts();
    let agreed = agree(&mut head, &offer);
    let (deflate, unasked) = match agreed {
        Ok(agreed) => agreed,
        Err(refusal) => {
            let broken = Break::Refused(refusal);
            return settle(broken, client, &mut to_server, &sight, false).await;
        }
    };
    stats.count_message(ServerToClient);
    head.extensions.clear();
    let mut head = Response::from_parts(head, ());
    redact(&mut head, &reflection, &stats);
    match client.respond.send_response(head, false) {
        Ok(to_client) => Outcome::Switched(Box::new(Switched {
            client: Pipe::new(body, to_client),
            server: Pipe::new(from_server, to_server),
            deflate,
            unasked,
            target,
        })),
        Err(error) => {
            let broken = Break::client_error(error);
            settle(broken, client, &mut to_server, &sight, false).await
        }
    }
}

/// What the server's 2xx agrees to, and whether the client hears of more than the server has said.
fn agree(
    head: &mut response::Parts,
    offer: &Offer,
) -> Result<(Option<Compression>, bool), Refusal> {
    let Agreement {
        deflate,
        extensions,
    } = offer
        .check_answer(named(&head.headers).into_iter())
        .map_err(Refusal::WebSocketAnswer)?;
    let Some(value) = extensions else {
        return Ok((deflate, false));
    };
    // Made of what was a value.
    let value = HeaderValue::from_maybe_shared(value).map_err(|_invalid| Refusal::UnaskedSwitch)?;
    head.headers.insert(EXTENSIONS_FIELD, value);
    Ok((deflate, true))
}

impl Switched {
    /// Carries the WebSocket to its end, by what is valid on its connection now.
    pub(super) fn carry(self, exchange: &Exchange) -> impl Future<Output = Outcome> + Send + use<> {
        let Self {
            client,
            server,
            deflate,
            unasked,
            target,
        } = self;
        let host = exchange.authority.host.clone();
        let judge = Arc::clone(&exchange.judge);
        let session = Session {
            release: Arc::clone(&exchange.release),
            stats: Arc::clone(&exchange.stats),
            // The connection's are, and the stream's are among them.
            counts_bytes: false,
            deflate,
            trial: unasked.then(|| Trial::new(Arc::clone(&exchange.takeover), host.clone())),
            listen_only: listen_only(judge, host, Some(target)),
            standing: exchange.standing.clone(),
            shutdown: exchange.shutdown.clone(),
        };
        async move {
            match relay(client, server, BytesMut::new(), BytesMut::new(), session).await {
                Ok(end) => {
                    tracing::debug!(%end, "a websocket came to its end");
                    Outcome::Done
                }
                Err(error) => match error.denial() {
                    Some((code, reason)) => Outcome::Denied(code, reason),
                    None => {
                        tracing::debug!(error = chain(&error), "a websocket failed");
                        Outcome::Done
                    }
                },
            }
        }
    }
}

/// Names and values.
fn named(fields: &HeaderMap) -> Vec<(&str, &[u8])> {
    let fields = fields.iter();
    fields
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect()
}

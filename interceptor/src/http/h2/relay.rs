//! Both connections: which streams there are, and when it ends.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use h2::{Reason, RecvStream, client::SendRequest, server::SendResponse};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    FAREWELL, IDLE,
    answer::Client,
    fault::Fault,
    piece::Piece,
    request::decide,
    stream::{Outcome, Stream, refuse},
    watch::{Sight, Watched},
    websocket::shake,
};
use crate::{
    error::chain,
    http::{
        End, Exchange, HttpError,
        refusal::Refusal,
        relay::{HEAD_LIMIT, review, stopping},
    },
    rewrite::standing::{Reviewed, Revoked},
};

type Server<U> = Pin<Box<h2::client::Connection<Watched<U>, Piece>>>;

/// Carries HTTP/2 until one side ends.
pub(crate) async fn relay<C, U>(
    client: C,
    upstream: U,
    exchange: Exchange,
) -> Result<End, HttpError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    exchange.stats.note(|facts| facts.protocol = Some("h2"));
    let client = Watched::client(client, Arc::clone(&exchange.stats));
    let upstream = Watched::server(upstream);
    let (of_client, of_server) = (Arc::clone(client.sight()), Arc::clone(upstream.sight()));
    let (requests, server) = super::client()
        .handshake(upstream)
        .await
        .map_err(|error| HttpError::Http2Upstream(error.into()))?;
    let client = match timeout(HEAD_LIMIT, super::server().handshake(client)).await {
        Ok(client) => client.map_err(|error| HttpError::Http2Client(error.into()))?,
        Err(_late) => return Ok(End::Refused(Refusal::HeadLate(HEAD_LIMIT))),
    };
    let mut relay = Relay {
        client,
        server: Box::pin(server),
        requests: Some(requests),
        streams: JoinSet::new(),
        sockets: JoinSet::new(),
        connects: Connects::No,
        of_client,
        of_server,
        exchange,
        lost: false,
        leaving: None,
        still: Instant::now(),
    };
    let end = relay.run().await;
    relay.finish().await;
    end
}

struct Relay<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    client: h2::server::Connection<Watched<C>, Piece>,
    server: Server<U>,
    /// `None`: the server takes no more.
    requests: Option<SendRequest<Piece>>,
    streams: JoinSet<Outcome>,
    /// Streams that were switched to WebSocket: each hears of reloads, and of the daemon's end, by itself.
    sockets: JoinSet<Outcome>,
    connects: Connects,
    of_client: Arc<Sight>,
    of_server: Arc<Sight>,
    exchange: Exchange,
    /// A reload ended what the connection may do: the client is told as the answer to its next request.
    lost: bool,
    /// The client was told to make another connection: why.
    leaving: Option<End>,
    /// Since when there has been no stream.
    still: Instant,
}

/// Whether the client may ask with extended CONNECTs (RFC 8441 §3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connects {
    /// The server has not said so.
    No,
    /// It has: the client is to be told.
    Untold,
    Yes,
}

#[expect(clippy::large_enum_variant, reason = "taken apart at once")]
enum Event {
    Request(Request<RecvStream>, SendResponse<Piece>),
    /// Of the client's connection.
    Ended(Result<(), h2::Error>),
    Flooded,
    /// The server takes extended CONNECTs.
    Connects,
    /// The server takes no more streams.
    Leaving,
    /// Of the server's connection.
    Gone(Result<(), h2::Error>),
    Stream(Option<Outcome>),
    Reviewed(Reviewed),
    Stopping,
    Idle,
}

impl<C, U> Relay<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    async fn run(&mut self) -> Result<End, HttpError> {
        loop {
            match self.next().await {
                Event::Request(request, respond) => self.take(request, respond),
                Event::Ended(ended) => return self.ended(ended),
                Event::Flooded => {
                    self.client.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    return Ok(End::Refused(Refusal::Flood));
                }
                Event::Connects => self.connects = Connects::Untold,
                Event::Leaving => {
                    self.requests = None;
                    self.leave(End::UpstreamClosed);
                }
                Event::Gone(gone) => return self.gone(gone),
                Event::Stream(outcome) => {
                    match outcome {
                        None | Some(Outcome::Done) => {}
                        Some(Outcome::Refused(refusal)) => self.count(&refusal),
                        Some(Outcome::Denied(code, reason)) => {
                            (self.exchange.denials)(code, &reason);
                        }
                        Some(Outcome::Switched(switched)) => {
                            self.sockets.spawn(switched.carry(&self.exchange));
                        }
                    }
                    self.still = Instant::now();
                }
                Event::Reviewed(reviewed) => {
                    if let Err(revoked) = self.hear(reviewed) {
                        tracing::debug!(%revoked, "the next request will be told");
                    }
                }
                Event::Stopping => self.leave(End::ShutDown),
                Event::Idle if self.leaving.is_some() => return self.ended(Ok(())),
                Event::Idle => self.leave(End::Idle),
            }
        }
    }

    async fn next(&mut self) -> Event {
        let Self {
            client,
            server,
            requests,
            streams,
            sockets,
            connects,
            of_client,
            of_server,
            exchange,
            lost,
            leaving,
            still,
        } = self;
        let deadline = *still + if leaving.is_some() { FAREWELL } else { IDLE };
        let unheard = *connects == Connects::No;
        let client = poll_fn(|cx| {
            let mut accepted = client.poll_accept(cx);
            // Not as long as the client has not confirmed what it was told before.
            if *connects == Connects::Untold && client.enable_connect_protocol().is_ok() {
                *connects = Connects::Yes;
                if accepted.is_pending() {
                    accepted = client.poll_accept(cx);
                }
            }
            if of_client.is_flooded() {
                return Poll::Ready(Event::Flooded);
            }
            accepted.map(|accepted| match accepted {
                Some(Ok((request, respond))) => Event::Request(request, respond),
                Some(Err(error)) => Event::Ended(Err(error)),
                None => Event::Ended(Ok(())),
            })
        });
        let server = poll_fn(|cx| {
            let ended = server.as_mut().poll(cx);
            if requests.is_some() && of_server.is_leaving() {
                return Poll::Ready(Event::Leaving);
            }
            let mut requests = requests.iter();
            if unheard && requests.any(SendRequest::is_extended_connect_protocol_enabled) {
                return Poll::Ready(Event::Connects);
            }
            ended.map(Event::Gone)
        });
        tokio::select! {
            biased;
            reviewed = exchange.standing.changed(), if !*lost => Event::Reviewed(reviewed),
            () = stopping(&mut exchange.shutdown), if leaving.is_none() => Event::Stopping,
            event = client => event,
            event = server => event,
            Some(outcome) = streams.join_next() => Event::Stream(outcome.ok()),
            Some(outcome) = sockets.join_next() => Event::Stream(outcome.ok()),
            () = sleep_until(deadline), if streams.is_empty() && sockets.is_empty() => Event::Idle,
        }
    }

    /// Takes the outcome of a reload on.
    fn hear(&mut self, reviewed: Reviewed) -> Result<(), Revoked> {
        let heard = review(&mut self.exchange, reviewed);
        self.lost = heard.is_err();
        match &heard {
            // What was put in is put in: streams may come to their end.
            Ok(()) | Err(Revoked::Secret(_)) => {}
            // Theirs could be never.
            Err(Revoked::Policy(_) | Revoked::Upstream(_)) => self.streams.abort_all(),
        }
        heard
    }

    /// A client's request: it goes to the server, or is answered here.
    fn take(&mut self, request: Request<RecvStream>, respond: SendResponse<Piece>) {
        let (head, body) = request.into_parts();
        let to_head = head.method == http::Method::HEAD;
        let reviewed = self.exchange.standing.look();
        let standing = reviewed.map_or(Ok(()), |reviewed| self.hear(reviewed));
        let mut client = Client {
            respond,
            body: None,
        };
        let mut counted = false;
        let decided = match standing {
            Ok(()) => decide(head, body.is_end_stream(), &self.exchange),
            Err(revoked) => {
                // Another connection may do what this one may not. It is counted at the end of this one, once.
                counted = self.leaving.is_none();
                self.leave(End::Refused(Refusal::Revoked(revoked.clone())));
                Err(Refusal::Revoked(revoked))
            }
        };
        let mut request = match decided {
            Ok(request) => request,
            Err(refusal) => {
                refuse(client, &refusal, to_head);
                if !counted {
                    self.count(&refusal);
                }
                return;
            }
        };
        let Some(server) = self.requests.clone() else {
            client.reset(Reason::REFUSED_STREAM);
            return;
        };
        let upgrade = request.upgrade.take();
        let stream = Stream {
            request,
            body,
            respond: client.respond,
            server,
            sight: Arc::clone(&self.of_server),
            reflection: Arc::clone(self.exchange.release.reflection()),
            stats: Arc::clone(&self.exchange.stats),
        };
        match upgrade {
            None => self.streams.spawn(stream.run()),
            Some(upgrade) => self.streams.spawn(shake(stream, upgrade)),
        };
    }

    fn count(&self, refusal: &Refusal) {
        (self.exchange.denials)(refusal.code(), &chain(refusal));
    }

    /// Tells the client to make another connection. What is under way comes to its end.
    fn leave(&mut self, why: End) {
        if self.leaving.is_none() {
            self.client.graceful_shutdown();
            self.leaving = Some(why);
            self.still = Instant::now();
        }
    }

    fn ended(&mut self, ended: Result<(), h2::Error>) -> Result<End, HttpError> {
        let fault = ended.err().map(Fault::from);
        match (fault, self.leaving.take()) {
            (Some(fault), _) if fault.is_flood() => Ok(End::Refused(Refusal::Flood)),
            (None, Some(end)) => Ok(end),
            (Some(fault), Some(end)) if fault.is_hang_up() => Ok(end),
            (None, None) => Ok(End::ClientClosed),
            // Between two streams, a reset is as good an end as any other.
            (Some(fault), None)
                if fault.is_hang_up() && self.streams.is_empty() && self.sockets.is_empty() =>
            {
                Ok(End::ClientClosed)
            }
            (Some(fault), _) => Err(HttpError::Http2Client(fault)),
        }
    }

    fn gone(&mut self, gone: Result<(), h2::Error>) -> Result<End, HttpError> {
        let fault = gone.err().map(Fault::from);
        match fault {
            Some(fault) if !fault.is_hang_up() => Err(HttpError::Http2Upstream(fault)),
            _ => Ok(self.leaving.take().unwrap_or(End::UpstreamClosed)),
        }
    }

    /// Ends both connections, and gives them time to be told.
    async fn finish(self) {
        let Self {
            mut client,
            server,
            requests,
            mut streams,
            mut sockets,
            ..
        } = self;
        // With their streams, and with the last who could ask for more, the server's connection ends by itself.
        drop(requests);
        client.graceful_shutdown();
        let told = async {
            while let Some(accepted) = client.accept().await {
                match accepted {
                    Ok((_, mut respond)) => respond.send_reset(Reason::REFUSED_STREAM),
                    Err(_broken) => return,
                }
            }
        };
        let settled = async {
            // Streams whose server is gone tell their clients so; those whose client is gone have nobody to tell.
            while streams.join_next().await.is_some() {}
            while sockets.join_next().await.is_some() {}
        };
        let ended = async {
            if let Err(error) = server.await {
                tracing::debug!(reason = ?error.reason(), "the server's connection did not end in order");
            }
        };
        let all = async { tokio::join!(told, settled, ended) };
        if timeout(FAREWELL, all).await.is_err() {
            tracing::debug!("a peer did not take its leave in time");
        }
    }
}

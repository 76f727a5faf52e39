//! A connection's requests, one after the other.

use std::{io, pin::pin, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf, split},
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    End, Exchange, HttpError, Judge,
    head::Scanner,
    opaque,
    refusal::Refusal,
    request::{self, MESSAGE, Request},
    reuse::{self, FRESH, Supply},
    turn::{self, After, Ends, Head, Turn},
    wire::{Inbound, Outbound},
};
use crate::{
    address::Host,
    policy::{Judgement, RequestView},
    rewrite::{
        release::Release,
        standing::{Reviewed, Revoked},
    },
    stats::connection::{Direction::ClientToServer, Remark},
    websocket::{self, Compression, Session, takeover::Trial},
};

/// Longest time from a head's first byte to its last.
pub(crate) const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Longest time between two requests. Clients and servers give up sooner by themselves: Node's server after 5 s,
/// nginx after 75 s.
const IDLE: Duration = Duration::from_secs(300);

/// Carries HTTP/1 until one side ends, and a WebSocket after it if both agree on one.
///
/// Both streams are ended in order when the connection ends in order, and dropped otherwise; the server's is given back to
/// `supply` where it may serve another client.
pub(crate) fn relay<C, U>(
    client: C,
    upstream: U,
    supply: impl Supply<U>,
    exchange: Exchange,
) -> impl Future<Output = Result<End, HttpError>>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    // Each stage has its memory to itself, and is gone when the next one begins: an idle WebSocket keeps no room for
    // requests.
    let requests = Box::pin(requests(client, upstream, supply, exchange));
    async move {
        let last = requests.await?;
        match last {
            Last::End(end) => Ok(end),
            Last::Opaque(ends, exchange, protocol) => {
                Box::pin(opaque::relay(*ends, *exchange, &protocol)).await
            }
            Last::WebSocket(switched) => switched.carry().await,
        }
    }
}

/// What the requests of a connection come to.
enum Last<C, U> {
    End(End),
    /// A switch to this protocol.
    Opaque(Box<Halves<C, U>>, Box<Exchange>, Box<str>),
    WebSocket(Box<Switched<C, U>>),
}

/// A WebSocket that both sides have agreed on.
struct Switched<C, U> {
    ends: Halves<C, U>,
    exchange: Exchange,
    deflate: Option<Compression>,
    trial: Option<Trial>,
    target: Option<Box<str>>,
}

type Halves<C, U> = Ends<ReadHalf<C>, WriteHalf<C>, ReadHalf<U>, WriteHalf<U>>;

async fn requests<C, U>(
    client: C,
    upstream: U,
    mut supply: impl Supply<U>,
    mut exchange: Exchange,
) -> Result<Last<C, U>, HttpError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    exchange.stats.note(|facts| facts.protocol = Some("http"));
    let (client_read, client_write) = split(client);
    let (upstream_read, upstream_write) = split(upstream);
    let mut ends = Ends {
        client: Inbound::new(client_read, std::mem::take(&mut exchange.early)),
        to_client: Outbound { io: client_write },
        upstream: Inbound::new(upstream_read, BytesMut::new()),
        to_upstream: Outbound { io: upstream_write },
    };

    // A reload ended what the connection may do: the client is told as the answer to its next request.
    let mut lost = false;
    // Until the first request: the client takes the connection for a new one, and does not try again by itself.
    let mut idled = supply.idled();
    let mut past = reuse::Record::default();
    loop {
        let head = match next_head(&mut ends, &mut exchange, lost).await? {
            Next::Head(head) => head,
            Next::Reviewed(reviewed) => {
                lost = review(&mut exchange, reviewed).is_err();
                continue;
            }
            Next::Refused(refusal) => {
                return refuse(ends, refusal, false, true).await.map(Last::End);
            }
            Next::End(End::UpstreamClosed | End::OutOfTurn) if idled.take().is_some() => {
                match Box::pin(supply.renew()).await {
                    Some(upstream) => replace(&mut ends, upstream),
                    None => return finish(ends, End::UpstreamClosed).await.map(Last::End),
                }
                continue;
            }
            Next::End(End::ClientClosed) if past.reusable() && !lost && !ends.upstream.ended() => {
                let Ends {
                    client,
                    to_client,
                    upstream,
                    to_upstream,
                } = ends;
                supply.give_back(upstream.io.unsplit(to_upstream.io));
                return part(client, to_client, End::ClientClosed)
                    .await
                    .map(Last::End);
            }
            Next::End(end) => return finish(ends, end).await.map(Last::End),
        };
        exchange
            .stats
            .count_bytes(ClientToServer, head.len() as u64);
        if let Some(reviewed) = exchange.standing.look()
            && let Err(revoked) = review(&mut exchange, reviewed)
        {
            let to_head = head.starts_with(b"HEAD ");
            return refuse(ends, Refusal::Revoked(revoked), to_head, true)
                .await
                .map(Last::End);
        }
        let mut request = match request::decide(&head, &exchange) {
            Ok(request) => request,
            Err(refusal) => {
                let to_head = head.starts_with(b"HEAD ");
                return refuse(ends, refusal, to_head, true).await.map(Last::End);
            }
        };
        // One with a body that is read may still be refused: it is a message when it goes.
        if request.rewriter.is_none() {
            request.count(&exchange.stats);
        }
        let head = match request.changed.take() {
            Some(changed) => Head::Changed(changed),
            None => Head::Verbatim(head),
        };
        past.note_head(head.bytes());
        if let Some(idled) = idled.take() {
            let again = reuse::can_be_sent_again(head.bytes(), request.framing);
            if again && request.rewriter.is_none() {
                request.kept.keep(head.bytes());
            } else if idled > FRESH
                && let Some(upstream) = Box::pin(supply.renew()).await
            {
                replace(&mut ends, upstream);
            }
        }
        // So does each request: an idle connection keeps no room for one.
        let mut turn = Box::pin(take(
            &mut ends,
            &mut exchange,
            &mut lost,
            &mut request,
            head,
        ))
        .await;
        // Not a byte of a response has come, or the head would be forgotten.
        if !lost
            && matches!(turn, Ok(Turn::Unanswered) | Err(HttpError::Upstream(_)))
            && let Some(head) = request.kept.take()
            && let Some(upstream) = Box::pin(supply.renew()).await
        {
            exchange.stats.remark(Remark::Renewed);
            replace(&mut ends, upstream);
            let head = Head::Changed(head);
            turn = Box::pin(take(
                &mut ends,
                &mut exchange,
                &mut lost,
                &mut request,
                head,
            ))
            .await;
        }
        if ends.client.ended() {
            past.note_end();
        }
        match turn? {
            Turn::Answered(After::Reuse) if request.persistent => past.served = true,
            // A cut response must not look like a whole one: the client gets no close_notify either.
            Turn::Answered(After::Ended { torn: true }) => {
                return Ok(Last::End(End::UpstreamClosed));
            }
            Turn::Answered(After::Reuse | After::Close | After::Ended { .. }) => {
                return finish(ends, End::Closed).await.map(Last::End);
            }
            Turn::Unanswered => return finish(ends, End::UpstreamClosed).await.map(Last::End),
            Turn::Refused { refusal, tellable } => {
                return refuse(ends, refusal, request.to_head, tellable)
                    .await
                    .map(Last::End);
            }
            Turn::SwitchedTo(protocol) => {
                return Ok(Last::Opaque(Box::new(ends), Box::new(exchange), protocol));
            }
            Turn::Switched { deflate, unasked } => {
                let trial = unasked.then(|| {
                    let memory = Arc::clone(&exchange.takeover);
                    Trial::new(memory, exchange.authority.host.clone())
                });
                return Ok(Last::WebSocket(Box::new(Switched {
                    ends,
                    exchange,
                    deflate,
                    trial,
                    target: request.target,
                })));
            }
        }
    }
}

/// One request and its response, through reloads.
async fn take<CR, CW, UR, UW>(
    ends: &mut Ends<CR, CW, UR, UW>,
    exchange: &mut Exchange,
    lost: &mut bool,
    request: &mut Request,
    head: Head,
) -> Result<Turn, HttpError>
where
    CR: AsyncRead + Unpin,
    CW: AsyncWrite + Unpin,
    UR: AsyncRead + Unpin,
    UW: AsyncWrite + Unpin,
{
    let stats = Arc::clone(&exchange.stats);
    let mut turn = pin!(turn::run(ends, request, head, &stats));
    loop {
        tokio::select! {
            biased;
            turn = &mut turn => return turn,
            reviewed = exchange.standing.changed(), if !*lost => match review(exchange, reviewed) {
                Ok(()) => {}
                // What was put in is put in: the request may come to its end, but takes no more.
                Err(Revoked::Secret(_)) => *lost = true,
                // Its body, or the answer's, could go on for ever.
                Err(revoked @ (Revoked::Policy(_) | Revoked::Upstream(_))) => return Ok(Turn::Refused {
                    refusal: Refusal::Revoked(revoked),
                    tellable: false,
                }),
            },
        }
    }
}

/// Goes on with another connection to the server.
fn replace<CR, CW, U>(ends: &mut Ends<CR, CW, ReadHalf<U>, WriteHalf<U>>, upstream: U)
where
    U: AsyncRead + AsyncWrite,
{
    let (read, write) = split(upstream);
    ends.upstream = Inbound::new(read, BytesMut::new());
    ends.to_upstream = Outbound { io: write };
}

/// Takes the outcome of a reload on; that of one which may not go on is kept to be asked for again.
pub(super) fn review(exchange: &mut Exchange, reviewed: Reviewed) -> Result<(), Revoked> {
    match reviewed {
        Ok(release) => {
            exchange.release.give_way(&release);
            exchange.release = release;
            Ok(())
        }
        Err(revoked) => {
            exchange.release.give_way(&Release::nothing());
            exchange.standing.forget();
            Err(revoked)
        }
    }
}

enum Next {
    Head(BytesMut),
    /// A reload.
    Reviewed(Reviewed),
    Refused(Refusal),
    End(End),
}

/// Waits for the next request's head.
async fn next_head<CR, CW, UR, UW>(
    ends: &mut Ends<CR, CW, UR, UW>,
    exchange: &mut Exchange,
    lost: bool,
) -> Result<Next, HttpError>
where
    CR: AsyncRead + Unpin,
    UR: AsyncRead + Unpin,
{
    let Ends {
        client, upstream, ..
    } = ends;
    let Exchange {
        shutdown, standing, ..
    } = exchange;
    let mut scanner = Scanner::default();
    let mut begun: Option<Instant> = None;
    let idle = Instant::now() + IDLE;
    if !upstream.buffer.is_empty() {
        return Ok(Next::End(End::OutOfTurn));
    }
    if *shutdown.borrow() {
        return Ok(Next::End(End::ShutDown));
    }
    loop {
        if client.skip_empty_lines() {
            scanner = Scanner::default();
        }
        match scanner.find(&client.buffer) {
            Ok(Some(length)) => return Ok(Next::Head(client.buffer.split_to(length))),
            Ok(None) => {}
            Err(error) => return Ok(Next::Refused(Refusal::Head(error))),
        }
        if begun.is_none() && client.buffer.len() > 1 {
            begun = Some(Instant::now());
        }
        tokio::select! {
            biased;
            () = stopping(shutdown), if begun.is_none() => return Ok(Next::End(End::ShutDown)),
            reviewed = standing.changed(), if begun.is_none() && !lost => return Ok(Next::Reviewed(reviewed)),
            // Between two requests, a reset is as good an end as any other.
            read = client.fill() => match read {
                Ok(read) if read > 0 => {}
                _ if client.buffer.is_empty() => return Ok(Next::End(End::ClientClosed)),
                Ok(_) => return Err(HttpError::ClientCutShort),
                Err(error) => return Err(HttpError::Client(error)),
            },
            read = upstream.fill() => return Ok(Next::End(match read {
                Ok(read) if read > 0 => End::OutOfTurn,
                _ => End::UpstreamClosed,
            })),
            () = sleep_until(begun.map_or(idle, |begun| begun + HEAD_LIMIT)) => {
                return Ok(match begun {
                    Some(_) => Next::Refused(Refusal::HeadLate(HEAD_LIMIT)),
                    None => Next::End(End::Idle),
                });
            }
        }
    }
}

/// Returns once the daemon stops; never, if nobody can say so any more.
pub(super) async fn stopping(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

/// Answers in the server's place and ends both streams.
async fn refuse<CR, CW, UR, UW>(
    mut ends: Ends<CR, CW, UR, UW>,
    refusal: Refusal,
    to_head: bool,
    tellable: bool,
) -> Result<End, HttpError>
where
    CR: AsyncRead + Unpin,
    CW: AsyncWrite + Unpin,
    UW: AsyncWrite + Unpin,
{
    if !tellable {
        return Ok(End::Refused(refusal));
    }
    let response = refusal.response(to_head);
    ends.to_client
        .send(&response)
        .await
        .map_err(HttpError::Client)?;
    finish(ends, End::Refused(refusal)).await
}

/// Ends both streams, and waits for the client to have read everything.
async fn finish<CR, CW, UR, UW>(ends: Ends<CR, CW, UR, UW>, end: End) -> Result<End, HttpError>
where
    CR: AsyncRead + Unpin,
    CW: AsyncWrite + Unpin,
    UW: AsyncWrite + Unpin,
{
    let Ends {
        client,
        mut to_client,
        upstream: _,
        mut to_upstream,
    } = ends;
    // The client first: it waits.
    let told = to_client.shutdown().await;
    if let Err(error) = to_upstream.shutdown().await {
        tracing::debug!(%error, "ending the stream to the server failed");
    }
    linger(client, told).await;
    Ok(end)
}

/// Ends the client's stream, and waits for it to have read everything.
async fn part<CR, CW>(
    client: Inbound<CR>,
    mut to_client: Outbound<CW>,
    end: End,
) -> Result<End, HttpError>
where
    CR: AsyncRead + Unpin,
    CW: AsyncWrite + Unpin,
{
    let told = to_client.shutdown().await;
    linger(client, told).await;
    Ok(end)
}

async fn linger<CR: AsyncRead + Unpin>(mut client: Inbound<CR>, told: io::Result<()>) {
    match told {
        Ok(()) => client.linger().await,
        Err(error) => tracing::debug!(%error, "ending the stream to the client failed"),
    }
}

impl<C, U> Switched<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Carries it to its end. Nothing of the handshake is kept.
    fn carry(self: Box<Self>) -> impl Future<Output = Result<End, HttpError>> {
        let Self {
            ends,
            exchange,
            deflate,
            trial,
            target,
        } = *self;
        let Ends {
            client,
            to_client,
            upstream,
            to_upstream,
        } = ends;
        exchange
            .stats
            .note(|facts| facts.protocol = Some("websocket"));
        let session = Session {
            // Moved: a copy left here would keep its secrets for as long as the session lives.
            release: exchange.release,
            stats: Arc::clone(&exchange.stats),
            deflate,
            trial,
            counts_bytes: true,
            listen_only: listen_only(exchange.judge, exchange.authority.host, target),
            standing: exchange.standing,
            shutdown: exchange.shutdown,
        };
        let relayed = Box::pin(websocket::relay(
            client.io.unsplit(to_client.io),
            upstream.io.unsplit(to_upstream.io),
            client.buffer,
            upstream.buffer,
            session,
        ));
        async move {
            let ended = relayed.await;
            ended.map(End::WebSocket).map_err(HttpError::WebSocket)
        }
    }
}

/// Asks the policy whether the client of a WebSocket to `target` may send no messages.
pub(super) fn listen_only(
    judge: Judge,
    host: Host,
    target: Option<Box<str>>,
) -> Box<dyn Fn() -> bool + Send + Sync> {
    Box::new(move || {
        let message = RequestView::new(MESSAGE, target.as_deref().unwrap_or("/"));
        match judge(&message) {
            Judgement::Allow => false,
            Judgement::Audit(why) => {
                tracing::warn!(%host, why, "the policy would refuse this client's messages");
                false
            }
            Judgement::Deny(_) => true,
        }
    })
}

//! Both directions of a connection, in one future; deadlines; the end.

use std::{
    future::{pending, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    End, Session, Side, WebSocketError, close,
    filter::{Filter as _, Stop},
    inflate::Fault,
    lane::{Lane, Trouble},
    mask,
    observer::Observer,
    rewriter::{REST, Rewriter},
    takeover::Trial,
};
use crate::{
    rewrite::{
        document::{Refusal, Rules},
        reflection::Lookout,
        standing::{Reviewed, Revoked, Standing},
    },
    stats::connection::Direction,
};

/// How long a side may be silent when the other ended its stream; how long both may go on when both have closed.
const LINGER: Duration = Duration::from_secs(10);

/// How long a side has to take part in an end that it did not begin.
const GRACE: Duration = Duration::from_secs(2);

const UNSEARCHABLE: &str = "what the server sends has to be searched since the configuration was reloaded, but is compressed in a way \
     that it cannot be: it can when the client connects again";

/// Carries a connection from its 101 on to its end. `from_client` and `from_server` are bytes that were read already.
///
/// There is no time-out for silence: a session may idle for hours. Memory: nothing while idle; while messages pass, two
/// read buffers of at most 64 KiB, a scratch buffer of the same size, and for a message in fragments 64 KiB of hold or
/// two fragments. A compressed message that is looked into takes an inflater of some 45 KiB and its text, up to 80 KiB,
/// while it is under way.
///
/// # Errors
/// A socket broke before a Close was seen, a side broke the protocol, or the client's message may not go on.
pub(crate) async fn relay<C, U>(
    client: C,
    upstream: U,
    from_client: BytesMut,
    from_server: BytesMut,
    session: Session,
) -> Result<End, WebSocketError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let Session {
        release,
        stats,
        counts_bytes,
        deflate,
        trial,
        listen_only,
        standing,
        mut shutdown,
    } = session;
    let mut going_away = pin!(async move {
        if shutdown.wait_for(|stop| *stop).await.is_err() {
            pending::<()>().await;
        }
    });
    let counting = counts_bytes.then(|| Arc::clone(&stats));
    if let Some(stats) = &counting {
        stats.count_bytes(Direction::ClientToServer, from_client.len() as u64);
        stats.count_bytes(Direction::ServerToClient, from_server.len() as u64);
    }
    let lookout = Lookout::new(Arc::clone(release.reflection()));
    let may_search = deflate.is_none_or(|deflate| deflate.server_alone);
    let holds_secrets = !release.is_empty();
    let unsearchable = release.redacts() && !may_search;
    let rules = Rules::for_messages(release);
    let may_rewrite = rules.is_some() || deflate.is_none_or(|deflate| deflate.client_alone);
    let mut rewriter = Rewriter::new(from_client, rules, deflate, stats.clone());
    rewriter.forbid_messages(listen_only());
    let observer = Observer::new(from_server, deflate.is_some(), lookout, stats);
    let mut relay = Relay {
        client,
        upstream,
        up: Lane::new(rewriter, Direction::ClientToServer, counting.clone()),
        down: Lane::new(observer, Direction::ServerToClient, counting),
        trial,
        listen_only,
        may_rewrite,
        may_search,
        holds_secrets,
        first: None,
        verdict: None,
        phase: Phase::Open,
        up_rest: None,
        down_rest: None,
    };
    if unsearchable {
        // A reload came between the request and its 101.
        relay.revoke(Revoked::Policy(UNSEARCHABLE.to_owned()));
    }
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut reload = pin!(changed(standing));
    poll_fn(|cx| {
        while let Poll::Ready((standing, reviewed)) = reload.as_mut().poll(cx) {
            reload.set(changed(standing));
            relay.review(reviewed);
        }
        relay.poll(cx, going_away.as_mut(), timer.as_mut())
    })
    .await
}

async fn changed(mut standing: Standing) -> (Standing, Reviewed) {
    let reviewed = standing.changed().await;
    (standing, reviewed)
}

struct Relay<C, U> {
    client: C,
    upstream: U,
    up: Lane<Rewriter>,
    down: Lane<Observer>,
    trial: Option<Trial>,
    listen_only: Box<dyn Fn() -> bool + Send + Sync>,
    /// The handshake made every message of the client stand alone, or compressed none.
    may_rewrite: bool,
    /// The same of the server's.
    may_search: bool,
    /// Secrets could be put in from the beginning.
    holds_secrets: bool,
    /// The first thing that began an end.
    first: Option<End>,
    /// What the end will be called if it was not a Close.
    verdict: Option<Result<End, WebSocketError>>,
    phase: Phase,
    /// When the client will have rested.
    up_rest: Option<Instant>,
    /// When the server will have.
    down_rest: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// One side has ended; the other may finish until then.
    Lingering(Instant),
    /// One side was told to close; its answer may pass to the other until then.
    Answering(Instant),
    /// Both sides were told to close; they may take it until then.
    Leaving(Instant),
}

impl<C, U> Relay<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut going_away: Pin<&mut impl Future<Output = ()>>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<Result<End, WebSocketError>> {
        loop {
            // First, so that the reason on record is the one that came first.
            if self.may_be_ended() && going_away.as_mut().poll(cx).is_ready() {
                self.leave_for_shutdown();
            }
            let up = self.up.poll(cx, &mut self.client, &mut self.upstream);
            self.see_ends();
            let down = self.down.poll(cx, &mut self.upstream, &mut self.client);
            self.see_ends();
            let mut again = false;
            if let Poll::Ready(Err(trouble)) = up {
                again |= self.on_up_trouble(trouble);
            }
            if let Poll::Ready(Err(trouble)) = down {
                again |= self.on_down_trouble(trouble);
            }
            if self.up.is_done() && self.down.is_done() {
                return Poll::Ready(self.outcome());
            }
            if again || self.poll_timer(cx, timer.as_mut()) {
                continue;
            }
            return Poll::Pending;
        }
    }

    /// Goes on, or not, as a reload has it.
    fn review(&mut self, reviewed: Reviewed) {
        match reviewed {
            Ok(release) if release.redacts() && !self.may_search && self.holds_secrets => {
                self.revoke(Revoked::Policy(UNSEARCHABLE.to_owned()));
            }
            Ok(release) => {
                let may_rewrite = self.may_rewrite && (self.may_search || !release.redacts());
                let rules = Rules::for_messages(release);
                if may_rewrite {
                    self.up.filter.replace_rules(rules);
                } else if rules.is_some() {
                    tracing::warn!(
                        "a secret was bound to a connection that compresses in a way that it cannot be put in: it can \
                         when the client connects again"
                    );
                }
                self.up.filter.forbid_messages((self.listen_only)());
            }
            Err(revoked) => self.revoke(revoked),
        }
    }

    fn revoke(&mut self, revoked: Revoked) {
        if self.may_be_ended() {
            let code = revoked.code();
            self.blame(WebSocketError::Revoked(revoked));
            self.leave(close::POLICY_VIOLATION, code);
        }
    }

    /// Notes the first end, and begins to linger when nothing more is to be expected from one side.
    fn see_ends(&mut self) {
        let up = self.up.filter.closed();
        let down = self.down.filter.closed();
        if self.first.is_none() {
            self.first = match (up, down) {
                (Some(code), _) => Some(closed_by(Side::Client, code)),
                (_, Some(code)) => Some(closed_by(Side::Server, code)),
                _ if self.up.source_ended() => Some(End::Vanished { by: Side::Client }),
                _ if self.down.source_ended() => Some(End::Vanished { by: Side::Server }),
                _ => None,
            };
            if self.first.is_some() {
                self.end_trial();
            }
        }
        let ended = self.up.source_ended() || self.down.source_ended();
        if self.phase == Phase::Open && (ended || up.is_some() && down.is_some()) {
            self.phase = Phase::Lingering(Instant::now() + LINGER);
        }
    }

    fn both_closed(&self) -> bool {
        self.up.filter.closed().is_some() && self.down.filter.closed().is_some()
    }

    /// It has not come to an end yet, nor been told to.
    fn may_be_ended(&self) -> bool {
        match self.phase {
            Phase::Open => true,
            Phase::Lingering(_) => !self.both_closed(),
            Phase::Answering(_) | Phase::Leaving(_) => false,
        }
    }

    /// Returns whether to go on at once.
    fn on_up_trouble(&mut self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::Read(error) => self.fail(WebSocketError::Client(error)),
            Trouble::Write(error) => {
                // What the server said last is still to be read: often a Close that says why.
                self.blame(WebSocketError::Server(error));
                self.up.abandon();
                self.phase = Phase::Leaving(Instant::now() + GRACE);
            }
            Trouble::Stop(Stop::Refused(refusal)) => self.leave_for_refusal(refusal),
            Trouble::Stop(Stop::Opaque(fault)) => {
                self.leave_for_fault(fault, WebSocketError::Opaque);
            }
            Trouble::Stop(Stop::Forbidden) => self.leave_for_policy(),
            Trouble::Stop(Stop::NoRandom) => self.fail(WebSocketError::Random),
            Trouble::Stop(Stop::Violation(violation)) => {
                self.blame(WebSocketError::ClientProtocol(violation));
                // In order behind what was passed on; the server's answers, and its Close, go to the client.
                self.up.end(to_server(close::PROTOCOL_ERROR));
                let close = to_client(close::PROTOCOL_ERROR, "");
                self.down.set_farewell(close);
                self.phase = Phase::Answering(Instant::now() + GRACE);
            }
        }
        true
    }

    /// Returns whether to go on at once.
    fn on_down_trouble(&mut self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::Read(error) => self.fail(WebSocketError::Server(error)),
            Trouble::Write(error) => self.fail(WebSocketError::Client(error)),
            Trouble::Stop(Stop::Violation(violation)) => {
                self.blame(WebSocketError::ServerProtocol(violation));
                self.down.end(to_client(close::PROTOCOL_ERROR, ""));
                self.up.set_farewell(to_server(close::PROTOCOL_ERROR));
                self.phase = Phase::Answering(Instant::now() + GRACE);
            }
            Trouble::Stop(Stop::Refused(refusal)) => self.leave_for_refusal(refusal),
            Trouble::Stop(Stop::Opaque(fault)) => {
                self.leave_for_fault(fault, WebSocketError::Unreadable);
            }
            Trouble::Stop(Stop::Forbidden) => self.leave_for_policy(),
            Trouble::Stop(Stop::NoRandom) => self.fail(WebSocketError::Random),
        }
        true
    }

    fn leave_for_refusal(&mut self, refusal: Refusal) {
        self.blame(WebSocketError::Refused(refusal));
        self.leave(close::POLICY_VIOLATION, refusal.code());
    }

    fn leave_for_fault(&mut self, fault: Fault, error: fn(Fault) -> WebSocketError) {
        self.blame(error(fault));
        self.leave(fault.close_code(), fault.code());
    }

    fn leave_for_policy(&mut self) {
        self.blame(WebSocketError::Forbidden);
        self.leave(close::POLICY_VIOLATION, "policy_denied");
    }

    fn leave_for_shutdown(&mut self) {
        self.verdict.get_or_insert(Ok(End::GoingAway));
        self.leave(close::GOING_AWAY, "");
    }

    /// Tells both sides to close; the server that its client goes away.
    fn leave(&mut self, code: u16, reason: &str) {
        self.up.end(to_server(close::GOING_AWAY));
        self.down.end(to_client(code, reason));
        self.phase = Phase::Leaving(Instant::now() + GRACE);
    }

    /// Tears both directions down.
    fn fail(&mut self, error: WebSocketError) {
        if matches!(error, WebSocketError::Client(_)) {
            self.end_trial();
        }
        self.blame(error);
        self.up.abandon();
        self.down.abandon();
    }

    /// The connection came to an end: was it because of what the client was told?
    fn end_trial(&mut self) {
        if let Some(trial) = self.trial.take()
            && !self.up.filter.has_spoken()
        {
            trial.end(self.first);
        }
    }

    fn blame(&mut self, error: WebSocketError) {
        self.verdict.get_or_insert(Err(error));
    }

    /// Returns whether a deadline has passed and there is something to do.
    fn poll_timer(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> bool {
        let (up, down) = (self.up.has_read(), self.down.has_read());
        if up || self.phase != Phase::Open {
            self.up_rest = None;
        }
        let open = matches!(self.phase, Phase::Open | Phase::Lingering(_));
        if down || !open {
            self.down_rest = None;
        }
        let both_closed = self.both_closed();
        if let Phase::Lingering(until) = &mut self.phase
            && (up || down)
            && !both_closed
        {
            *until = Instant::now() + LINGER;
        }
        if self.up.filter.awaits_rest() && self.phase == Phase::Open {
            self.up_rest.get_or_insert_with(|| Instant::now() + REST);
        }
        if self.down.filter.awaits_rest() && open {
            self.down_rest.get_or_insert_with(|| Instant::now() + REST);
        }
        let deadline = match self.phase {
            Phase::Open => None,
            Phase::Lingering(at) | Phase::Answering(at) | Phase::Leaving(at) => Some(at),
        };
        let rests = self.up_rest.into_iter().chain(self.down_rest);
        let Some(next) = rests.chain(deadline).min() else {
            return false;
        };
        if timer.deadline() != next {
            timer.as_mut().reset(next);
        }
        if timer.poll(cx).is_pending() {
            return false;
        }
        if self.down_rest == Some(next) {
            self.down_rest = None;
            if let Err(stop) = self.down.filter.on_rest() {
                return self.on_down_trouble(Trouble::Stop(stop));
            }
            return true;
        }
        if self.up_rest == Some(next) {
            self.up_rest = None;
            if let Err(stop) = self.up.filter.on_rest() {
                return self.on_up_trouble(Trouble::Stop(stop));
            }
            return true;
        }
        match self.phase {
            Phase::Open => false,
            Phase::Answering(_) => {
                self.leave(close::PROTOCOL_ERROR, "");
                true
            }
            Phase::Lingering(_) | Phase::Leaving(_) => {
                self.up.abandon();
                self.down.abandon();
                true
            }
        }
    }

    fn outcome(&mut self) -> Result<End, WebSocketError> {
        match (self.verdict.take(), self.first) {
            // A socket that breaks behind a Close is how many programs end.
            (Some(Err(WebSocketError::Client(_) | WebSocketError::Server(_))), Some(end))
                if matches!(end, End::Closed { .. }) =>
            {
                Ok(end)
            }
            (Some(verdict), _) => verdict,
            (None, Some(end)) => Ok(end),
            (None, None) => Err(WebSocketError::Client(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn closed_by(by: Side, code: Option<u16>) -> End {
    End::Closed { by, code }
}

fn to_client(code: u16, reason: &str) -> Vec<u8> {
    close::frame(code, reason, None)
}

/// Without random bytes for the mask there is none: the stream just ends.
fn to_server(code: u16) -> Vec<u8> {
    mask::fresh().map_or_else(
        |mask::NoRandom| Vec::new(),
        |mask| close::frame(code, "", Some(mask)),
    )
}

#[cfg(test)]
mod tests;

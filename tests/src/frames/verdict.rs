//! What was seen of a peer, and whether that is right.

use std::{fmt::Debug, ops::RangeInclusive};

use super::{NO_ERROR, PROTOCOL_ERROR};

/// What came over one connection.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Of the last GOAWAY.
    pub goaway: Option<u32>,
    /// Stream and code.
    pub resets: Vec<(u32, u32)>,
    /// Stream and final status.
    pub statuses: Vec<(u32, u16)>,
    pub interim: usize,
    /// Streams that have come to their end.
    pub finished: Vec<u32>,
    /// Bytes of bodies.
    pub data: usize,
    /// Payloads of answers to a PING.
    pub pongs: Vec<Vec<u8>>,
    /// Answers to SETTINGS.
    pub acks: usize,
    /// The other end's SETTINGS.
    pub settings: Vec<(u16, u32)>,
    /// Whether the PING behind everything was answered.
    pub alive: bool,
    pub closed: bool,
    /// What a script itself found wrong.
    pub complaints: Vec<String>,
}

/// How a case must end.
#[derive(Clone, Copy, Debug)]
pub enum Right {
    /// A GOAWAY with one of these codes and a close (RFC 9113 §5.4.1).
    Connection(&'static [u32]),
    /// A RST_STREAM with one of these codes, while the connection goes on; a peer may make more of it, and end the
    /// connection with the same code (§5.4.2).
    Stream(&'static [u32]),
    /// As a stream's PROTOCOL_ERROR, or an answer that says so (§8.1.1).
    Malformed,
    /// As the client's fault, in whatever way.
    Refused,
    /// As malformed, or served without what is wrong: the `h2` crate drops it unseen, so it gets no further.
    Dropped,
    /// This answer, complete, while the connection goes on.
    Answer(u16),
    /// 200, complete, while the connection goes on, or ends in peace.
    Served,
    /// The connection goes on as if nothing had been.
    Ignored,
    /// The connection ends, with whatever code.
    Ended,
    /// It ends, or goes on: what matters is what it costs.
    Bounded,
    /// The client is told that there is no complete answer, by a reset, a status from 500 on or an end.
    Failed,
}

const BLAMES_CLIENT: RangeInclusive<u16> = 400..=499;
const BLAMES_SERVER: RangeInclusive<u16> = 500..=599;

impl Right {
    /// # Errors
    /// What was seen is something else.
    pub fn judge(self, seen: &Seen) -> Result<(), String> {
        if let Some(complaint) = seen.complaints.first() {
            return Err(complaint.clone());
        }
        let broken = seen.goaway.is_some_and(|code| code != NO_ERROR);
        let reset_with = |codes: &[u32]| seen.resets.iter().any(|(_, code)| codes.contains(code));
        let left_with = |codes: &[u32]| seen.goaway.is_some_and(|code| codes.contains(&code));
        let answered = |statuses: RangeInclusive<u16>| {
            let of = seen
                .statuses
                .iter()
                .filter(|(_, status)| statuses.contains(status));
            of.into_iter()
                .any(|(stream, _)| seen.finished.contains(stream))
        };
        let right = match self {
            Self::Connection(codes) => seen.closed && left_with(codes),
            Self::Stream(codes) => (reset_with(codes) && seen.alive) || left_with(codes),
            Self::Malformed => {
                let code = &[PROTOCOL_ERROR];
                let told = reset_with(code) || answered(BLAMES_CLIENT);
                (told && seen.alive) || left_with(code)
            }
            Self::Refused => {
                let reset = seen.resets.iter().any(|(_, code)| *code != NO_ERROR);
                ((reset || answered(BLAMES_CLIENT)) && seen.alive) || seen.closed
            }
            Self::Dropped => {
                let others = [Self::Malformed, Self::Failed, Self::Served];
                others.iter().any(|other| other.judge(seen).is_ok())
            }
            Self::Answer(status) => answered(status..=status) && seen.alive,
            Self::Served => {
                let in_peace = seen.closed && seen.goaway == Some(NO_ERROR);
                answered(200..=200) && (seen.alive || in_peace) && !broken
            }
            Self::Ignored => seen.alive && !broken && !seen.closed && seen.resets.is_empty(),
            Self::Ended => seen.closed,
            Self::Bounded => seen.closed || seen.alive,
            Self::Failed => {
                let failed = seen.resets.iter().any(|(_, code)| *code != NO_ERROR);
                !answered(200..=299) && (failed || answered(BLAMES_SERVER) || seen.closed)
            }
        };
        if right {
            return Ok(());
        }
        Err(format!("expected {self:?}, saw {}", seen.summary()))
    }

    /// Whether a connection that goes on can only mean that it was not right.
    pub(super) fn ends_connection(self) -> bool {
        matches!(self, Self::Connection(_) | Self::Ended)
    }
}

impl Seen {
    fn summary(&self) -> String {
        let Self {
            goaway,
            resets,
            statuses,
            interim,
            finished,
            data,
            pongs: _,
            acks: _,
            settings: _,
            alive,
            closed,
            complaints: _,
        } = self;
        let first = |list: &[(u32, u32)]| list.iter().take(4).copied().collect::<Vec<_>>();
        format!(
            "goaway {goaway:?}, {} resets {:?}, statuses {:?}, {interim} interim, {} finished, {data} bytes, \
             alive {alive}, closed {closed}",
            resets.len(),
            first(resets),
            statuses.iter().take(4).collect::<Vec<_>>(),
            finished.len(),
        )
    }

    /// The stream has been reset, or its answer is complete.
    pub fn is_settled(&self, stream: u32) -> bool {
        self.finished.contains(&stream) || self.resets.iter().any(|(reset, _)| *reset == stream)
    }
}

//! A connection that has switched to a protocol that is neither HTTP nor WebSocket: its bytes are carried unread, but for
//! secrets that come back.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    End, Exchange, HttpError,
    refusal::Refusal,
    relay::stopping,
    turn::Ends,
    wire::{Inbound, Outbound},
};
use crate::{
    rewrite::reflection::{Fill, Lookout, Redactor, Waiting},
    stats::connection::{
        Connection,
        Direction::{self, ClientToServer, ServerToClient},
    },
};

/// A server that sends nothing for so long has said what it had to say: what may be the beginning of a secret waits no
/// longer.
const REST: Duration = Duration::from_millis(2);

/// Carries both directions until each has ended, a reload revokes the connection, or the daemon stops. There is no idle
/// deadline.
pub(super) async fn relay<CR, CW, UR, UW>(
    ends: Ends<CR, CW, UR, UW>,
    exchange: Exchange,
    protocol: &str,
) -> Result<End, HttpError>
where
    CR: AsyncRead + Unpin,
    CW: AsyncWrite + Unpin,
    UR: AsyncRead + Unpin,
    UW: AsyncWrite + Unpin,
{
    tracing::debug!(protocol, "a connection switched protocols");
    let Exchange {
        release,
        stats,
        may_switch,
        mut standing,
        mut shutdown,
        ..
    } = exchange;
    let lookout = Lookout::new(Arc::clone(release.reflection()));
    // Nothing is put in any more.
    drop(release);
    stats.note(|facts| facts.protocol = Some("upgraded"));
    let Ends {
        client,
        to_client,
        upstream,
        to_upstream,
    } = ends;
    let mut carried = pin!(async {
        tokio::try_join!(async { up(client, to_upstream, &stats).await }, async {
            down(upstream, to_client, lookout, &stats).await
        },)
    });
    loop {
        tokio::select! {
            biased;
            reviewed = standing.changed() => {
                if let Err(revoked) = reviewed {
                    return Ok(End::Refused(Refusal::Revoked(revoked)));
                }
                if !may_switch(protocol) {
                    return Ok(End::Refused(Refusal::Upgrade));
                }
            }
            () = stopping(&mut shutdown) => return Ok(End::ShutDown),
            carried = &mut carried => return carried.map(|_| End::Switched),
        }
    }
}

async fn up<R, W>(
    mut from: Inbound<R>,
    mut to: Outbound<W>,
    stats: &Connection,
) -> Result<(), HttpError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let bytes = from.buffer.split();
        count(&bytes, ClientToServer, stats);
        to.send(&bytes).await.map_err(HttpError::Upstream)?;
        if from.fill().await.map_err(HttpError::Client)? == 0 {
            end(to).await;
            return Ok(());
        }
    }
}

async fn down<R, W>(
    mut from: Inbound<R>,
    mut to: Outbound<W>,
    mut lookout: Lookout,
    stats: &Connection,
) -> Result<(), HttpError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut redactor: Option<Redactor> = None;
    loop {
        let bytes = from.buffer.split();
        count(&bytes, ServerToClient, stats);
        if let Some(patterns) = lookout.patterns() {
            redactor
                .get_or_insert_with(|| Redactor::new(patterns, Fill::Same))
                .arm(patterns);
        }
        let sent = match &mut redactor {
            None => to.send(&bytes).await,
            Some(redactor) => {
                let mut out = Vec::with_capacity(bytes.len());
                redactor.push(&bytes, &mut out);
                stats.count_redactions(redactor.count());
                to.send(&out).await
            }
        };
        drop(bytes);
        sent.map_err(HttpError::Client)?;
        let read = match &mut redactor {
            Some(redactor) if redactor.waiting() != Waiting::Nothing => {
                match timeout(REST, from.fill()).await {
                    Ok(read) => read,
                    Err(_rest) => {
                        let mut waiting = Vec::new();
                        redactor.cut(Fill::Same, &mut waiting);
                        to.send(&waiting).await.map_err(HttpError::Client)?;
                        from.fill().await
                    }
                }
            }
            _ => from.fill().await,
        };
        if matches!(read, Ok(1..)) {
            continue;
        }
        if let Some(redactor) = &mut redactor {
            let mut rest = Vec::new();
            redactor.finish(&mut rest);
            stats.count_redactions(redactor.count());
            to.send(&rest).await.map_err(HttpError::Client)?;
        }
        read.map_err(HttpError::Upstream)?;
        if from.torn() {
            return Err(HttpError::UpstreamCutShort);
        }
        end(to).await;
        return Ok(());
    }
}

fn count(bytes: &[u8], direction: Direction, stats: &Connection) {
    stats.count_bytes(direction, bytes.len() as u64);
}

async fn end<W: AsyncWrite + Unpin>(mut to: Outbound<W>) {
    if let Err(error) = to.shutdown().await {
        tracing::debug!(%error, "passing an end on failed");
    }
}

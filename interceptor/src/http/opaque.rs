//! A connection that has switched to a protocol that is neither HTTP nor WebSocket: its bytes are carried unread, but for
//! secrets that come back.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::BytesMut;
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
    rewrite::reflection::{Fill, Redactor, Reflection},
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
    mut exchange: Exchange,
    protocol: &str,
) -> Result<End, HttpError>
where
    CR: AsyncRead + Unpin,
    CW: AsyncWrite + Unpin,
    UR: AsyncRead + Unpin,
    UW: AsyncWrite + Unpin,
{
    tracing::debug!(protocol, "a connection switched protocols");
    let stats = Arc::clone(&exchange.stats);
    stats.note(|facts| facts.protocol = Some("upgraded"));
    let Ends {
        client,
        to_client,
        upstream,
        to_upstream,
    } = ends;
    let reflection = Arc::clone(exchange.release.reflection());
    let mut carried = pin!(async {
        tokio::try_join!(async { up(client, to_upstream, &stats).await }, async {
            down(upstream, to_client, &reflection, &stats).await
        },)
    });
    loop {
        tokio::select! {
            biased;
            reviewed = exchange.standing.changed() => {
                if let Err(revoked) = reviewed {
                    return Ok(End::Refused(Refusal::Revoked(revoked)));
                }
                if !(exchange.may_switch)(protocol) {
                    return Ok(End::Refused(Refusal::Upgrade));
                }
            }
            () = stopping(&mut exchange.shutdown) => return Ok(End::ShutDown),
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
    reflection: &Reflection,
    stats: &Connection,
) -> Result<(), HttpError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    // Nothing is put in any more, so what there is to look for stays the same.
    let mut redactor = reflection
        .patterns()
        .map(|patterns| Redactor::new(&patterns, Fill::Same));
    loop {
        let bytes = from.buffer.split();
        count(&bytes, ServerToClient, stats);
        let bytes = redacted(&mut redactor, bytes, stats);
        to.send(&bytes).await.map_err(HttpError::Client)?;
        let read = match (&mut redactor, timeout(REST, from.fill()).await) {
            (_, Ok(read)) => read,
            (None, Err(_rest)) => from.fill().await,
            (Some(redactor), Err(_rest)) => {
                let mut waiting = Vec::new();
                redactor.cut(Fill::Same, &mut waiting);
                to.send(&waiting).await.map_err(HttpError::Client)?;
                from.fill().await
            }
        };
        if read.map_err(HttpError::Upstream)? == 0 {
            let mut rest = Vec::new();
            if let Some(redactor) = &mut redactor {
                redactor.finish(&mut rest);
                stats.count_redactions(redactor.count());
            }
            to.send(&rest).await.map_err(HttpError::Client)?;
            if from.torn() {
                return Err(HttpError::UpstreamCutShort);
            }
            end(to).await;
            return Ok(());
        }
    }
}

fn redacted(redactor: &mut Option<Redactor>, bytes: BytesMut, stats: &Connection) -> BytesMut {
    let Some(redactor) = redactor else {
        return bytes;
    };
    let mut out = Vec::with_capacity(bytes.len());
    redactor.push(&bytes, &mut out);
    stats.count_redactions(redactor.count());
    BytesMut::from(out.as_slice())
}

fn count(bytes: &[u8], direction: Direction, stats: &Connection) {
    stats.count_bytes(direction, bytes.len() as u64);
}

async fn end<W: AsyncWrite + Unpin>(mut to: Outbound<W>) {
    if let Err(error) = to.shutdown().await {
        tracing::debug!(%error, "passing an end on failed");
    }
}

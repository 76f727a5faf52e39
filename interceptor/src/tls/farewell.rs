//! A last word before the socket is closed.

use std::time::Duration;

use rustls::AlertDescription;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// For writing the alert and for waiting until the peer has closed its side.
const DEADLINE: Duration = Duration::from_secs(2);

/// What the peer may still have on its way to us, at most, before we stop listening.
const DRAIN: u64 = 64 * 1024;

/// A fatal alert as a plaintext record (RFC 8446 §6, §5.1): readable by a client that has not seen a ServerHello yet.
pub(super) fn record(alert: AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, u8::from(alert)]
}

/// Writes `bytes`, closes our side and waits for the peer to close its own.
///
/// A socket that is dropped with unread bytes is reset, and a reset discards what the peer has not read yet: the alert.
/// Failures are of no interest any more: the peer is gone either way.
pub(super) async fn say<S>(mut stream: S, bytes: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let goodbye = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(DRAIN), &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = timeout(DEADLINE, goodbye).await {
        tracing::debug!(%error, "the peer left before its alert was read");
    }
}

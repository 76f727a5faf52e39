//! A connection that ends before any server is asked.

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, split},
    time::{Instant, timeout_at},
};

use super::{
    head::Scanner,
    refusal::Refusal,
    wire::{Inbound, Outbound},
};

/// Longest wait for the request that is going to be answered.
const REQUEST: Duration = Duration::from_secs(10);

/// Answers the connection's first request with `refusal` and closes; works on plain streams and, after the handshake,
/// on TLS.
///
/// The request is read first if it has not been (`buffered` is what was read of it): clients take an answer that comes
/// before their question for a broken connection.
pub(crate) async fn deny<S>(stream: S, buffered: BytesMut, refusal: &Refusal) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (read, write) = split(stream);
    let mut client = Inbound::new(read, buffered);
    let mut to_client = Outbound { io: write };
    let deadline = Instant::now() + REQUEST;
    let mut scanner = Scanner::default();
    // What is malformed need not become complete.
    let read = matches!(refusal, Refusal::HeadLate(_) | Refusal::Head(_));
    while !read && let Ok(None) = scanner.find(&client.buffer) {
        match timeout_at(deadline, client.fill()).await {
            Ok(read) => {
                if read? == 0 {
                    break;
                }
            }
            Err(_late) => break,
        }
    }
    let to_head = client.buffer.starts_with(b"HEAD ");
    to_client.send(&refusal.response(to_head)).await?;
    to_client.shutdown().await?;
    client.linger().await;
    Ok(())
}

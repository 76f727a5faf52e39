//! DNS over TCP (RFC 7766): each message after its length in two bytes.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use crate::dns::{Transport, Zone, answer};

/// For a client to send its next query, complete, when it has all its answers (RFC 7766 §6.2.3 leaves it to us).
const IDLE: Duration = Duration::from_secs(10);

/// For a client to take an answer.
const WRITE: Duration = Duration::from_secs(10);

/// Bytes of a query. One with a name of full length and EDNS options has about 400.
const LIMIT: usize = 4096;

/// Queries of a connection that are being answered at a time; the next is not read before.
const PIPELINE: usize = 32;

/// Answers queries, each when its answer is there (RFC 7766 §6.2.1.1), until the client closes or falls silent for 10 s.
///
/// # Errors
/// The client sent an oversized query, took no answer in 10 s, or the socket failed.
pub(crate) async fn serve<S>(mut stream: S, zone: &impl Zone) -> Result<(), DnsTcpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut queries = Queries::default();
    let mut answers = FuturesUnordered::new();
    let mut open = true;
    let mut deadline = Instant::now() + IDLE;
    while open || !answers.is_empty() {
        tokio::select! {
            Some(message) = answers.next() => {
                let message: Option<Vec<u8>> = message;
                if let Some(message) = message {
                    write(&mut stream, &frame(&message)).await?;
                }
                deadline = Instant::now() + IDLE;
            }
            // Stopped at any point, it goes on from there: what was read is in `queries`.
            next = next(&mut stream, &mut queries, deadline), if open && answers.len() < PIPELINE => {
                match next? {
                    Next::Query(query) => {
                        answers.push(async move { answer(&query, Transport::Tcp, zone).await });
                        deadline = Instant::now() + IDLE;
                    }
                    // It may have closed its side only, and wait for answers.
                    Next::Closed => open = false,
                    Next::Silence if answers.is_empty() => open = false,
                    Next::Silence => deadline = Instant::now() + IDLE,
                }
            }
        }
    }
    Ok(())
}

/// What ended a connection before the client did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DnsTcpError {
    #[error("the client's DNS query is larger than {LIMIT} bytes")]
    TooLarge,
    #[error("the client took no DNS answer for {} s", WRITE.as_secs())]
    Stalled,
    #[error("the client's DNS connection failed")]
    Io(#[from] io::Error),
}

/// Splits a byte stream into queries.
#[derive(Debug, Default)]
struct Queries {
    unread: BytesMut,
}

impl Queries {
    fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next complete query; `None`: more bytes are needed.
    fn next(&mut self) -> Result<Option<Bytes>, DnsTcpError> {
        let Some(&prefix) = self.unread.first_chunk() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes(prefix));
        if length > LIMIT {
            return Err(DnsTcpError::TooLarge);
        }
        if self.unread.len() < prefix.len() + length {
            return Ok(None);
        }
        self.unread.advance(prefix.len());
        Ok(Some(self.unread.split_to(length).freeze()))
    }
}

/// What a client does next.
enum Next {
    Query(Bytes),
    /// What it left unfinished is of no use.
    Closed,
    Silence,
}

async fn next<S>(
    stream: &mut S,
    queries: &mut Queries,
    deadline: Instant,
) -> Result<Next, DnsTcpError>
where
    S: AsyncRead + Unpin,
{
    let mut chunk = [0; 1024];
    loop {
        if let Some(query) = queries.next()? {
            return Ok(Next::Query(query));
        }
        let Ok(read) = timeout_at(deadline, stream.read(&mut chunk)).await else {
            return Ok(Next::Silence);
        };
        match read? {
            0 => return Ok(Next::Closed),
            count => queries.push(chunk.get(..count).unwrap_or_default()),
        }
    }
}

async fn write<S>(stream: &mut S, bytes: &[u8]) -> Result<(), DnsTcpError>
where
    S: AsyncWrite + Unpin,
{
    timeout(WRITE, stream.write_all(bytes))
        .await
        .map_err(|_elapsed| DnsTcpError::Stalled)?
        .map_err(DnsTcpError::Io)
}

/// In one piece, so that the length and the message leave in one segment (RFC 7766 §8).
fn frame(message: &[u8]) -> Vec<u8> {
    // Answers are held to 65,535 bytes where they are made.
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), message].concat()
}

#[cfg(test)]
mod tests;

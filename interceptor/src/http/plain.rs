//! HTTP over plain TCP: the first request says which host is meant, before anything is dialled.

use std::io;

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};

use super::{
    authority::{self, AuthorityError, Scheme},
    head::{HeadError, RequestHead, Scanner},
    refusal::Refusal,
    relay::HEAD_LIMIT,
    wire::Inbound,
};
use crate::address::Authority;

/// What a connection's first request says.
#[derive(Debug)]
pub(crate) struct First {
    /// The host that it is addressed to, at the port that the client connected to.
    pub(crate) authority: Authority,
    /// All bytes that were read: `Exchange::early`.
    pub(crate) buffered: BytesMut,
}

/// Why there is no first request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirstError {
    /// To be told to the client by [`super::deny()`], with what was read of its request.
    #[error("{refusal}")]
    Refused {
        refusal: Refusal,
        buffered: BytesMut,
    },
    #[error("the client closed before its first request was complete")]
    Closed,
    #[error("the connection to the client failed")]
    Io(#[source] io::Error),
}

/// Reads until the first request's head is complete, for at most [`HEAD_LIMIT`]. `port` is the one that the client
/// connected to; a request that names another one is refused.
pub(crate) async fn first_head<S>(stream: &mut S, port: u16) -> Result<First, FirstError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = Instant::now() + HEAD_LIMIT;
    let mut client = Inbound::new(stream, BytesMut::new());
    let mut scanner = Scanner::default();
    let judged = loop {
        if client.skip_empty_lines() {
            scanner = Scanner::default();
        }
        match scanner.find(&client.buffer) {
            Ok(Some(length)) => {
                break addressee(client.buffer.get(..length).unwrap_or_default(), port);
            }
            Ok(None) if is_foreign(&client.buffer) => {
                break Err(Refusal::Head(HeadError::FirstLine));
            }
            Ok(None) => {}
            Err(error) => break Err(Refusal::Head(error)),
        }
        match timeout_at(deadline, client.fill()).await {
            Ok(Ok(0)) => return Err(FirstError::Closed),
            Ok(read) => read.map_err(FirstError::Io)?,
            Err(_late) => break Err(Refusal::HeadLate(HEAD_LIMIT)),
        };
    };
    let buffered = client.buffer;
    match judged {
        Ok(authority) => Ok(First {
            authority,
            buffered,
        }),
        Err(refusal) => Err(FirstError::Refused { refusal, buffered }),
    }
}

/// The first line is complete and no request's: whoever greets in another protocol waits for an answer, not to be able
/// to go on.
fn is_foreign(buffer: &[u8]) -> bool {
    memchr::memchr(b'\n', buffer)
        .and_then(|end| buffer.get(..end))
        .is_some_and(|line| memchr::memmem::find(line, b" HTTP/").is_none())
}

fn addressee(head: &[u8], port: u16) -> Result<Authority, Refusal> {
    let head = RequestHead::parse(head)?;
    let authority = authority::claimed(&head, Scheme::Http)?;
    if authority.port != port {
        let expected = Authority { port, ..authority };
        return Err(AuthorityError::Misdirected { expected }.into());
    }
    Ok(authority)
}

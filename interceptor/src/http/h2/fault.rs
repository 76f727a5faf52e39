//! How a peer broke a connection or a stream. Never with the text of a GOAWAY, which is the peer's: it may hold a secret
//! that was sent to it.

use std::io;

use h2::Reason;

use crate::http::refusal::Refusal;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the stream failed")]
    Io(#[source] io::Error),
    #[error("it broke the protocol: {0}")]
    Broke(Reason),
    #[error("it ended the connection: {0}")]
    Left(Reason),
    #[error("the connection was used in a way that HTTP/2 does not allow")]
    Misused,
}

impl From<h2::Error> for Fault {
    fn from(error: h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_remote() => Self::Left(reason),
            Some(reason) => Self::Broke(reason),
            None => error.into_io().map_or(Self::Misused, Self::Io),
        }
    }
}

impl Fault {
    /// The peer went away, without a word or with one that says that all is well.
    pub(super) fn is_hang_up(&self) -> bool {
        match self {
            Self::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
            ),
            Self::Left(reason) => *reason == Reason::NO_ERROR,
            Self::Broke(_) | Self::Misused => false,
        }
    }

    /// It asked for more than it may.
    pub(super) fn is_flood(&self) -> bool {
        matches!(self, Self::Broke(Reason::ENHANCE_YOUR_CALM))
    }
}

/// Why a body that was carried does not come to its end.
#[derive(Debug)]
pub(super) enum Cut {
    /// Whoever sends the body.
    Sender(h2::Error),
    Receiver(h2::Error),
    /// It may not go on.
    Refused(Refusal),
}

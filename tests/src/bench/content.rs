//! Bodies as both sides of the benchmark send them.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::order::Place;
use crate::bulk::Bulk;

pub(super) enum Content {
    /// As fast as the other side takes them; of this length, where it is told.
    Pieces(Box<dyn Iterator<Item = Bytes> + Send>, Option<u64>),
    /// As they come.
    Paced(mpsc::Receiver<Bytes>),
}

impl Content {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Self::Pieces(Box::new(Some(bytes).into_iter()), Some(length))
    }

    pub(super) fn bulk(bulk: Bulk, sized: bool) -> Self {
        let length = sized.then(|| bulk.length());
        Self::Pieces(Box::new(bulk.into_pieces()), length)
    }
}

/// A JSON text around so many bytes of filling, with a token as its member `token`.
///
/// # Errors
/// As [`Bulk::new`].
pub(crate) fn json(bytes: u64, token: Option<(Place, &str)>) -> anyhow::Result<Bulk> {
    let (head, tail) = match token {
        None => (r#"{"x":""#.to_owned(), r#""}"#.to_owned()),
        Some((Place::First, token)) => {
            (format!(r#"{{"token":"{token}","x":""#), r#""}"#.to_owned())
        }
        Some((Place::Last, token)) => (r#"{"x":""#.to_owned(), format!(r#"","token":"{token}"}}"#)),
    };
    Bulk::new(&head, &tail, bytes, false)
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Pieces(pieces, _) => Poll::Ready(pieces.find(|piece| !piece.is_empty())),
            Self::Paced(receiver) => receiver.poll_recv(context),
        };
        next.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Pieces(_, Some(length)) => SizeHint::with_exact(*length),
            Self::Pieces(_, None) | Self::Paced(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content(…)")
    }
}

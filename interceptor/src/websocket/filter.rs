//! What stands between two sockets in one direction. Sans-IO.

use bytes::BytesMut;

use super::{frame::Violation, inflate::Fault};
use crate::rewrite::document::Refusal;

/// Takes a stream of frames in and gives a stream of frames out.
///
/// Bytes are put into [`input`](Self::input); [`process`](Self::process) clears what it can, and goes on only when what
/// it cleared was [`written`](Self::written). That bounds every buffer: who reads no more than the other side takes,
/// holds no more.
pub(crate) trait Filter {
    /// To be appended to.
    fn input(&mut self) -> &mut BytesMut;

    /// Goes on with what is in the input.
    ///
    /// # Errors
    /// The stream ends here. What was cleared before is still good.
    fn process(&mut self) -> Result<(), Stop>;

    /// What is cleared, in this order.
    fn output(&self) -> [&[u8]; 2];

    /// So much of the output has gone.
    fn written(&mut self, bytes: usize);

    /// Nothing behind the current frame goes on.
    fn stop(&mut self);

    /// Everything that was cleared ends at a frame's end, and another frame may follow.
    fn at_boundary(&self) -> bool;

    /// The stream has come to its end: clears what waited for more.
    fn end(&mut self) {}

    /// Gives memory back: nothing is going on.
    fn relax(&mut self);

    /// A Close frame went by, with that code.
    fn closed(&self) -> Option<Option<u16>>;
}

/// Why a stream may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Violation(Violation),
    Refused(Refusal),
    /// A compressed message cannot be searched.
    Opaque(Fault),
    /// The policy lets the client send no messages.
    Forbidden,
    NoRandom,
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Opaque(fault)
    }
}

impl From<super::mask::NoRandom> for Stop {
    fn from(_: super::mask::NoRandom) -> Self {
        Self::NoRandom
    }
}

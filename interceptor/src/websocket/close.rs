//! Close frames, RFC 6455 §5.5.1 and §7.4.

use super::{
    frame::{self, Opcode},
    mask,
};

/// The daemon, or for the server the client, goes away.
pub(crate) const GOING_AWAY: u16 = 1001;

/// The other side broke the protocol.
pub(crate) const PROTOCOL_ERROR: u16 = 1002;

/// What was sent is not what it says it is.
pub(crate) const INVALID_DATA: u16 = 1007;

/// What was sent may not be.
pub(crate) const POLICY_VIOLATION: u16 = 1008;

/// What was sent is more than anybody should.
pub(crate) const TOO_BIG: u16 = 1009;

/// A client misses an extension that it needs (RFC 6455 §7.4.1).
pub(crate) const MISSING_EXTENSION: u16 = 1010;

/// A Close frame; towards a server with a mask. `reason` is cut to what a control frame holds, and should be ASCII.
pub(crate) fn frame(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let room = usize::try_from(frame::CONTROL_MAX).unwrap_or(0) - 2;
    let reason = reason.get(..room).unwrap_or(reason);
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    let mut out = Vec::new();
    frame::put_header(&mut out, true, Opcode::Close, mask, payload.len());
    mask::copy(mask.unwrap_or_default(), 0, &payload, &mut out);
    out
}

/// The code in a Close frame's payload, if it has one.
pub(crate) fn code(payload: &[u8]) -> Option<u16> {
    payload.first_chunk().map(|code| u16::from_be_bytes(*code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_is_a_control_frame_with_code_and_reason() {
        assert_eq!(frame(1001, "", None), [0x88, 2, 0x03, 0xe9]);
        assert_eq!(frame(1008, "no", None), [0x88, 4, 0x03, 0xf0, b'n', b'o']);
        assert_eq!(
            frame(1002, "x", Some([1, 2, 3, 4])),
            [0x88, 0x83, 1, 2, 3, 4, 0x03 ^ 1, 0xea ^ 2, b'x' ^ 3]
        );
        let long = frame(1008, &"r".repeat(400), None);
        assert_eq!(long.len(), 2 + 125);
    }

    #[test]
    fn code_is_read_where_there_is_one() {
        assert_eq!(code(&[0x0f, 0xa4, b'x']), Some(4004));
        assert_eq!(code(&[0x0f]), None);
        assert_eq!(code(&[]), None);
    }
}

//! HTTP/2 frame by frame, as no library would write it: what a hostile client and a hostile server send, and how that
//! must end (RFC 9113, RFC 7541).
//!
//! | file | job |
//! |---|---|
//! | `wire` | a TLS connection that reads while it writes, so that a flood never deadlocks |
//! | `hpack` | header blocks written by hand; of an answer's, the status |
//! | `client` | the client's end of a connection: what it sends by hand, and what it notes of what comes |
//! | `server` | the server's end |
//! | `verdict` | what was seen of a peer, and whether that is right |
//! | `cases` | what clients send, a line a case |
//! | `floods` | what clients send too much of |
//! | `servers` | what servers send |
//! | `table` | plays many of them at a time |
//! | `recorder` | a server by the `h2` crate, which remembers what arrived |

pub mod cases;
pub mod client;
pub mod floods;
pub mod hpack;
pub mod recorder;
pub mod server;
pub mod servers;
pub mod table;
pub mod verdict;
pub mod wire;

/// What every client begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Types (RFC 9113 §6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
/// Of a type that nobody has defined.
pub const UNKNOWN: u8 = 0xbe;

// Flags.
pub const ACK: u8 = 0x1;
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITISED: u8 = 0x20;

// Settings (RFC 9113 §6.5.2).
pub const HEADER_TABLE_SIZE: u16 = 1;
pub const ENABLE_PUSH: u16 = 2;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;

// Error codes (RFC 9113 §7).
pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const INTERNAL_ERROR: u32 = 2;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// Largest payload that a peer must take (RFC 9113 §4.2).
pub const LARGEST: usize = 16_384;

/// One frame, whatever its payload is worth.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(payload.len(), kind, flags, stream);
    bytes.extend_from_slice(payload);
    bytes
}

/// The header of a frame, which may promise what does not come.
pub fn header(length: usize, kind: u8, flags: u8, stream: u32) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![high, middle, low, kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes
}

/// A SETTINGS frame.
pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in values {
        payload.extend(name.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// A frame whose payload is one number: RST_STREAM or WINDOW_UPDATE.
pub fn number(kind: u8, stream: u32, value: u32) -> Vec<u8> {
    frame(kind, 0, stream, &value.to_be_bytes())
}

pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(
        GOAWAY,
        0,
        0,
        &[last.to_be_bytes(), code.to_be_bytes()].concat(),
    )
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Takes the first whole frame out of `inbox`.
    pub fn take(inbox: &mut Vec<u8>) -> Option<Self> {
        let (&[high, middle, low, kind, flags, a, b, c, d], rest) = inbox.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()?;
        let payload = rest.get(..length)?.to_vec();
        inbox.drain(..9 + length);
        Some(Self {
            kind,
            flags,
            stream: u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff,
            payload,
        })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The number that stands at an offset of the payload.
    pub fn number(&self, at: usize) -> Option<u32> {
        let (bytes, _) = self.payload.get(at..)?.split_first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    }
}

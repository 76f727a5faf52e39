//! What a client is told to do, and what it says of it: a line of JSON each.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    Http1,
    Http2,
}

/// Where a token stands in a JSON body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    First,
    Last,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Framing {
    /// With its length.
    Sized,
    /// In chunks where the protocol has them.
    Chunked,
    /// In chunks, compressed.
    Gzip,
}

/// On one connection, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// A stream of server-sent events, so many milliseconds apart. A sample: from the server's writing one until it is read.
    Events { count: u32, pause: u64, gzip: bool },
    /// Small requests, one after the other. A sample: from writing one until its answer's head is read.
    Small { requests: u32 },
    /// A new connection for each of so many small requests. A sample: from connecting until the answer is read.
    Connect { connections: u32 },
    /// A sample: from the request until the last byte is read.
    Download { bytes: u64, framing: Framing },
    /// A JSON text. A sample: from the request until the answer is read.
    Upload { bytes: u64, token: Option<Place> },
    /// WebSocket messages, one after the other, after one that logs in. A sample: a round trip.
    Echo { messages: u32 },
    /// Connections with one small request each, held to the end of the client.
    Hold { connections: u32 },
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    pub number: u64,
    pub host: String,
    pub version: Version,
    /// The token, or what stands for it.
    pub credential: String,
    /// The credential is presented in the header `authorization`.
    pub bearer: bool,
    pub work: Work,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    pub number: u64,
    /// Nanoseconds.
    pub samples: Vec<u64>,
    /// Nanoseconds for all of them.
    pub elapsed: u64,
    /// Bytes of body that arrived, here or at the server.
    pub bytes: u64,
    pub error: Option<String>,
}

impl Work {
    /// How many there are of it.
    pub(super) fn samples(self) -> usize {
        let samples = match self {
            Self::Events { count, .. } => count,
            Self::Small { requests } => requests,
            Self::Connect { connections } => connections,
            Self::Download { .. } | Self::Upload { .. } => 1,
            Self::Echo { messages } => messages,
            Self::Hold { .. } => 0,
        };
        samples as usize
    }
}

impl Version {
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        })
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            host,
            version,
            credential: _,
            bearer,
            work,
        } = self;
        f.debug_struct("Order")
            .field("number", number)
            .field("host", host)
            .field("version", version)
            .field("bearer", bearer)
            .field("work", work)
            .finish_non_exhaustive()
    }
}

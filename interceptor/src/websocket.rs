//! Carries a WebSocket connection (RFC 6455) and puts secrets into what the client sends.
//!
//! | file | job |
//! |---|---|
//! | `handshake`, `extension` | is this upgrade one, and is that answer its answer |
//! | `frame`, `mask`, `close` | the wire format |
//! | `inflate` | looks into compressed messages |
//! | `takeover` | remembers clients that refuse what the handshake tells them |
//! | `rewriter` | client to server: holds, rewrites, re-frames |
//! | `observer` | server to client: passes on, and puts placeholders back |
//! | `lane` | moves bytes from one socket through a filter to another |
//! | `relay` | both directions, deadlines, the end |
//!
//! # What is passed on, what is not
//! Everything that a receiver decides about the *content* is passed on as it is: the proxy answers no pings, sends no
//! closes of its own while the two sides agree, and its user sees the same codes as without it. Where the *framing*
//! breaks a rule, the two sides could take the same bytes for different messages, so nothing from there on is passed
//! on: in its place the receiver gets Close 1002, and its answer travels back like every other frame. No secret depends
//! on bytes behind such a place.
//!
//! | seen | from the client | from the server |
//! |---|---|---|
//! | RSV2, RSV3; RSV1 on a control frame, on a continuation, or without permessage-deflate | 1002 | 1002 |
//! | reserved opcode 3–7, 11–15 | 1002 | 1002 |
//! | control frame that is fragmented or longer than 125 bytes | 1002 | 1002 |
//! | frame not masked / masked | 1002 | 1002 |
//! | length not in its shortest form, or with the top bit of 64 | 1002 | 1002 |
//! | continuation without a message | 1002 | 1002 |
//! | new message inside a message | 1002 | 1002 |
//! | mask of zeroes | passed on | – |
//! | invalid UTF-8, also split | passed on, the server answers 1007 | passed on |
//! | reserved or missing close code, close reason not UTF-8, close payload of 1 byte | passed on | passed on |
//! | ping, pong, wanted or not, between fragments or not | passed on at once | passed on at once |
//! | empty fragment, empty final fragment, empty message | passed on | passed on |
//! | bytes behind a Close | passed on, never rewritten | passed on |
//! | a message that never ends, of any length | passed on, streamed | passed on |
//! | binary message that begins with `{` or `[` | as a text message, stays binary | passed on |
//! | any other binary message, whole within the hold of 64 KiB | passed on, rewritten if its format is known | passed on |
//! | a longer one, or one whose sender rests before a placeholder has come | passed on, never rewritten | passed on |
//! | compressed message, in one frame or several | passed on, rewritten uncompressed | passed on |
//! | compressed message, if nothing can be rewritten on the connection | passed on | passed on |
//! | empty compressed message, with or without a block | passed on | passed on |
//! | compressed message that ends with a last block (BFINAL), or that and one zero byte | as any other | passed on |
//! | compressed message with more behind its last block, that ends inside a block, or that does not inflate by itself | 1007 | passed on |
//! | compressed message that inflates to more than 128 times its size and 1 MiB, or to more than 4 GiB | 1009 | passed on |
//! | after a secret was written: a message, ping, pong, close reason or late data with that secret | – | its placeholder stands there |
//! | after a secret was written: a compressed message as it is 1007 from the client | as above | 1007 |
//! | placeholder that stands at its field and cannot be replaced, or elsewhere with `unbound: refuse` | 1008 | – |
//! | any message, if the policy lets the client send none | 1008 | passed on |
//! | end without a Close, TLS end without close_notify | passed on as an end | passed on as an end |
//!
//! # Secrets that come back
//! What was written on this connection, in its handshake or in a message, becomes its placeholder again on the way back
//! (see `rewrite::reflection` for the spellings), unless the sandbox's `unredacted` names the host. Until something was
//! written nothing is held, copied or searched. A compressed message that was on its way to the client when the first
//! secret was written passes to its end unsearched; in an uncompressed one the search begins there. A secret that is cut by
//! the end of a message, or compressed inside one (Discord's `compress=zlib-stream`, which never repeats the token), is
//! not seen.
//!
//! # Compression
//! permessage-deflate (RFC 7692) stays as the two sides negotiate it; other extensions are taken out of the offer.
//! Where messages may be rewritten, the client sees `client_no_context_takeover` in the answer even if the server did not
//! say it: that binds it (§7.1.1.2), each of its messages stands alone, and so nothing has to be deflated here. A
//! compressed message without a placeholder goes on byte for byte, whatever went before it; a rewritten one, or one too
//! long to hold, goes uncompressed, which leaves the server's window as it was. A client that goes on using its window all
//! the same would corrupt what the server reads behind a rewritten message; its first message that does so does not
//! inflate by itself, and ends the connection.
//!
//! The parameter comes unasked. The clients ws, undici, websockets, aiohttp, tornado and faye take it, gorilla asks for it.
//! Where a client ends its connection before its first message instead, the next connection to that host is answered
//! without it. Its messages refer to each other then: 32 KiB of their text are kept to read the next one with. They go on
//! as they came until one does not; then the server's window lacks that one's text, and every compressed message behind
//! it goes uncompressed.
//!
//! Where a secret may come back in what the server sends, `server_no_context_takeover` is added to the offer.
//!
//! # Reloads
//! A session hears of each. A rotated secret is in the next message; the one that is coming keeps what it began with. A
//! session that may not go on ends as below. One that began without anything to be rewritten, and with compression that
//! the messages of a side share a window for, stays without. Where `unredacted` no longer names the host, what was
//! written before is looked for, too; if the server's messages share a window, the session ends.
//!
//! What the policy ends is closed with 1008 towards the client and 1001 towards the server, what the daemon ends with
//! 1001 towards both; always at a frame's end, or without a Close if there is none in time.

use std::{fmt, io, sync::Arc};

use tokio::sync::watch;

use self::takeover::Trial;
use crate::{
    error::chain,
    rewrite::{
        document::Refusal,
        release::Release,
        standing::{Revoked, Standing},
    },
    stats::connection::Connection,
};

mod close;
mod extension;
mod filter;
mod frame;
pub(crate) mod handshake;
mod inflate;
mod lane;
mod mask;
mod observer;
mod relay;
mod rewriter;
pub(crate) mod takeover;

pub(crate) use extension::Compression;
pub(crate) use frame::Violation;
pub(crate) use inflate::Fault;
#[cfg(any(test, fuzzing))]
pub(crate) use observer::script as echo;
pub(crate) use relay::relay;
#[cfg(any(test, fuzzing))]
pub(crate) use rewriter::script;

/// What a relayed connection works with.
pub(crate) struct Session {
    pub(crate) release: Arc<Release>,
    pub(crate) stats: Arc<Connection>,
    /// Count its bytes: nobody below does.
    pub(crate) counts_bytes: bool,
    /// `None`: permessage-deflate was not negotiated.
    pub(crate) deflate: Option<Compression>,
    /// The client was told `client_no_context_takeover` unasked: it has yet to take it.
    pub(crate) trial: Option<Trial>,
    /// The policy lets the client send no messages: its first one ends the connection with Close 1008. Asked again after
    /// a reload.
    pub(crate) listen_only: Box<dyn Fn() -> bool + Send + Sync>,
    /// Asked for `release`, and whether to go on at all, after every reload.
    pub(crate) standing: Standing,
    /// Becomes true when the daemon stops: both sides get Close 1001. A dropped sender means never.
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// How a connection came to its end without anybody's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// That side sent the first Close.
    Closed { by: Side, code: Option<u16> },
    /// That side ended its stream without one.
    Vanished { by: Side },
    /// The daemon stops.
    GoingAway,
}

/// How a connection failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebSocketError {
    #[error("the connection to the client broke")]
    Client(#[source] io::Error),
    #[error("the connection to the server broke")]
    Server(#[source] io::Error),
    #[error("the client broke the WebSocket protocol")]
    ClientProtocol(#[source] Violation),
    #[error("the server broke the WebSocket protocol")]
    ServerProtocol(#[source] Violation),
    #[error("denied")]
    Refused(#[source] Refusal),
    #[error("a compressed message from the client cannot be searched for placeholders")]
    Opaque(#[source] Fault),
    #[error("a compressed message from the server cannot be searched for secrets")]
    Unreadable(#[source] Fault),
    #[error("the policy lets the client send no messages")]
    Forbidden,
    #[error("the configuration no longer allows the connection")]
    Revoked(#[source] Revoked),
    #[error("the system has no random bytes for a frame's mask")]
    Random,
}

impl WebSocketError {
    /// What is counted as a denial, by what the client reads in the close, and the reason for it.
    pub(crate) fn denial(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Refused(refusal) => Some((refusal.code(), chain(refusal))),
            Self::Opaque(fault) | Self::Unreadable(fault) => Some((fault.code(), chain(self))),
            Self::Revoked(revoked) => Some((revoked.code(), revoked.to_string())),
            Self::Forbidden => Some(("policy_denied", chain(self))),
            Self::Client(_)
            | Self::Server(_)
            | Self::ClientProtocol(_)
            | Self::ServerProtocol(_)
            | Self::Random => None,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed {
                by,
                code: Some(code),
            } => write!(f, "{by} closed with {code}"),
            Self::Closed { by, code: None } => write!(f, "{by} closed"),
            Self::Vanished { by } => write!(f, "{by} went away without a close"),
            Self::GoingAway => f.write_str("closed with 1001, the daemon stops"),
        }
    }
}

//! HTTP/2 between one client and one server, both already connected (RFC 9113). Both sides are ended here, by the `h2`
//! crate: no frame passes as it is, every request and every answer is made anew from what was understood of it.
//!
//! | file | job |
//! |---|---|
//! | `relay` | both connections: which streams there are, when it ends |
//! | `request` | what is done with one request, decided from its head |
//! | `stream` | one request and its answer, both under way at once; who is told when one breaks |
//! | `answer` | the answer's half: interim heads, the head, its body |
//! | `download` | an answer's body that secrets may come back in |
//! | `upload` | a request's body that secrets may go into |
//! | `carry` | moves a body and its trailers, at the pace of whoever reads it |
//! | `websocket` | a stream that becomes a WebSocket |
//! | `pipe` | its two halves as one stream of bytes |
//! | `piece` | a part of a body on its way to a socket |
//! | `watch` | counts bytes and frames on both sockets, finds peers that do not read |
//! | `frames` | finds the frames in a stream of bytes |
//! | `fault` | how a peer broke the protocol |
//!
//! # What is passed on
//! | seen | what happens |
//! |---|---|
//! | DATA | passed on as far as the other side's window has room; only then the sender's window opens again |
//! | a request's body that secrets may go into | held and rewritten as over HTTP/1; a refusal behind the hold resets the server's stream |
//! | an answer, once a secret was written on any stream of the connection | passed on without the secrets in it; one that they cannot be taken out of is reset |
//! | trailers, interim responses (1xx) | passed on |
//! | RST_STREAM of the client | passed on with its code; what the server sends from then on is dropped |
//! | RST_STREAM of the server | passed on with its code, behind all that came before it: Node ends whole answers with NO_ERROR |
//! | GOAWAY of the server | the client gets one; streams that the server says it has not seen are reset with REFUSED_STREAM, so that the client asks again on another connection |
//! | the server closes | streams under way are reset with INTERNAL_ERROR |
//! | a request that is refused | answered as in HTTP/1, its stream alone; the connection goes on |
//! | extended CONNECT (RFC 8441) | if the server takes it: to `websocket` like an upgrade of HTTP/1.1, 501 to all else |
//! | PUSH_PROMISE | forbidden to the server by our SETTINGS |
//! | PING, SETTINGS, WINDOW_UPDATE, PRIORITY | each connection's own |
//! | a malformed request or answer (RFC 9113 §8.1.1) | its stream is reset with PROTOCOL_ERROR; before its head has gone on, an answer is 502 |
//!
//! # Reloads
//! Each request is decided by the configuration that is valid when it comes. A connection that may not go on answers with
//! 403, and is ended for the client to make another one; where it was the policy that changed, streams under way are
//! reset.

mod answer;
mod carry;
mod download;
mod fault;
pub(crate) mod frames;
mod piece;
mod pipe;
mod relay;
mod request;
mod stream;
mod upload;
mod watch;
mod websocket;

use std::time::Duration;

pub(crate) use self::{fault::Fault, relay::relay};
use super::head::MAX_HEAD;

/// Streams of a client at a time. What is more than the server takes waits for its turn.
const STREAMS: u32 = 100;
/// Bytes that a client may send ahead on one stream, and on all together: eight of them may stand still before the others
/// do.
const CLIENT_WINDOW: u32 = 64 * 1024;
const CLIENT_WINDOWS: u32 = 512 * 1024;
/// The same for a server, which is further away: 50 ms at 5 MB/s.
const SERVER_WINDOW: u32 = 256 * 1024;
const SERVER_WINDOWS: u32 = 2 * 1024 * 1024;
/// Bytes of one stream that wait for the socket.
const SEND_BUFFER: usize = 32 * 1024;
/// Of a head that is over [`MAX_HEAD`] as much is read, so that it can be answered.
const HEADER_LIST: u32 = 2 * MAX_HEAD as u32;
/// Dynamic table of HPACK, each way (RFC 7541 §4.2).
const HEADER_TABLE: u32 = 4096;
/// Streams that were taken back before they were looked at.
const PENDING_RESETS: usize = 20;
/// Streams that the `h2` crate itself resets for what is in them.
const ERROR_RESETS: usize = 256;
/// What DATA frames of less than 256 bytes may take beside their bytes while they wait for whoever reads them: each as
/// much as it is shorter. The `h2` crate's own bound is half of what a connection may send ahead, and ends connections
/// whose peers keep to their windows: messages of 20 bytes, as many as one client's stream may send, need 755 KiB.
const SMALL_FRAMES: usize = 8 * 1024 * 1024;
/// Longest time without any stream.
const IDLE: Duration = Duration::from_secs(300);
/// For a client to answer to a GOAWAY, and for the last frames to be written.
const FAREWELL: Duration = Duration::from_secs(5);

fn server() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(CLIENT_WINDOW)
        .initial_connection_window_size(CLIENT_WINDOWS)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(HEADER_LIST)
        .header_table_size(HEADER_TABLE)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(ERROR_RESETS))
        .data_frame_budget(SMALL_FRAMES);
    builder
}

fn client() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(SERVER_WINDOW)
        .initial_connection_window_size(SERVER_WINDOWS)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(HEADER_LIST)
        .header_table_size(HEADER_TABLE)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(ERROR_RESETS))
        .data_frame_budget(SMALL_FRAMES);
    builder
}

#[cfg(test)]
mod tests;

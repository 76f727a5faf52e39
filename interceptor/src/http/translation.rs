//! For a client and a server that have no version of HTTP in common: the relay speaks the client's version with a
//! translator, and that one the server's with the server. Everything that is decided is decided in the relay.
//!
//! | file | job |
//! |---|---|
//! | `downward` | HTTP/2 in, HTTP/1.1 out |
//! | `upward` | HTTP/1.1 in, HTTP/2 out |
//! | `fields` | what a message loses on the way |
//!
//! Not translated: interim responses, and switching protocols. A body ends whole or not at all on both sides.

mod downward;
mod fields;
mod upward;

pub(crate) use self::{downward::to_http1, upward::to_http2};

/// Bytes in each direction between the relay and the translator.
const PIPE: usize = 64 * 1024;

#[cfg(test)]
mod tests;

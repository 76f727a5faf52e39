//! The relay between an HTTP/2 client and an HTTP/2 server.

mod bodies;
mod ends;
mod floods;
mod forwarding;
mod node;
mod peer;
mod pressure;
mod raw;
mod redaction;
mod refusing;
mod rewriting;
mod standing;
mod websocket;

//! HTTP/1 between one client and one server, both already connected: every request is checked against the authority
//! that the connection was authorised for, secrets go into the fields they are bound to, and everything else goes on
//! byte for byte.

mod authority;
mod body;
mod framing;
mod head;
mod wire;

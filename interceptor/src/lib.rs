//! interceptor puts real credentials into a sandbox's traffic on its way out, for every client.
//!
//! The rooms import downwards in the order of this list, never up.

#![deny(unsafe_code)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "until every room is wired to daemon.rs"
)]

mod address;
pub mod cli;
mod config;
mod control;
mod daemon;
mod dns;
mod flow;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
#[allow(
    unsafe_code,
    reason = "the kernel room: bpf(2), setns(2), socket options"
)]
mod kernel;
mod policy;
mod rewrite;
mod sandbox;
mod secrets;
mod stats;
mod tls;
mod websocket;

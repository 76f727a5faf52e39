//! interceptor puts real credentials into a sandbox's traffic on its way out, for every client.
//!
//! One room, one job. Rooms import downwards in the order of the list in ARCHITECTURE.md, never up.

#![deny(unsafe_code)]

mod address;
pub mod cli;
mod config;
mod control;
mod daemon;
mod dns;
mod error;
mod file;
mod flow;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod http;
#[allow(
    unsafe_code,
    reason = "the kernel room: bpf(2), setns(2), socket options"
)]
mod kernel;
mod locate;
mod policy;
mod rewrite;
mod sandbox;
mod secrets;
mod stats;
mod tls;
mod trust;
mod websocket;
mod yaml;

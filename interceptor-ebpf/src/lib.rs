//! What the cgroup programs and the daemon say to each other.
//!
//! Every struct is `repr(C)` with explicit widths and explicit padding, and its size and offsets are asserted at
//! compile time. This file is compiled into both sides, so a layout that differs does not build. Change anything
//! here and [`VERSION`] goes up: pins of another version are never opened.
//!
//! Addresses are always 16 bytes, IPv4 in its v4-mapped form (RFC 4291 §2.5.5.2), in network byte order. Ports are in
//! host byte order. Times are `CLOCK_MONOTONIC` nanoseconds (`bpf_ktime_get_ns`).
#![no_std]

pub mod counter;
pub mod event;
pub mod flow;
pub mod layout;
pub mod netns;
pub mod permit;
pub mod sandbox;
pub mod socket;
pub mod tally;

/// Version of everything in this crate. It names the directory of the pins.
pub const VERSION: u32 = 3;

/// Port, TCP and UDP, that a network namespace's listeners take unless it is taken. Above the usual ephemeral range
/// (32768 to 60999), so that no outgoing socket holds it by chance.
pub const DEFAULT_PORT: u16 = 61913;

/// Marks types whose every bit pattern is a value and that have no padding the compiler chose.
///
/// # Safety
/// `repr(C)`, no implicit padding, no references, no enums, no `bool`.
pub unsafe trait Plain: Copy + 'static {}

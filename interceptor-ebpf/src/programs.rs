//! One module per hook or group of hooks, over small ones that they share.

mod address;
mod connect;
mod context;
mod datagram;
mod device;
mod facts;
mod family;
mod fence;
mod flows;
mod maps;
mod netns;
mod options;
mod owner;
mod packet;
mod peername;
mod permits;
mod receiver;
mod report;
mod socket;
mod steer;
mod tallies;
mod tcp;

/// What a hook other than the fence answers.
const ALLOW: i32 = 1;
/// EPERM, unless `bpf_set_retval` said something else.
const DENY: i32 = 0;

/// Where resolvers listen, over UDP and TCP.
const DNS_PORT: u16 = 53;

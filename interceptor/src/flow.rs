//! One connection from accept to close: identify, sniff, decide, relay.

mod call;
mod caller;
mod denial;
mod dial;
mod engine;
mod evidence;
mod memories;
mod names;
mod pool;
mod rate;
mod sandbox;
mod socket;
mod tunnel;
mod upstream;
mod workers;

use std::{net::SocketAddr, time::SystemTime};

pub(crate) use self::{
    engine::{Configuration, Engine, EnrollError},
    memories::Memories,
};
use crate::address::{NetnsCookie, OriginalDst, SandboxId};

/// Who opened a connection or sent a datagram, as the kernel saw it.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) sandbox: SandboxId,
    pub(crate) netns: NetnsCookie,
    pub(crate) process: Process,
    pub(crate) original: OriginalDst,
    pub(crate) connected_at: SystemTime,
}

/// The thread that called connect() or sendmsg().
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) uid: u32,
    pub(crate) comm: Box<str>,
}

/// A refusal by the cgroup programs.
#[derive(Clone, Debug)]
pub(crate) struct KernelDenial {
    /// `None`: the socket has no owner.
    pub(crate) sandbox: Option<SandboxId>,
    pub(crate) netns: NetnsCookie,
    pub(crate) process: Process,
    pub(crate) destination: Option<SocketAddr>,
    /// One of a fixed set.
    pub(crate) code: &'static str,
    /// For an operator, lower case.
    pub(crate) reason: &'static str,
}

/// What has happened to a sandbox, or was done about it, outside of any connection.
#[derive(Clone, Debug)]
pub(crate) struct Incident {
    pub(crate) sandbox: SandboxId,
    pub(crate) process: Option<Process>,
    pub(crate) destination: Option<SocketAddr>,
    /// One of a fixed set, by which they are counted.
    pub(crate) reason: &'static str,
    /// For an operator.
    pub(crate) detail: String,
}

#[cfg(test)]
mod tests;

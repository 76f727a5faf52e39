//! `limits:` of a sandbox.

use crate::yaml::{Findings, Node};

/// What a sandbox may take of the daemon. What is beyond is that sandbox's loss alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Open at a time. Each takes two descriptors and some 50 KiB, up to 1 MiB while it is busy.
    pub(crate) connections: usize,
    /// Of TLS, being set up at a time: ClientHello, dial, handshakes on both sides. Others wait.
    pub(crate) handshakes: usize,
    /// Opened in a second, and at once after a quiet one.
    pub(crate) connects_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshakes: 256,
            connects_per_second: 1000,
        }
    }
}

pub(super) fn read(node: &Node, findings: &mut Findings) -> Option<Limits> {
    let mut fields = node.fields(findings)?;
    let connections = fields.take("connections");
    let handshakes = fields.take("handshakes");
    let connects_per_second = fields.take("connects_per_second");
    fields.finish(findings);
    let mut limits = Limits::default();
    let mut number =
        |node: Option<&Node>, most| node.and_then(|node| node.integer(1..=most, findings));
    if let Some(connections) = number(connections, 1_000_000) {
        limits.connections = usize::try_from(connections).unwrap_or(usize::MAX);
    }
    if let Some(handshakes) = number(handshakes, 1_000_000) {
        limits.handshakes = usize::try_from(handshakes).unwrap_or(usize::MAX);
    }
    if let Some(connects) = number(connects_per_second, 1_000_000) {
        limits.connects_per_second = u32::try_from(connects).unwrap_or(u32::MAX);
    }
    Some(limits)
}

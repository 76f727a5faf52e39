//! Who may ask the daemon for anything: root, and nobody in a sandbox, whoever it is there.

use crate::{
    address::SandboxId,
    flow::Engine,
    kernel::Peer,
    stats::{Denial, ProcessFacts, Stats},
};

/// `place` tells the sandbox that a process is in, `socket` is the name of what it has connected to.
///
/// # Errors
/// Why it may not, which has been recorded.
pub(super) fn admit<E>(
    peer: &Peer,
    place: impl FnOnce(u32) -> Result<Option<SandboxId>, E>,
    (engine, stats): (&Engine, &Stats),
    socket: &str,
) -> Result<(), String> {
    let (sandbox, why) = match peer.pid().map(place) {
        Some(Ok(sandbox @ Some(_))) => (sandbox, "it is in the sandbox"),
        _ if peer.uid != 0 => (None, "it is not root"),
        // After its place was read: that is no other process's.
        Some(Ok(None)) if peer.is_alive() => return Ok(()),
        Some(Ok(None) | Err(_)) | None => (None, "it cannot be told in which cgroup it is"),
    };
    let pid = peer.pid().unwrap_or(0);
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    stats.deny(Denial {
        sandbox,
        sandbox_name: sandbox.and_then(|id| engine.name_of(id)),
        process: ProcessFacts {
            pid,
            uid: peer.uid,
            comm: comm.trim_end().into(),
        },
        destination: None,
        name: Some(socket.to_owned()),
        connection: None,
        reason: "control_refused",
        detail: format!("the process may not ask the daemon for anything: {why}"),
    });
    Err(why.to_owned())
}

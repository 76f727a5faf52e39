//! What the programs say in words: only in an object that was built with `cargo xtask build-ebpf --log`, for debugging.

use std::{io, thread};

use aya::Ebpf;
use aya_log::EbpfLogger;
use rustix::event::{PollFd, PollFlags, poll};

/// Passes the programs' text on to the log, from a thread of its own, for as long as the process lives. Does nothing
/// for an object without text.
pub(super) fn follow(object: &mut Ebpf) -> io::Result<()> {
    let Ok(mut logger) = EbpfLogger::init(object) else {
        return Ok(());
    };
    thread::Builder::new()
        .name("programs-text".into())
        .spawn(move || {
            loop {
                let waited = poll(&mut [PollFd::new(&logger, PollFlags::IN)], None);
                if let Err(error) = waited {
                    tracing::debug!(%error, "the programs' text cannot be read any more");
                    return;
                }
                logger.flush();
            }
        })
        .map(drop)
}

//! Processors, and the time that a process takes of them.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Puts the calling thread, and all threads and processes that it starts, on one processor: what one of them gains by
/// another's waiting is then in no figure, and a round trip takes what all of them compute for it.
///
/// # Errors
/// The kernel refuses.
pub fn pin_to_one() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    // The first serves most interrupts.
    let last = (0..CpuSet::MAX_CPU).rfind(|cpu| allowed.is_set(*cpu));
    let mut one = CpuSet::new();
    one.set(last.context("no processor is allowed")?);
    Ok(sched_setaffinity(None, &one)?)
}

/// What all threads of a process that still live have taken (proc(5), `schedstat`).
///
/// # Errors
/// The process is gone.
pub(super) fn time(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let first = text
            .split_whitespace()
            .next()
            .context("an empty schedstat")?;
        nanoseconds += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

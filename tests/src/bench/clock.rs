//! Times that two processes agree on.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, which is one for all processes.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

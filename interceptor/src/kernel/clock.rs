//! The kernel's clocks.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

/// First time-out of a held connect: long enough to make listeners (under 1 ms), short enough to go unnoticed.
const HOLD: Duration = Duration::from_millis(40);

/// The wall-clock time of a `CLOCK_MONOTONIC` reading in nanoseconds.
pub(super) fn wall_time(monotonic_ns: u64) -> SystemTime {
    let age = monotonic().saturating_sub(Duration::from_nanos(monotonic_ns));
    SystemTime::now()
        .checked_sub(age)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// How long ago a `CLOCK_MONOTONIC` reading in nanoseconds was.
pub(super) fn age(monotonic_ns: u64) -> Duration {
    monotonic().saturating_sub(Duration::from_nanos(monotonic_ns))
}

/// [`HOLD`] in jiffies of this kernel. The resolution of the coarse clock is one jiffy (`CONFIG_HZ` is not to be had
/// otherwise, `_SC_CLK_TCK` is always 100).
pub(super) fn hold_jiffies() -> u32 {
    let jiffy = duration(clock_getres(ClockId::MonotonicCoarse)).as_nanos();
    let jiffies = HOLD.as_nanos().div_ceil(jiffy.max(1));
    u32::try_from(jiffies).unwrap_or(u32::MAX).max(1)
}

fn monotonic() -> Duration {
    duration(clock_gettime(ClockId::Monotonic))
}

fn duration(time: Timespec) -> Duration {
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_milliseconds_are_between_four_and_forty_jiffies() {
        assert!((4..=40).contains(&hold_jiffies()), "{}", hold_jiffies());
    }

    #[test]
    fn a_reading_of_now_is_now() {
        let now = u64::try_from(monotonic().as_nanos()).unwrap();
        let skew = SystemTime::now().duration_since(wall_time(now)).unwrap();
        assert!(skew < Duration::from_secs(5), "{skew:?}");
    }
}

//! How often something may happen.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What has not been used up for this long may be used at once.
const WINDOW: Duration = Duration::from_secs(1);

/// A number of times in a second, or at once after a quiet one (the generic cell rate algorithm: one instant is all that
/// it remembers).
#[derive(Debug)]
pub(super) struct Rate(Mutex<Option<Instant>>);

impl Rate {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether it may happen once more, at `per_second`.
    pub(super) fn admit(&self, per_second: u32, now: Instant) -> bool {
        let mut used_up = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = used_up.map_or(now, |instant| instant.max(now));
        let until = from + WINDOW / per_second.max(1);
        let admitted = until.duration_since(now) <= WINDOW;
        if admitted {
            *used_up = Some(until);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_second_is_used_up_at_once_and_the_rate_holds_from_there_on() {
        let (rate, start) = (Rate::new(), Instant::now());
        let admitted = |now| (0..100_000).filter(|_| rate.admit(1000, now)).count();
        assert_eq!(admitted(start), 1000);
        assert_eq!(admitted(start), 0);
        assert_eq!(admitted(start + WINDOW / 10), 100);
        assert_eq!(admitted(start + 1000 * WINDOW), 1000);
    }

    #[test]
    fn once_a_second_is_once_a_second() {
        let (rate, start) = (Rate::new(), Instant::now());
        assert!(rate.admit(1, start));
        assert!(!rate.admit(1, start + WINDOW / 2));
        assert!(rate.admit(1, start + WINDOW));
    }
}

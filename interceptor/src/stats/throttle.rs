//! How many refusals of a sandbox are lines in the log.
//!
//! A program can be refused in ten thousand different ways a second. What is beyond the limit is among the events and
//! in the totals alone, so that no sandbox fills the log.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::address::SandboxId;

/// Reports at once, for a sandbox that has been quiet.
const BURST: u32 = 100;
/// One more for each.
const INTERVAL: Duration = Duration::from_millis(100);
/// Sandboxes that are kept count of; numbers are not given twice, and old sockets carry those of old ones.
const SANDBOXES: usize = 4096;

/// One budget of reports per sandbox; sockets without owner share one.
#[derive(Debug, Default)]
pub(super) struct Throttle(HashMap<Option<SandboxId>, Budget>);

#[derive(Debug)]
struct Budget {
    left: u32,
    refilled: Instant,
    withheld: u64,
}

/// What becomes of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is reported, and so is how many were not since the last one that was.
    Report {
        withheld: u64,
    },
    Withhold,
}

impl Throttle {
    pub(super) fn admit(&mut self, sandbox: Option<SandboxId>, now: Instant) -> Admission {
        if self.0.len() >= SANDBOXES {
            self.0.retain(|_, budget| !budget.is_idle(now));
        }
        self.0
            .entry(sandbox)
            .or_insert(Budget {
                left: BURST,
                refilled: now,
                withheld: 0,
            })
            .spend(now)
    }
}

impl Budget {
    fn spend(&mut self, now: Instant) -> Admission {
        let due = self.due(now);
        if due > 0 {
            self.left = self.left.saturating_add(due).min(BURST);
            self.refilled = now;
        }
        if self.left == 0 {
            self.withheld += 1;
            return Admission::Withhold;
        }
        self.left -= 1;
        let withheld = std::mem::take(&mut self.withheld);
        Admission::Report { withheld }
    }

    fn due(&self, now: Instant) -> u32 {
        let intervals = now.duration_since(self.refilled).as_millis() / INTERVAL.as_millis();
        u32::try_from(intervals).unwrap_or(BURST)
    }

    /// How many were withheld is forgotten with it: a sandbox that is gone would never have another line to say so.
    fn is_idle(&self, now: Instant) -> bool {
        self.left.saturating_add(self.due(now)) >= BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: Admission = Admission::Report { withheld: 0 };

    #[test]
    fn a_flood_is_reported_in_part_and_what_is_withheld_is_counted() {
        let mut throttle = Throttle::default();
        let (start, id) = (Instant::now(), Some(SandboxId(1)));
        for _ in 0..BURST {
            assert_eq!(throttle.admit(id, start), REPORT);
        }
        for _ in 0..1000 {
            assert_eq!(throttle.admit(id, start), Admission::Withhold);
        }
        let later = start + INTERVAL;
        assert_eq!(
            throttle.admit(id, later),
            Admission::Report { withheld: 1000 }
        );
        assert_eq!(throttle.admit(id, later), Admission::Withhold);
    }

    #[test]
    fn one_sandbox_does_not_spend_the_budget_of_another() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        while throttle.admit(Some(SandboxId(1)), now) != Admission::Withhold {}
        assert_eq!(throttle.admit(Some(SandboxId(2)), now), REPORT);
        assert_eq!(throttle.admit(None, now), REPORT);
    }

    #[test]
    fn a_budget_is_never_more_than_a_burst() {
        let mut throttle = Throttle::default();
        let (start, id) = (Instant::now(), Some(SandboxId(1)));
        throttle.admit(id, start);
        let next_day = start + Duration::from_secs(86_400);
        let reported = (0..1000).filter(|_| throttle.admit(id, next_day) == REPORT);
        assert_eq!(reported.count(), BURST as usize);
    }

    #[test]
    fn memory_is_bounded_by_forgetting_sandboxes_that_are_quiet() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        for number in 0..20_000_u32 {
            let now = start + INTERVAL * number;
            let id = Some(SandboxId(number));
            // The last that is heard of it.
            while throttle.admit(id, now) != Admission::Withhold {}
            assert!(throttle.0.len() <= SANDBOXES);
        }
    }
}

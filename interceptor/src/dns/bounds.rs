//! How much a sandbox may say by asking.
//!
//! A name that is looked up reaches name servers: under a wildcard, its labels are a way out, and so are those of services
//! of whatever host. Nothing is bounded for names that policy spells out, since those say nothing new.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{address::Host, policy::HostPattern};

/// New names of one family that are looked up in a minute.
pub(crate) const NAMES: usize = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// For so long a name is not new any more.
const KNOWN: Duration = Duration::from_secs(60 * 60);

/// Names of one family that are not new, and families; the oldest give way.
const CAPACITY: usize = 1024;

/// Refused questions that are told of in a minute, each by itself.
const REPORTS: usize = 120;

/// Longest label, and longest part of a name, that somebody chooses for people or programs to use, in bytes. Names that
/// carry data are made of the longest labels that DNS allows (63 bytes).
const LABEL: usize = 50;
const NAME: usize = 100;

/// A name with labels of these lengths is made to carry data.
pub(crate) fn is_long(labels: impl Iterator<Item = usize>) -> bool {
    let (mut longest, mut name) = (0, 0);
    for (number, label) in labels.enumerate() {
        longest = label.max(longest);
        // With the dot before it.
        name += usize::from(number > 0) + label;
    }
    longest > LABEL || name > NAME
}

/// Names of which policy spells none out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    /// Whatever this pattern stands for, and services there.
    Wildcard(Box<str>),
    /// Services of a host that is spelled out.
    Services(Box<str>),
}

impl Family {
    pub(crate) fn wildcard(pattern: &HostPattern) -> Self {
        Self::Wildcard(pattern.to_string().into())
    }

    pub(crate) fn services(host: &Host) -> Self {
        Self::Services(host.as_str().into())
    }

    /// What helps, where something does: to be put behind the reason of a refusal.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Wildcard(_) => ": an endpoint with the very name allows it",
            Self::Services(_) => "",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wildcard(pattern) => f.write_str(pattern),
            Self::Services(host) => write!(f, "_*._*.{host}"),
        }
    }
}

/// What one sandbox has had looked up that its policy does not spell out.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    families: Mutex<HashMap<Family, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// With the time at which each was new.
    names: HashMap<Box<str>, Instant>,
    /// When there were new ones, in the last minute.
    window: Window,
}

impl Lookups {
    /// Whether `name` may be looked up as one of `family`.
    pub(crate) fn admit(&self, family: &Family, name: &str) -> bool {
        let now = Instant::now();
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        if !families.contains_key(family) && families.len() >= CAPACITY {
            families.retain(|_, known| !known.is_quiet(now));
            if families.len() >= CAPACITY {
                return false;
            }
        }
        families.entry(family.clone()).or_default().admit(name, now)
    }
}

impl Known {
    fn admit(&mut self, name: &str, now: Instant) -> bool {
        if self
            .names
            .get(name)
            .is_some_and(|at| now.duration_since(*at) < KNOWN)
        {
            return true;
        }
        if !self.window.admit(NAMES, now) {
            return false;
        }
        if self.names.len() >= CAPACITY {
            let oldest = self.names.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.names.remove(&oldest);
            }
        }
        self.names.insert(name.into(), now);
        true
    }

    fn is_quiet(&mut self, now: Instant) -> bool {
        self.window.forget(now);
        self.window.times.is_empty()
    }
}

/// Keeps a sandbox from filling the log.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    state: Mutex<(Window, u64)>,
}

impl Reports {
    /// `None`: nothing is to be told of this one; else how many were kept quiet since the last one that was told of.
    pub(crate) fn admit(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (window, quiet) = &mut *state;
        if window.admit(REPORTS, Instant::now()) {
            Some(std::mem::take(quiet))
        } else {
            *quiet += 1;
            None
        }
    }
}

/// What happened in the last minute.
#[derive(Debug, Default)]
struct Window {
    times: VecDeque<Instant>,
}

impl Window {
    fn admit(&mut self, most: usize, now: Instant) -> bool {
        self.forget(now);
        let room = self.times.len() < most;
        if room {
            self.times.push_back(now);
        }
        room
    }

    fn forget(&mut self, now: Instant) {
        while let Some(first) = self.times.front()
            && now.duration_since(*first) >= MINUTE
        {
            self.times.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn under(pattern: &str) -> Family {
        Family::Wildcard(pattern.into())
    }

    #[tokio::test(start_paused = true)]
    async fn new_names_under_a_wildcard_are_bounded_for_a_minute() {
        let lookups = Lookups::default();
        for number in 0..NAMES {
            assert!(lookups.admit(&under("*.a.example"), &format!("h{number}.a.example")));
        }
        assert!(!lookups.admit(&under("*.a.example"), "new.a.example"));
        // It is not new, and another wildcard is another matter, as are services of a host of this name.
        assert!(lookups.admit(&under("*.a.example"), "h0.a.example"));
        assert!(lookups.admit(&under("*.b.example"), "new.b.example"));
        advance(MINUTE).await;
        assert!(lookups.admit(&under("*.a.example"), "new.a.example"));
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_new_again_after_an_hour() {
        let lookups = Lookups::default();
        assert!(lookups.admit(&under("*.a.example"), "h0.a.example"));
        advance(KNOWN).await;
        for number in 1..=NAMES {
            assert!(lookups.admit(&under("*.a.example"), &format!("h{number}.a.example")));
        }
        assert!(!lookups.admit(&under("*.a.example"), "h0.a.example"));
    }

    #[tokio::test(start_paused = true)]
    async fn names_and_wildcards_that_are_remembered_are_bounded() {
        let lookups = Lookups::default();
        for number in 0..CAPACITY + 100 {
            if number % NAMES == 0 {
                advance(MINUTE).await;
            }
            assert!(lookups.admit(&under("*.a.example"), &format!("h{number}.a.example")));
        }
        let known = |family| lookups.families.lock().unwrap()[family].names.len();
        assert_eq!(known(&under("*.a.example")), CAPACITY);
        advance(MINUTE).await;
        for number in 0..CAPACITY {
            assert!(lookups.admit(&under(&format!("*.w{number}.example")), "new.example"));
        }
        assert!(!lookups.admit(&under("*.one-too-many.example"), "new.example"));
        assert_eq!(lookups.families.lock().unwrap().len(), CAPACITY);
        advance(MINUTE).await;
        assert!(lookups.admit(&under("*.one-too-many.example"), "new.example"));
    }

    #[tokio::test(start_paused = true)]
    async fn reports_are_bounded_and_the_next_tells_how_many_were_not_made() {
        let reports = Reports::default();
        for _ in 0..REPORTS {
            assert_eq!(reports.admit(), Some(0));
        }
        assert_eq!(reports.admit(), None);
        assert_eq!(reports.admit(), None);
        advance(MINUTE).await;
        assert_eq!(reports.admit(), Some(2));
        assert_eq!(reports.admit(), Some(0));
    }

    #[test]
    fn names_in_use_are_not_long() {
        for (name, expected) in [
            ("gateway.discord.gg", false),
            (
                "internal-a1b2c3d4e5f6a7b8c9d0-1234567890.eu-central-1.elb.amazonaws.com",
                false,
            ),
            ("my-service-abcdefghij-uc.a.run.app", false),
            (
                "redis-master-0.redis-headless.production.svc.cluster.local",
                false,
            ),
            (
                "4a6f686e20446f6520736563726574206b6579206d6174657269616c21.x.example",
                true,
            ),
            (
                "orsxg5a.mfzwizltoqqhg33nmv2gq2lom4.ojsxi4tjmv3gkzbamzzg63jaon2g64tb.m5ssa5din52xiidj.x.example",
                false,
            ),
        ] {
            let labels = name.split('.').map(str::len);
            assert_eq!(is_long(labels), expected, "{name}");
        }
    }
}

//! Answers that are kept as long as they hold.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use quick_cache::sync::{Cache, EntryAction, EntryResult};
use tokio::time::Instant;

use super::ResolveError;

/// The longest that anything is kept: clients are told no more, so that nobody holds on to an old address for long.
const LONGEST: Duration = Duration::from_secs(60);
/// The shortest: an answer for this moment only (a TTL of 0) serves all who ask in it.
const SHORTEST: Duration = Duration::from_secs(1);
/// A name that does not exist, where nobody says for how long.
const NOTHING: Duration = Duration::from_secs(5);
/// A failure.
const FAILED: Duration = Duration::from_secs(5);

/// What a lookup came to, and for how long that may be kept.
#[derive(Debug)]
pub(crate) struct Looked<T> {
    outcome: Result<Vec<T>, ResolveError>,
    lifetime: Duration,
}

impl<T> Looked<T> {
    /// `records` is not empty.
    pub(super) fn found(records: Vec<T>, ttl: Duration) -> Self {
        Self {
            outcome: Ok(records),
            lifetime: ttl,
        }
    }

    pub(super) fn nothing(ttl: Option<Duration>) -> Self {
        Self {
            outcome: Err(ResolveError::NoSuchName),
            lifetime: ttl.unwrap_or(NOTHING),
        }
    }

    pub(super) fn failed(error: ResolveError) -> Self {
        Self {
            outcome: Err(error),
            lifetime: FAILED,
        }
    }

    /// The same, but with a failure beside it that may be over soon.
    pub(super) fn in_part(mut self) -> Self {
        self.lifetime = self.lifetime.min(FAILED);
        self
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.outcome, Err(ResolveError::NoSuchName))
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> (&Result<Vec<T>, ResolveError>, Duration) {
        (&self.outcome, self.lifetime)
    }
}

/// Records that hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer<T> {
    /// Never empty.
    pub(crate) records: Arc<[T]>,
    /// How much longer they hold.
    pub(crate) lifetime: Duration,
}

/// Answers by key. Whatever asks for a key that is being looked up waits for that.
pub(super) struct Kept<K, T> {
    known: Cache<K, Known<T>>,
    /// Records for a key, at most.
    records: usize,
}

struct Known<T> {
    outcome: Result<Arc<[T]>, ResolveError>,
    until: Instant,
}

impl<T> Clone for Known<T> {
    fn clone(&self) -> Self {
        Self {
            outcome: self.outcome.clone(),
            until: self.until,
        }
    }
}

impl<T> Known<T> {
    fn answer(&self, now: Instant) -> Result<Answer<T>, ResolveError> {
        let lifetime = self.until.saturating_duration_since(now);
        let records = Arc::clone(self.outcome.as_ref().map_err(Clone::clone)?);
        Ok(Answer { records, lifetime })
    }
}

impl<K: Hash + Eq + Clone + fmt::Display, T> Kept<K, T> {
    /// `keys` and `records` of each, at most.
    pub(super) fn new(keys: usize, records: usize) -> Self {
        Self {
            known: Cache::new(keys),
            records,
        }
    }

    pub(super) async fn get_or(
        &self,
        key: &K,
        look_up: impl Future<Output = Looked<T>>,
    ) -> Result<Answer<T>, ResolveError> {
        let entry = self
            .known
            .entry_async(key, |_, known| {
                let now = Instant::now();
                if now < known.until {
                    EntryAction::Retain(known.answer(now))
                } else {
                    EntryAction::ReplaceWithGuard
                }
            })
            .await;
        let vacancy = match entry {
            EntryResult::Retained(answer) => return answer,
            EntryResult::Vacant(vacancy) | EntryResult::Replaced(vacancy, _) => vacancy,
            EntryResult::Removed(..) | EntryResult::Timeout => return Err(ResolveError::Timeout),
        };
        let Looked { outcome, lifetime } = look_up.await;
        // Here and not where it is of use: once in 5 s for a name, however often a sandbox asks.
        if let Err(error @ (ResolveError::Timeout | ResolveError::Failed(_))) = &outcome {
            tracing::warn!(name = %key, %error, "a name could not be resolved");
        }
        let outcome = outcome.map(|mut records| {
            records.truncate(self.records);
            Arc::from(records)
        });
        let now = Instant::now();
        let known = Known {
            outcome,
            until: now + lifetime.clamp(SHORTEST, LONGEST),
        };
        let answer = known.answer(now);
        // Evicted while it was looked up: the cache is busy, and the answer is good for once.
        drop(vacancy.insert(known));
        answer
    }

    pub(super) fn clear(&self) {
        self.known.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

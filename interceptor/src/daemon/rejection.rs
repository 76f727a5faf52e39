//! What is wrong with a configuration that the daemon was told to read and does not go by.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::{
    control::{Refusal, api::RejectionView},
    stats::{Denial, ProcessFacts, Stats, view::rfc3339},
};

/// Of the last reading, if it found faults: the daemon works, but not as its files say.
#[derive(Debug, Default)]
pub(super) struct Rejection(Mutex<Option<RejectionView>>);

impl Rejection {
    /// Says so wherever somebody may look.
    pub(super) fn note(&self, refusal: &Refusal, stats: &Stats) {
        let Refusal {
            kind: _,
            error,
            detail,
        } = refusal;
        {
            let mut last = self.lock();
            let since = last.take().map(|last| last.since);
            *last = Some(RejectionView {
                since: since.unwrap_or_else(|| rfc3339(SystemTime::now())),
                error: error.clone(),
                detail: detail.clone(),
            });
        }
        let faults = match detail.as_slice() {
            [] => error.clone(),
            [only] => format!("{error}: {only}"),
            [first, others @ ..] => format!("{error}: {first} (and {} more)", others.len()),
        };
        stats.deny(Denial {
            sandbox: None,
            sandbox_name: None,
            process: ProcessFacts {
                pid: 0,
                uid: 0,
                comm: "".into(),
            },
            destination: None,
            name: None,
            connection: None,
            reason: "config_rejected",
            detail: faults,
        });
    }

    /// The daemon goes by what stands in its files.
    pub(super) fn clear(&self) {
        *self.lock() = None;
    }

    pub(super) fn view(&self) -> Option<RejectionView> {
        self.lock().clone()
    }

    /// One line for whoever asks whether all is well: anybody whom metrics are shown to, so not what the faults are.
    pub(super) fn remark(&self) -> Option<String> {
        let RejectionView {
            since,
            error,
            detail,
        } = self.view()?;
        let faults = detail.len().max(1);
        Some(format!(
            "since {since} {error}: {faults} to correct, see `interceptor stats`"
        ))
    }

    fn lock(&self) -> MutexGuard<'_, Option<RejectionView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{control::RefusalKind, stats::Selection};

    fn faulty(faults: &[&str]) -> Refusal {
        let detail = faults.iter().map(|&fault| fault.to_owned()).collect();
        Refusal::new(RefusalKind::Invalid, "the configuration is faulty").with_detail(detail)
    }

    #[test]
    fn the_latest_faults_are_told_with_the_time_of_the_first_until_all_is_well() {
        let (rejection, stats) = (Rejection::default(), Stats::default());
        rejection.note(&faulty(&["a:1:1 one", "a:2:1 two"]), &stats);
        let first = rejection.view().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        rejection.note(&faulty(&["a:3:1 three"]), &stats);
        let last = rejection.view().unwrap();
        assert_eq!(last.since, first.since);
        assert_eq!(last.detail, ["a:3:1 three"]);
        let remark = rejection.remark().unwrap();
        assert!(remark.contains(&first.since), "{remark}");
        assert!(!remark.contains("three"), "{remark}");
        rejection.clear();
        assert_eq!((rejection.view(), rejection.remark()), (None, None));

        let events = stats.events(&Selection::default());
        let told: Vec<_> = events
            .iter()
            .map(|event| (&*event.reason, &*event.detail))
            .collect();
        let reason = "config_rejected";
        assert_eq!(
            told,
            [
                (
                    reason,
                    "the configuration is faulty: a:1:1 one (and 1 more)"
                ),
                (reason, "the configuration is faulty: a:3:1 three"),
            ]
        );
    }
}

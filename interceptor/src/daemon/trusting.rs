//! Puts our CA into the containers of sandboxes whose configuration says so.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as Turns, OwnedMutexGuard},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::backend::Interceptor;
use crate::{
    address::SandboxId,
    error::chain,
    kernel::{FileViewId, Hierarchy},
    tls::anchor::Anchor,
    trust::{self, Became, Change},
};

/// A container that appears is dealt with within this time.
const PERIOD: Duration = Duration::from_secs(1);

/// A container that is new may be about to make its bundles: they are looked at every [`PERIOD`] for so long,
const NEW: Duration = Duration::from_secs(10);

/// and then this often, since programs of the container may make them anew.
const SELDOM: Duration = Duration::from_secs(30);

/// For the files of one sandbox. A container may have file systems that do not answer: it is then not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is said of a sandbox; its processes decide how much there would be to say.
const REMARKS: usize = 64;

/// What has been done for each sandbox.
#[derive(Debug, Default)]
pub(super) struct Trusting {
    sandboxes: Mutex<HashMap<SandboxId, Arc<Turns<Done>>>>,
}

#[derive(Debug, Default)]
struct Done {
    fingerprint: String,
    containers: BTreeMap<FileViewId, Visits>,
    remarks: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug)]
struct Visits {
    first: Instant,
    last: Instant,
}

/// A sandbox whose containers are to trust us.
#[derive(Clone, Debug)]
pub(super) struct Trustee {
    pub(super) id: SandboxId,
    pub(super) name: String,
    pub(super) cgroup: PathBuf,
}

impl Trusting {
    /// Deals with the containers that are due. Tells what an operator has not been told of before.
    pub(super) async fn install(&self, trustee: Trustee, certificate: PathBuf) -> Vec<String> {
        let done = Arc::clone(
            self.sandboxes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(trustee.id)
                .or_default(),
        );
        // One that is stuck stays stuck, and takes one thread.
        let Ok(done) = done.try_lock_owned() else {
            return Vec::new();
        };
        let work = tokio::task::spawn_blocking(move || visit(done, &trustee, &certificate));
        match timeout(PATIENCE, work).await {
            Ok(told) => told.unwrap_or_default(),
            Err(_elapsed) => vec![format!(
                "files of a container have not answered for {} s: our CA is not installed there yet",
                PATIENCE.as_secs()
            )],
        }
    }

    /// Forgets those that are gone.
    fn retain(&self, here: &[Trustee]) {
        self.sandboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|id, _| here.iter().any(|trustee| trustee.id == *id));
    }
}

/// Runs until it is aborted.
pub(super) async fn keep_trusting(interceptor: Arc<Interceptor>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let trustees = interceptor.trustees().await;
        interceptor.trusting().retain(&trustees);
        for trustee in trustees {
            interceptor.install_ca(trustee).await;
        }
    }
}

fn visit(mut done: OwnedMutexGuard<Done>, trustee: &Trustee, certificate: &Path) -> Vec<String> {
    let Trustee { id, name, cgroup } = trustee;
    let mut told = Vec::new();
    let anchor = match Anchor::read(certificate) {
        Ok(anchor) => anchor,
        Err(error) => {
            told.push(format!("our CA cannot be read: {}", chain(&error)));
            return done.unsaid(told);
        }
    };
    if done.fingerprint != anchor.fingerprint {
        done.fingerprint.clone_from(&anchor.fingerprint);
        done.containers.clear();
    }
    let processes = Hierarchy::find()
        .and_then(|hierarchy| hierarchy.cgroup(cgroup))
        .map(|cgroup| cgroup.processes());
    // A cgroup that is gone is the registry's business.
    let Ok(Ok(processes)) = processes else {
        return Vec::new();
    };
    let (views, errors) = trust::views(&processes);
    told.extend(errors.iter().map(|error| chain(error)));
    done.containers.retain(|view, _| views.contains_key(view));
    let now = Instant::now();
    let change = Change::Install(&anchor);
    for (view_id, (pid, view)) in views {
        if done
            .containers
            .get(&view_id)
            .is_some_and(|visits| !visits.is_due(now))
        {
            continue;
        }
        let outcomes = match trust::apply(&view, change) {
            Ok(outcomes) => outcomes,
            Err(error) => {
                told.push(format!("process {pid}: {}", chain(&error)));
                Vec::new()
            }
        };
        for outcome in outcomes {
            let (path, became) = (outcome.path, outcome.became);
            match became {
                Became::Changed => {
                    tracing::info!(sandbox = %id, name, pid, path, "trusts our CA now");
                }
                Became::Refused(_) => {
                    told.push(format!(
                        "{path} {}: our CA is not installed there",
                        became.describe(change)
                    ));
                }
                Became::Unchanged | Became::Link => {}
            }
        }
        let visits = done.containers.entry(view_id);
        visits
            .or_insert(Visits {
                first: now,
                last: now,
            })
            .last = now;
    }
    done.unsaid(told)
}

impl Done {
    /// Those that were not told of before, as long as there are not too many.
    fn unsaid(&mut self, told: Vec<String>) -> Vec<String> {
        told.into_iter()
            .filter(|remark| self.remarks.len() < REMARKS && self.remarks.insert(remark.clone()))
            .collect()
    }
}

impl Visits {
    fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.first) < NEW || now.duration_since(self.last) >= SELDOM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_new_container_is_looked_at_often_and_an_old_one_seldom() {
        let first = Instant::now();
        let visits = |last: u64| Visits {
            first,
            last: first + Duration::from_secs(last),
        };
        let at = |seconds| first + Duration::from_secs(seconds);
        assert!(visits(1).is_due(at(2)));
        assert!(!visits(9).is_due(at(11)));
        assert!(visits(9).is_due(at(39)));
    }

    #[test]
    fn a_remark_is_made_once() {
        let mut done = Done::default();
        let told = || vec!["a".to_owned(), "b".to_owned(), "a".to_owned()];
        assert_eq!(done.unsaid(told()), ["a", "b"]);
        assert!(done.unsaid(told()).is_empty());
        let many = (0..1000).map(|number| number.to_string()).collect();
        assert_eq!(done.unsaid(many).len(), REMARKS - 2);
    }
}

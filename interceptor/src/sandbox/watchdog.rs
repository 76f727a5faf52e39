//! Looking after what stands: links that somebody takes off, sockets from elsewhere, namespaces whose announcement was
//! lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};

use super::{Inner, Sandbox, Service, State, blocking, survey::Survey};
use crate::{
    address::{NetnsCookie, SandboxId},
    error::chain,
    flow::{Incident, Process},
    kernel::{Fate, HeldLinks, LinkLoss, Netns, NetnsState, UnownedSocket},
};

/// How often links are looked at, and namespaces that wait for listeners.
const TICK: Duration = Duration::from_millis(500);
/// How often descriptors are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Looking at descriptors takes no more than one part of so many of the time, however many there are.
const SHARE: u32 = 20;
/// A namespace that has been waiting for longer was not announced, or in vain.
const OVERDUE: Duration = Duration::from_millis(700);
/// Entries of the table of namespaces, which all sandboxes share, beyond which it is cleared at every tick.
const CROWDED: usize = 1024;
/// Sockets of one look that are reported one by one.
const REPORTS: usize = 64;

/// What the watchdog counts.
#[derive(Debug, Default)]
pub(super) struct Losses {
    links: AtomicU64,
    sockets: AtomicU64,
}

impl Losses {
    /// `links_lost`: programs that somebody took off a sandbox or replaced. `sockets_found`: sockets that a sandbox had
    /// from elsewhere.
    pub(super) fn counts(&self) -> [(&'static str, u64); 2] {
        [
            ("links_lost", self.links.load(Relaxed)),
            ("sockets_found", self.sockets.load(Relaxed)),
        ]
    }
}

/// What the watchdog holds while it puts programs back: work on a thread goes on when its task is ended, and must not
/// undo what the next daemon does.
#[derive(Clone, Debug, Default)]
pub(super) struct Leash(Arc<Mutex<Stopped>>);

#[derive(Debug, Default)]
struct Stopped(bool);

impl Leash {
    /// When this returns nothing is put back any more.
    pub(super) async fn stop(&self) {
        let leash = self.clone();
        let stop = move || leash.lock().0 = true;
        // Fails only when there is no runtime to put anything back.
        if blocking(stop).await.is_err() {
            tracing::debug!("the runtime stops first");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stopped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The links of all sandboxes.
#[derive(Debug, Default)]
pub(super) struct Links {
    held: BTreeMap<SandboxId, HeldLinks>,
    troubles: BTreeMap<SandboxId, Trouble>,
}

/// What has happened to the links of a sandbox.
#[derive(Debug, Default)]
struct Trouble {
    lost: u64,
    last: String,
    /// Why some of them are missing now.
    missing: Option<String>,
}

impl Links {
    /// For an operator.
    pub(super) fn warnings(&self, id: SandboxId) -> Vec<String> {
        let Some(trouble) = self.troubles.get(&id) else {
            return Vec::new();
        };
        let mut warnings = vec![format!(
            "programs were taken off {} times and put back, the last time {}: find out who does that",
            trouble.lost, trouble.last
        )];
        warnings.extend(trouble.missing.clone());
        warnings
    }

    /// Why sandboxes are not as closed as they are to be.
    pub(super) fn missing(&self) -> Option<String> {
        let mut troubles = self.troubles.iter();
        troubles.find_map(|(id, trouble)| {
            let missing = trouble.missing.as_ref()?;
            Some(format!("sandbox {id}: {missing}"))
        })
    }

    fn note(&mut self, id: SandboxId, losses: &[LinkLoss]) {
        if let Some(trouble) = self.troubles.get_mut(&id) {
            trouble.missing = None;
        }
        for loss in losses {
            let trouble = self.troubles.entry(id).or_default();
            trouble.lost += 1;
            trouble.last = format!("{} was {}", loss.program, loss.how);
            if let Some(error) = &loss.error {
                trouble.missing = Some(format!("{} is missing: {}", loss.program, chain(error)));
            }
        }
    }
}

impl<S: Service> Inner<S> {
    pub(super) async fn keep_watching(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_look = Instant::now();
        loop {
            ticks.tick().await;
            self.guard_links().await;
            self.recover_namespaces().await;
            let begun = Instant::now();
            if begun >= next_look {
                self.look_for_sockets().await;
                next_look = begun + LOOK.max(begun.elapsed() * SHARE);
            }
        }
    }

    /// Puts programs back that somebody has taken off. Attach and detach wait meanwhile: what they do is no loss.
    pub(super) async fn guard_links(&self) {
        let mut state = self.state.lock().await;
        let (_, sandboxes) = self.survey(&state);
        let Links { held, troubles } = &mut state.links;
        held.retain(|id, _| sandboxes.iter().any(|(other, _)| other == id));
        troubles.retain(|id, _| sandboxes.iter().any(|(other, _)| other == id));
        let mut held = mem::take(held);
        let (programs, leash) = (Arc::clone(&self.programs), self.leash.clone());
        let looked = blocking(move || {
            let stopped = leash.lock();
            if stopped.0 {
                return (held, Vec::new());
            }
            let mended: Vec<_> = sandboxes
                .iter()
                .map(|(id, cgroup)| {
                    (
                        *id,
                        programs.mend(*id, cgroup, held.entry(*id).or_default()),
                    )
                })
                .collect();
            (held, mended)
        });
        let Ok((held, mended)) = looked.await else {
            return;
        };
        state.links.held = held;
        for (id, losses) in mended {
            state.links.note(id, &losses);
            for loss in losses {
                self.losses.links.fetch_add(1, Relaxed);
                let LinkLoss {
                    program,
                    how,
                    error,
                } = loss;
                let detail = match error {
                    None => format!("the link of {program} was {how}: it is back"),
                    Some(error) => format!(
                        "the link of {program} was {how}, and cannot be put back: {}",
                        chain(&error)
                    ),
                };
                self.service.note(Incident {
                    sandbox: id,
                    process: None,
                    destination: None,
                    reason: "link_lost",
                    detail,
                });
            }
        }
    }

    /// Gives namespaces listeners whose announcement was lost: the ring buffer was full, or the daemon had no
    /// descriptor.
    pub(super) async fn recover_namespaces(&self) {
        let mut state = self.state.lock().await;
        let entries = self.programs.netns();
        if entries.len() > CROWDED {
            self.expire(&state);
        }
        let overdue: BTreeSet<NetnsCookie> = entries
            .into_iter()
            .filter(|(cookie, entry, age)| {
                entry.state == NetnsState::Pending
                    && *age > OVERDUE
                    && !state.namespaces.contains(*cookie)
            })
            .map(|(cookie, _, _)| cookie)
            .collect();
        if overdue.is_empty() {
            return;
        }
        let (hierarchy, sandboxes) = self.survey(&state);
        let found = blocking(move || {
            let ids: Vec<_> = sandboxes.iter().map(|(id, _)| *id).collect();
            let mut found = BTreeMap::new();
            let Ok(survey) = Survey::take(hierarchy, sandboxes) else {
                return found;
            };
            for id in ids {
                let tasks = survey.namespaces_of(id).into_iter();
                for netns in tasks.filter_map(|(_, task)| Netns::of_task(task).ok()) {
                    if overdue.contains(&netns.cookie()) {
                        found.entry(netns.cookie()).or_insert((id, netns));
                    }
                }
            }
            found
        });
        for (cookie, (id, netns)) in found.await.unwrap_or_default() {
            tracing::warn!(sandbox = %id, netns = %cookie, "the announcement of a network namespace was lost");
            if let Err(error) = self.settle(&mut state, id, netns).await {
                tracing::error!(sandbox = %id, netns = %cookie, error = chain(&error), "a network namespace stays without listeners");
            }
        }
    }

    pub(super) async fn look_for_sockets(&self) {
        let sandboxes = self.state.lock().await.sandboxes.clone();
        for (id, sandbox) in sandboxes {
            let (programs, watch) = (Arc::clone(&self.programs), Arc::clone(&sandbox.sockets));
            match blocking(move || watch.look(&programs)).await {
                Ok(Ok(found)) => self.tell_of(id, &found, "moved_socket"),
                Ok(Err(error)) => {
                    tracing::error!(sandbox = %id, %error, "cannot look at a sandbox's descriptors");
                }
                Err(_stopping) => return,
            }
        }
    }

    /// Ends, or keeps, what a sandbox's processes had before it was one.
    pub(super) async fn clear_sockets(
        &self,
        id: SandboxId,
        sandbox: &Sandbox,
    ) -> Vec<UnownedSocket> {
        let (programs, watch) = (Arc::clone(&self.programs), Arc::clone(&sandbox.sockets));
        let found = blocking(move || watch.first_look(&programs)).await;
        let found = found.unwrap_or_else(|_stopping| Ok(Vec::new()));
        let found = found.unwrap_or_else(|error| {
            tracing::error!(sandbox = %id, %error, "cannot look at a sandbox's descriptors: what is from before is fenced");
            Vec::new()
        });
        self.tell_of(id, &found, "existing_socket");
        found
    }

    fn tell_of(&self, id: SandboxId, found: &[UnownedSocket], reason: &'static str) {
        self.losses.sockets.fetch_add(found.len() as u64, Relaxed);
        for socket in found.iter().take(REPORTS) {
            if socket.fate == Fate::Kept {
                tracing::warn!(sandbox = %id, %socket, "a socket from elsewhere is kept");
                continue;
            }
            self.service.note(Incident {
                sandbox: id,
                process: socket.holders.first().map(|holder| Process {
                    tgid: holder.task.tgid,
                    tid: holder.task.tid,
                    uid: holder.uid,
                    comm: holder.comm.clone(),
                }),
                destination: socket.remote,
                reason,
                detail: format!("{}: {socket}", socket.fate),
            });
        }
        if let Some(more) = found.len().checked_sub(REPORTS).filter(|more| *more > 0) {
            tracing::warn!(sandbox = %id, more, "sockets from elsewhere that were only counted");
        }
    }
}

impl State {
    /// Why not everything is as closed as it is to be.
    pub(super) fn trouble(&self) -> Option<String> {
        self.links.missing()
    }
}

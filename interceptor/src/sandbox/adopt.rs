//! Taking over what an earlier daemon has left: its sandboxes are closed until then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use super::{
    Inner, Sandbox, Service, StartError, State, blocking, report::uncontained, store::Record,
};
use crate::{
    address::{CgroupId, SandboxId},
    config::Existing,
    error::chain,
    kernel::{NetnsEntry, NetnsState, SocketWatch},
};

/// A sandbox that has a record or pins.
pub(super) struct Heir {
    pub(super) id: SandboxId,
    /// `None`: its cgroup is not to be found.
    pub(super) sandbox: Option<Sandbox>,
    cgroup: Option<CgroupId>,
    linked: Option<CgroupId>,
}

impl<S: Service> Inner<S> {
    /// Adopts every sandbox that has a record or pins; one that cannot be adopted stays closed, and the log tells.
    pub(super) async fn adopt_all(&self) -> Result<(), StartError> {
        let mut state = self.state.lock().await;
        self.hold_connects();
        for heir in self.heirs()? {
            let Heir {
                id,
                sandbox,
                cgroup,
                linked,
            } = heir;
            match (sandbox, linked) {
                (Some(sandbox), _) => {
                    self.enter(&mut state, id, sandbox);
                    self.renew(&mut state, id).await;
                }
                (None, None) => self.bury(id, cgroup),
                (None, Some(cgroup)) => tracing::error!(
                    sandbox = %id, %cgroup,
                    "the sandbox's cgroup is in no place that can be seen from here: it stays closed and is not served"
                ),
            }
        }
        // Of sandboxes that ended while no daemon ran.
        self.programs
            .unfence_devices(|fenced| !state.namespaces.contains(fenced));
        Ok(())
    }

    pub(super) fn heirs(&self) -> Result<Vec<Heir>, StartError> {
        let records = self.store.load().map_err(|source| StartError::Store {
            path: "sandboxes".into(),
            source,
        })?;
        let records: BTreeMap<_, _> = records.into_iter().map(|r| (r.id, r)).collect();
        let entries: BTreeMap<_, _> = self
            .programs
            .sandboxes()
            .into_iter()
            .map(|(cgroup, id)| (id, cgroup))
            .collect();
        let ids: BTreeSet<_> = self
            .programs
            .pinned_sandboxes()?
            .into_iter()
            .chain(records.keys().copied())
            .chain(entries.keys().copied())
            .collect();
        let heirs = ids.into_iter().map(|id| {
            let record = records.get(&id);
            let linked = self.programs.linked_cgroup(id);
            let cgroup = record
                .map(|record| record.cgroup_id)
                .or_else(|| entries.get(&id).copied())
                .or(linked);
            Heir {
                id,
                sandbox: self.inherited(id, record, cgroup),
                cgroup,
                linked,
            }
        });
        Ok(heirs.collect())
    }

    /// From now on connects wait for the new listeners, where those of the earlier daemon are gone and they would be
    /// refused. Namespaces that had been refused may ask again.
    fn hold_connects(&self) {
        for (cookie, entry, _) in self.programs.netns() {
            let held = if entry.state == NetnsState::Refused {
                self.programs.remove_netns(cookie)
            } else {
                let pending = NetnsEntry {
                    state: NetnsState::Pending,
                    ..entry
                };
                self.programs.set_netns(cookie, pending)
            };
            if let Err(error) = held {
                tracing::error!(netns = %cookie, error = chain(&error), "connects fail until the listeners are back");
            }
        }
    }

    /// What is known of a sandbox whose cgroup still stands.
    fn inherited(
        &self,
        id: SandboxId,
        record: Option<&Record>,
        cgroup_id: Option<CgroupId>,
    ) -> Option<Sandbox> {
        let Some(record) = record else {
            let cgroup = self.hierarchy.by_id(cgroup_id?)?;
            tracing::error!(
                sandbox = %id, cgroup = %cgroup.path().display(),
                "the sandbox's state is lost: everything it asks for is denied until `interceptor detach {id}`",
            );
            return Some(Sandbox {
                name: format!("lost-{id}"),
                sockets: Arc::new(SocketWatch::new(id, cgroup.clone(), Existing::Destroy)),
                cgroup,
                identity: None,
                secrets: Vec::new(),
                attached: SystemTime::now(),
                capabilities: Vec::new(),
            });
        };
        let cgroup = self.hierarchy.cgroup(&record.cgroup).ok();
        // The hierarchy may be mounted elsewhere by now.
        let cgroup = cgroup
            .filter(|cgroup| cgroup.id() == record.cgroup_id)
            .or_else(|| self.hierarchy.by_id(record.cgroup_id))?;
        let secrets = record.secrets.iter();
        Some(Sandbox {
            name: record.name.clone(),
            sockets: Arc::new(SocketWatch::new(id, cgroup.clone(), record.existing)),
            cgroup,
            identity: record.identity.clone(),
            secrets: secrets.filter_map(|name| name.parse().ok()).collect(),
            attached: record.attached(),
            capabilities: Vec::new(),
        })
    }

    /// Makes it known, so that it can be served.
    pub(super) fn enter(&self, state: &mut State, id: SandboxId, sandbox: Sandbox) {
        self.enroll_adopted(id, &sandbox);
        state.sandboxes.insert(id, sandbox);
    }

    /// Puts this daemon's programs on it, and listeners where there are none.
    pub(super) async fn renew(&self, state: &mut State, id: SandboxId) {
        let Some(found) = state.sandboxes.get(&id) else {
            return;
        };
        self.exempt_adopted(id, found);
        let (programs, cgroup) = (Arc::clone(&self.programs), found.cgroup.clone());
        let linked = blocking(move || programs.adopt(id, &cgroup)).await;
        if let Ok(Err(error)) = linked {
            tracing::error!(sandbox = %id, error = chain(&error), "the sandbox runs on the programs of an earlier daemon");
        }
        let capabilities = uncontained(found.cgroup.clone()).await;
        let name = found.name.clone();
        if let Some(found) = state.sandboxes.get_mut(&id) {
            found.capabilities = capabilities;
        }
        if let Err(error) = self.settle_all(state, id).await {
            tracing::error!(sandbox = %id, error = chain(&error), "a network namespace stays without listeners");
        }
        tracing::info!(sandbox = %id, name, "adopted");
    }

    pub(super) fn exempt_adopted(&self, id: SandboxId, sandbox: &Sandbox) {
        if let Err(error) = self.exempt(id, &sandbox.name) {
            tracing::error!(sandbox = %id, error = chain(&error), "not all that is exempt by the configuration goes past the daemon");
        }
    }

    /// Without the service's consent the sandbox is as closed as it was: its connections are denied.
    pub(super) fn enroll_adopted(&self, id: SandboxId, sandbox: &Sandbox) {
        let enrolled = self.service.enroll(id, &sandbox.name, &sandbox.secrets);
        if let Err(error) = enrolled {
            tracing::error!(sandbox = %id, name = %sandbox.name, error = chain(&error), "everything that the sandbox asks for is denied");
        }
    }

    /// The cgroup went while no daemon ran.
    fn bury(&self, id: SandboxId, cgroup: Option<CgroupId>) {
        tracing::info!(sandbox = %id, "the sandbox's cgroup is gone");
        let removed = self.programs.detach(id, cgroup.unwrap_or(CgroupId(0)));
        if let Err(error) = removed {
            tracing::error!(sandbox = %id, error = chain(&error), "cannot remove what is left of a sandbox");
            return;
        }
        if let Err(error) = self.store.remove(id) {
            tracing::error!(sandbox = %id, %error, "cannot remove the sandbox's state");
        }
    }
}

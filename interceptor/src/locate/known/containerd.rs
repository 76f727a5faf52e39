//! containerd: the bundle of each task, by namespace and ID (`k8s.io`, `moby`, `default`). The keys are those of its CRI
//! plugin and of nerdctl.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Host, Known};
use crate::locate::name::{PodName, PodUid};

/// Its state directory as it is, and as k3s and MicroK8s have it.
const STATES: [&str; 3] = [
    "run/containerd",
    "run/k3s/containerd",
    "var/snap/microk8s/common/run/containerd",
];
const TASKS: &str = "io.containerd.runtime.v2.task";

#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Bundle {
    fn names(&self) -> Vec<String> {
        let names = ["io.kubernetes.cri.container-name", "nerdctl/name"].iter();
        names
            .filter_map(|key| self.annotations.get(*key).cloned())
            .collect()
    }

    fn pod(&self) -> Option<(PodName, PodUid)> {
        let [namespace, name, uid] = ["namespace", "name", "uid"].map(|key| {
            self.annotations
                .get(&format!("io.kubernetes.cri.sandbox-{key}"))
        });
        Some((PodName::new(namespace?, name?)?, PodUid::parse(uid?)?))
    }
}

pub(super) fn containers(host: &Host) -> Vec<Known> {
    let spaces = STATES
        .iter()
        .flat_map(|state| host.list(format!("{state}/{TASKS}")));
    let tasks = spaces.flat_map(|(_, space)| host.list(space));
    tasks
        .filter_map(|(id, path)| {
            let bundle: Bundle = host.json(path.join("config.json"))?;
            Some(Known {
                id,
                names: bundle.names(),
                pod: bundle.pod(),
                cgroup: None,
            })
        })
        .collect()
}

pub(super) fn pods(host: &Host) -> Vec<(PodName, PodUid)> {
    let containers = containers(host).into_iter();
    containers.filter_map(|known| known.pod).collect()
}

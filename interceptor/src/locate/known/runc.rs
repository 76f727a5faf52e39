//! runc and crun, by themselves or below an engine: the state of each container, with its cgroup.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::{Host, Known};

/// Directories of states, and those that have one for each namespace of an engine.
const DIRECT: &str = "run/runc";
const BELOW: [&str; 2] = ["run/containerd/runc", "run/docker/runtime-runc"];
const CRUN: &str = "run/crun";

#[derive(Deserialize)]
struct State {
    id: String,
    /// By controller; without one that of cgroup2.
    #[serde(default)]
    cgroup_paths: BTreeMap<String, PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    cgroup_path: PathBuf,
}

pub(super) fn containers(host: &Host) -> Vec<Known> {
    let below = BELOW.iter().flat_map(|directory| host.list(directory));
    let states = host
        .list(DIRECT)
        .into_iter()
        .chain(below.flat_map(|(_, engine)| host.list(engine)));
    let of_runc = states.filter_map(|(_, path)| {
        let State {
            id,
            mut cgroup_paths,
        } = host.json(path.join("state.json"))?;
        Some(Known {
            id,
            cgroup: cgroup_paths.remove(""),
            ..Known::default()
        })
    });
    let statuses = host.list(CRUN).into_iter();
    let of_crun = statuses.filter_map(|(id, path)| {
        let Status { cgroup_path } = host.json(path.join("status"))?;
        Some(Known {
            id,
            cgroup: Some(cgroup_path),
            ..Known::default()
        })
    });
    of_runc.chain(of_crun).collect()
}

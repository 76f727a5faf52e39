//! containers/storage, which podman and CRI-O share. Users' own podman keeps its below their homes, where they could
//! write down whatever they like: their containers are found by ID only.

use serde::Deserialize;

use super::{Host, Known};

#[derive(Deserialize)]
struct Container {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

pub(super) fn containers(host: &Host) -> Vec<Known> {
    // One for each storage driver: overlay-containers, vfs-containers.
    let drivers = host.list("var/lib/containers/storage").into_iter();
    let drivers = drivers.filter(|(name, _)| name.ends_with("-containers"));
    let lists = drivers
        .filter_map(|(_, path)| host.json::<Vec<Container>>(path.join("containers.json")))
        .flatten();
    lists
        .map(|Container { id, names }| Known {
            id,
            names,
            ..Known::default()
        })
        .collect()
}

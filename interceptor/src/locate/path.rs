//! What the path of a cgroup says of it. No I/O.
//!
//! | driver | path |
//! |---|---|
//! | systemd | `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope` |
//! | cgroupfs | `kubepods/besteffort/pod<uid>/<id>` |
//! | Docker | `system.slice/docker-<id>.scope`, `docker/<id>` |
//! | podman, CRI-O | `machine.slice/libpod-<id>.scope/container`, `…/crio-<id>.scope` |
//!
//! Each component is read by itself: what stands above differs (kind, k3d and custom roots put their own there).

use std::path::{Component, Path};

use super::{
    Identity,
    known::Host,
    name::{ContainerId, PodUid, short},
};

/// What a directory of the tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pod(PodUid),
    Container(ContainerId),
}

impl Kind {
    /// By the name of the directory.
    pub(super) fn of(name: &str) -> Option<Self> {
        pod(name)
            .map(Self::Pod)
            .or_else(|| container(name).map(Self::Container))
    }

    pub(super) fn of_last(path: &Path) -> Option<Self> {
        Self::of(path.file_name()?.to_str()?)
    }
}

fn pod(name: &str) -> Option<PodUid> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => name.strip_prefix("pod")?,
    };
    PodUid::parse(uid)
}

fn container(name: &str) -> Option<ContainerId> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    // Colons: a path for systemd's driver that a runtime without it took as it is.
    let id = ContainerId::parse(name.rsplit(['-', ':']).next()?)?;
    let before = name.strip_suffix(id.as_str())?;
    // The monitor of a container is not inside of it.
    (!before.ends_with("conmon-")).then_some(id)
}

/// The innermost pod and container of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) pod: Option<PodUid>,
    pub(super) container: Option<ContainerId>,
}

impl Place {
    pub(super) fn of(path: &Path) -> Self {
        let mut place = Self::default();
        let names = path.components().filter_map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        });
        for kind in names.filter_map(Kind::of) {
            match kind {
                // One in a container's cgroup is of a node that is itself a container.
                Kind::Pod(uid) => {
                    place = Self {
                        pod: Some(uid),
                        container: None,
                    };
                }
                Kind::Container(id) => place.container = Some(id),
            }
        }
        place
    }

    pub(super) fn identity(&self, host: &Host) -> Option<Identity> {
        let pod = self.pod.as_ref().map(|uid| host.describe(uid));
        let text = match (&self.container, pod) {
            (Some(id), Some(pod)) => format!("container {} of {pod}", short(id.as_str())),
            (Some(id), None) => format!("container {}", short(id.as_str())),
            (None, pod) => pod?,
        };
        Some(Identity(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "0b3f6a52-8f5e-4c1e-9d5a-6f6a1c0a7e11";
    const ID: &str = "4a7d1ed414474e4033ac29ccb8653d9b4a7d1ed414474e4033ac29ccb8653d9b";
    const OTHER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
    const HASH: &str = "0123456789abcdef0123456789abcdef";

    fn read(path: &str) -> (Option<String>, Option<String>) {
        let path = path
            .replace("UID_", &UID.replace('-', "_"))
            .replace("UID", UID)
            .replace("ID", ID)
            .replace("OTHER", OTHER)
            .replace("HASH", HASH);
        let place = Place::of(Path::new(&path));
        (
            place.pod.map(|uid| uid.to_string()),
            place.container.map(|id| id.as_str().to_owned()),
        )
    }

    #[test]
    fn pods_and_containers_are_read_from_the_paths_of_every_runtime_and_driver() {
        for (path, pod, container) in [
            (
                "/kubepods.slice/kubepods-podUID_.slice/cri-containerd-ID.scope",
                Some(UID),
                Some(ID),
            ),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice/cri-containerd-ID.scope",
                Some(UID),
                Some(ID),
            ),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID_.slice/crio-ID.scope",
                Some(UID),
                Some(ID),
            ),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID_.slice/crio-ID.scope/container",
                Some(UID),
                Some(ID),
            ),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice",
                Some(UID),
                None,
            ),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podHASH.slice",
                Some(HASH),
                None,
            ),
            ("/kubepods.slice/kubepods-burstable.slice", None, None),
            ("/kubepods/podUID/ID", Some(UID), Some(ID)),
            ("/kubepods/burstable/podUID/ID", Some(UID), Some(ID)),
            ("/kubepods/besteffort/podUID/crio-ID", Some(UID), Some(ID)),
            ("/kubepods/besteffort/podHASH", Some(HASH), None),
            (
                "/sys/fs/cgroup/unified/kubepods/besteffort/podUID/ID",
                Some(UID),
                Some(ID),
            ),
            (
                "/system.slice/containerd.service/kubepods-burstable-podUID_.slice:cri-containerd:ID",
                None,
                Some(ID),
            ),
            (
                "/docker/OTHER/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUID_.slice/cri-containerd-ID.scope",
                Some(UID),
                Some(ID),
            ),
            ("/docker/OTHER/kubelet/kubepods/podUID", Some(UID), None),
            ("/system.slice/docker-ID.scope", None, Some(ID)),
            ("/docker/ID", None, Some(ID)),
            ("/docker/OTHER/docker/ID", None, Some(ID)),
            ("/docker/ID/init", None, Some(ID)),
            ("/machine.slice/libpod-ID.scope", None, Some(ID)),
            ("/machine.slice/libpod-ID.scope/container", None, Some(ID)),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
                None,
                Some(ID),
            ),
            (
                "/system.slice/web.service/libpod-payload-ID",
                None,
                Some(ID),
            ),
            ("/libpod_parent/libpod-ID", None, Some(ID)),
            ("/system.slice/nerdctl-ID.scope", None, Some(ID)),
            ("/default/ID", None, Some(ID)),
            ("/machine.slice/libpod-conmon-ID.scope", None, None),
            (
                "/kubepods.slice/kubepods-podUID_.slice/crio-conmon-ID.scope",
                Some(UID),
                None,
            ),
            ("/system.slice/pods.slice", None, None),
            ("/podman/pod", None, None),
            ("/", None, None),
        ] {
            let expected = (pod.map(str::to_owned), container.map(str::to_owned));
            assert_eq!(read(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_stands_in_the_path(parts in prop::collection::vec(
            "(kubepods|burstable|docker|[a-z-]{0,9})[-:]?(pod)?[0-9a-f_-]{0,66}(\\.slice|\\.scope)?", 0..6,
        )) {
            let path = format!("/{}", parts.join("/"));
            let place = Place::of(Path::new(&path));
            if let Some(id) = place.container {
                prop_assert!(path.contains(id.as_str()));
            }
            if let Some(uid) = place.pod {
                prop_assert!(path.replace('_', "-").contains(&uid.to_string()));
            }
        }

        #[test]
        fn a_pods_container_is_found_below_any_root(
            root in "(/[a-z][a-z.-]{0,12}){0,3}",
            uid in "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
            id in "[0-9a-f]{64}",
            systemd: bool,
        ) {
            let path = if systemd {
                format!("{root}/kubepods-pod{}.slice/cri-containerd-{id}.scope", uid.replace('-', "_"))
            } else {
                format!("{root}/pod{uid}/{id}")
            };
            let place = Place::of(Path::new(&path));
            prop_assert_eq!(place.pod.unwrap().to_string(), uid);
            let container = place.container.unwrap();
            prop_assert_eq!(container.as_str(), &id);
        }
    }
}

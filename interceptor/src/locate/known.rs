//! What runtimes and kubelet keep of containers and pods in files of root's.

mod containerd;
mod docker;
mod kubelet;
mod runc;
mod storage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::name::{PodName, PodUid};
use crate::file;

/// Longest file that is read: the state of one container, or the list of all.
const FILE_BYTES: usize = 8 * 1024 * 1024;
/// Entries of a directory that are looked at: more containers than a node has.
const ENTRIES: usize = 16_384;

/// A container, as its runtime tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: String,
    pub(super) names: Vec<String>,
    pub(super) pod: Option<(PodName, PodUid)>,
    /// In the mount namespace of the host.
    pub(super) cgroup: Option<PathBuf>,
}

/// The host's files, which a daemon in a container sees through its first process.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    root: PathBuf,
}

impl Host {
    pub(crate) fn here() -> Self {
        let root = Path::new("/proc/1/root");
        let seen = fs::read_dir(root).is_ok();
        Self::at(if seen { root } else { Path::new("/") })
    }

    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// All containers that a runtime tells of, those that do not run too.
    pub(super) fn containers(&self) -> Vec<Known> {
        let mut all: BTreeMap<String, Known> = BTreeMap::new();
        let told = [
            docker::containers(self),
            storage::containers(self),
            containerd::containers(self),
            runc::containers(self),
        ];
        for known in told.into_iter().flatten() {
            let Known {
                id,
                names,
                pod,
                cgroup,
            } = known;
            let entry = all.entry(id.clone()).or_default();
            entry.id = id;
            for name in names {
                if !entry.names.contains(&name) {
                    entry.names.push(name);
                }
            }
            entry.pod = entry.pod.take().or(pod);
            entry.cgroup = entry.cgroup.take().or(cgroup);
        }
        all.into_values().collect()
    }

    /// UIDs of the pods of this name, those that have ended too.
    pub(super) fn uids(&self, name: &PodName) -> BTreeSet<PodUid> {
        let told = kubelet::pods(self)
            .into_iter()
            .chain(containerd::pods(self));
        told.filter(|(found, _)| found == name)
            .map(|(_, uid)| uid)
            .collect()
    }

    /// `pod team/agent`, or its UID where nothing tells its name.
    pub(super) fn describe(&self, uid: &PodUid) -> String {
        let mut told = kubelet::pods(self)
            .into_iter()
            .chain(containerd::pods(self));
        match told.find(|(_, found)| found == uid) {
            Some((name, _)) => format!("pod {name}"),
            None => format!("pod {uid}"),
        }
    }

    /// Names in a directory, with their paths; none where there is no such directory.
    fn list(&self, directory: impl AsRef<Path>) -> Vec<(String, PathBuf)> {
        let entries = fs::read_dir(self.root.join(directory))
            .into_iter()
            .flatten();
        let entries = entries.flatten().take(ENTRIES);
        entries
            .filter_map(|entry| Some((entry.file_name().to_str()?.to_owned(), entry.path())))
            .collect()
    }

    /// A file's JSON. One that is not there, or of another form, tells nothing.
    fn json<T: DeserializeOwned>(&self, path: impl AsRef<Path>) -> Option<T> {
        let path = self.root.join(path);
        let contents = file::read(&path, FILE_BYTES).ok()?;
        serde_json::from_slice(&contents.bytes)
            .inspect_err(|error| {
                tracing::debug!(path = %path.display(), %error, "a runtime's state cannot be read");
            })
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4a7d1ed414474e4033ac29ccb8653d9b4a7d1ed414474e4033ac29ccb8653d9b";
    const UID: &str = "0b3f6a52-8f5e-4c1e-9d5a-6f6a1c0a7e11";

    /// A host with these files.
    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root
                .path()
                .join(path.replace("<id>", ID).replace("<uid>", UID));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.replace("<uid>", UID).replace("<id>", ID)).unwrap();
        }
        let host = Host::at(root.path());
        (root, host)
    }

    #[test]
    fn every_runtimes_state_tells_its_containers_names() {
        for (path, text, name) in [
            (
                "var/lib/docker/containers/<id>/config.v2.json",
                r#"{"ID":"<id>","Name":"/web"}"#,
                "web",
            ),
            (
                "var/lib/containers/storage/overlay-containers/containers.json",
                r#"[{"id":"<id>","names":["web"],"image":"x"}]"#,
                "web",
            ),
            (
                "run/containerd/io.containerd.runtime.v2.task/k8s.io/<id>/config.json",
                r#"{"annotations":{"io.kubernetes.cri.container-name":"agent"}}"#,
                "agent",
            ),
            (
                "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/<id>/config.json",
                r#"{"annotations":{"io.kubernetes.cri.container-name":"agent"}}"#,
                "agent",
            ),
            (
                "run/containerd/io.containerd.runtime.v2.task/default/<id>/config.json",
                r#"{"annotations":{"nerdctl/name":"web"}}"#,
                "web",
            ),
        ] {
            let (_root, host) = host(&[(path, text)]);
            let [found] = host.containers().try_into().unwrap();
            assert_eq!(
                (&*found.id, &*found.names),
                (ID, &[name.to_owned()][..]),
                "{path}"
            );
        }
    }

    #[test]
    fn docker_may_keep_its_containers_elsewhere() {
        let (_root, host) = host(&[
            ("etc/docker/daemon.json", r#"{"data-root":"/data/docker"}"#),
            (
                "data/docker/containers/<id>/config.v2.json",
                r#"{"ID":"<id>","Name":"/web"}"#,
            ),
        ]);
        assert_eq!(host.containers()[0].names, ["web"]);
    }

    #[test]
    fn a_bare_runtime_tells_where_its_containers_are() {
        for path in [
            "run/runc/c1/state.json",
            "run/containerd/runc/default/c1/state.json",
            "run/docker/runtime-runc/moby/c1/state.json",
        ] {
            let state = r#"{"id":"c1","cgroup_paths":{"":"/sys/fs/cgroup/unified/x/c1","cpu":"/sys/fs/cgroup/cpu/x/c1"}}"#;
            let (_root, host) = host(&[(path, state)]);
            let [found] = host.containers().try_into().unwrap();
            assert_eq!(found.id, "c1");
            assert_eq!(
                found.cgroup.unwrap(),
                Path::new("/sys/fs/cgroup/unified/x/c1")
            );
        }
        let (_root, host) = host(&[("run/crun/c1/status", r#"{"pid":7,"cgroup-path":"/x/c1"}"#)]);
        assert_eq!(
            host.containers()[0].cgroup.as_deref(),
            Some(Path::new("/x/c1"))
        );
    }

    #[test]
    fn what_several_tell_of_one_container_is_joined_and_broken_files_tell_nothing() {
        let (_root, host) = host(&[
            (
                "var/lib/docker/containers/<id>/config.v2.json",
                r#"{"ID":"<id>","Name":"/web"}"#,
            ),
            (
                "run/docker/runtime-runc/moby/<id>/state.json",
                r#"{"id":"<id>","cgroup_paths":{"":"/sys/fs/cgroup/docker/<id>"}}"#,
            ),
            ("run/runc/broken/state.json", "{"),
            (
                "run/containerd/io.containerd.runtime.v2.task/moby/<id>/config.json",
                "[]",
            ),
        ]);
        let [found] = host.containers().try_into().unwrap();
        assert_eq!(found.names, ["web"]);
        assert!(found.cgroup.is_some());
    }

    #[test]
    fn pods_are_known_by_kubelets_logs_and_by_their_sandboxes() {
        let name = PodName::new("team", "agent-0").unwrap();
        let uid = PodUid::parse(UID).unwrap();
        let annotations = r#"{"annotations":{"io.kubernetes.cri.sandbox-namespace":"team",
            "io.kubernetes.cri.sandbox-name":"agent-0","io.kubernetes.cri.sandbox-uid":"<uid>"}}"#;
        for (path, text) in [
            ("var/log/pods/team_agent-0_<uid>/agent/0.log", ""),
            (
                "run/containerd/io.containerd.runtime.v2.task/k8s.io/<id>/config.json",
                annotations,
            ),
        ] {
            let (_root, host) = host(&[(path, text)]);
            assert_eq!(host.uids(&name), [uid.clone()].into(), "{path}");
            assert_eq!(host.describe(&uid), "pod team/agent-0", "{path}");
        }
        let (_root, host) = host(&[("var/log/pods/nonsense/x", "")]);
        assert_eq!(host.describe(&uid), format!("pod {UID}"));
    }
}

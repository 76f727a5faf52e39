//! Finding in the real tree of cgroups, by the files of a host that a test makes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::*;
use crate::kernel::fixtures::ScratchCgroup;

/// Directories below a cgroup of the test's own, and a host with some files.
struct Stage {
    cgroup: ScratchCgroup,
    hierarchy: Hierarchy,
    files: tempfile::TempDir,
}

/// Identities that no other test has, nor any container of this machine.
fn id(last: &str) -> String {
    format!("{:0<64}", format!("{}{last}", mine()))
}

/// What they begin with.
fn mine() -> String {
    format!("{:08x}", std::process::id())
}

fn uid(first: &str) -> String {
    let hash = format!("{:0<32}", format!("{}{first}", mine()));
    let parts = [
        &hash[..8],
        &hash[8..12],
        &hash[12..16],
        &hash[16..20],
        &hash[20..],
    ];
    parts.join("-")
}

impl Stage {
    fn new(test: &str) -> Self {
        Self {
            cgroup: ScratchCgroup::new(test),
            hierarchy: Hierarchy::find().unwrap(),
            files: tempfile::tempdir().unwrap(),
        }
    }

    fn cgroup(&self, path: &str) -> PathBuf {
        let path = self.cgroup.path().join(path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.files.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn find(&self, target: &Target) -> Result<(PathBuf, String), LocateError> {
        let host = Host::at(self.files.path());
        let Located { cgroup, identity } = locate(&self.hierarchy, &host, target)?;
        let identity = identity.map(|identity| identity.to_string());
        Ok((cgroup.path().to_owned(), identity.unwrap_or_default()))
    }

    fn container(&self, asked: &str) -> Result<(PathBuf, String), LocateError> {
        self.find(&Target::Container(asked.to_owned()))
    }

    fn pod(&self, asked: &str) -> Result<(PathBuf, String), LocateError> {
        self.find(&Target::Pod(asked.parse().unwrap()))
    }

    fn unit(&self, asked: &str) -> Result<(PathBuf, String), LocateError> {
        self.find(&Target::Systemd(asked.parse().unwrap()))
    }
}

fn ambiguous(found: Result<(PathBuf, String), LocateError>) -> Vec<String> {
    match found {
        Err(LocateError::Ambiguous { candidates, .. }) => candidates,
        other => panic!("{other:?}"),
    }
}

#[test]
fn kernel_a_container_is_found_by_id_by_the_beginning_of_its_id_and_by_name() {
    let stage = Stage::new("container");
    let (one, other) = (id("c0ffee1"), id("c0ffee2"));
    let first = stage.cgroup(&format!("docker/{one}"));
    let second = stage.cgroup(&format!("machine.slice/libpod-{other}.scope/container"));
    stage.cgroup(&format!("machine.slice/libpod-conmon-{other}.scope"));
    let second = second.parent().unwrap();
    let name = format!("web-{}", mine());
    let docker = format!(r#"{{"ID":"{one}","Name":"/{name}"}}"#);
    stage.file(
        &format!("var/lib/docker/containers/{one}/config.v2.json"),
        &docker,
    );

    let named = format!("container {name} ({})", &one[..12]);
    for asked in [&one, &*format!("{}c0ffee1", mine()), &name] {
        let found = stage.container(asked).unwrap();
        assert_eq!(found, (first.clone(), named.clone()), "{asked}");
    }
    let found = stage.container(&other).unwrap();
    assert_eq!(
        found,
        (second.to_owned(), format!("container {}", &other[..12]))
    );

    let candidates = ambiguous(stage.container(&format!("{}c0ffee", mine())));
    assert_eq!(candidates.len(), 2);
    assert!(
        candidates[0].contains(first.to_str().unwrap()),
        "{candidates:?}"
    );
    for asked in ["", "locate-db", &id("c0ffee3"), "../..", "/"] {
        let error = stage.container(asked).unwrap_err();
        assert!(matches!(error, LocateError::NoContainer(_)), "{error}");
    }
}

#[test]
fn kernel_a_name_that_is_also_the_beginning_of_an_id_is_ambiguous() {
    let stage = Stage::new("name-or-id");
    let (one, other) = (id("facade1"), id("bead1"));
    stage.cgroup(&one);
    stage.cgroup(&other);
    let list = format!(r#"[{{"id":"{other}","names":["{}facade"]}}]"#, mine());
    stage.file(
        "var/lib/containers/storage/overlay-containers/containers.json",
        &list,
    );
    assert_eq!(
        ambiguous(stage.container(&format!("{}facade", mine()))).len(),
        2
    );
}

#[test]
fn kernel_a_container_whose_id_is_a_word_is_where_its_runtime_says() {
    let stage = Stage::new("word");
    let path = stage.cgroup("x/c1");
    let name = format!("locate-{}", std::process::id());
    let state = serde_json::json!({"id": name, "cgroup_paths": {"": path}});
    stage.file(&format!("run/runc/{name}/state.json"), &state.to_string());
    let found = stage.container(&name).unwrap();
    assert_eq!(found, (path.clone(), format!("container {name}")));

    // In the cgroup of everybody it is nowhere.
    let root = serde_json::json!({"id": name, "cgroup_paths": {"": "/"}});
    stage.file(&format!("run/runc/{name}/state.json"), &root.to_string());
    let error = stage.container(&name).unwrap_err();
    assert!(matches!(error, LocateError::NoContainer(_)), "{error}");
}

#[test]
fn kernel_a_pod_is_found_at_its_own_cgroup_by_uid_and_by_name() {
    let stage = Stage::new("pod");
    let (systemd, cgroupfs, ended) = (uid("90d1"), uid("90d2"), uid("90d3"));
    let slice = format!(
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
        systemd.replace('-', "_")
    );
    stage.cgroup(&format!("{slice}/cri-containerd-{}.scope", id("90d1")));
    let slice = stage.cgroup(&slice);
    stage.cgroup(&format!("kubepods/besteffort/pod{cgroupfs}/{}", id("90d2")));
    let directory = stage.cgroup(&format!("kubepods/besteffort/pod{cgroupfs}"));
    for uid in [&systemd, &ended] {
        stage.file(&format!("var/log/pods/team_agent-0_{uid}/agent/0.log"), "");
    }

    let named = (slice, "pod team/agent-0".to_owned());
    assert_eq!(stage.pod("team/agent-0").unwrap(), named);
    assert_eq!(stage.pod(&systemd).unwrap(), named);
    let unnamed = (directory, format!("pod {cgroupfs}"));
    assert_eq!(stage.pod(&cgroupfs).unwrap(), unnamed);
    let container = stage.container(&id("90d1")).unwrap();
    let short = &id("90d1")[..12];
    assert_eq!(
        container.1,
        format!("container {short} of pod team/agent-0")
    );
    let by_path = stage.find(&Target::Cgroup(container.0)).unwrap();
    assert_eq!(by_path.1, container.1);

    let error = stage.pod(&ended).unwrap_err();
    assert!(matches!(error, LocateError::NoPod(_)), "{error}");
    let error = stage.pod("team/agent-1").unwrap_err();
    assert!(matches!(error, LocateError::UnknownPod(_)), "{error}");
}

#[test]
fn kernel_what_a_container_makes_below_itself_is_not_taken_for_what_it_names() {
    let stage = Stage::new("below");
    let (node, victim) = (id("abcd1"), uid("abcd2"));
    let forged = stage.cgroup(&format!("docker/{node}/kubepods/pod{victim}"));
    // As long as there is no other one, it may be a node that is a container.
    assert_eq!(stage.pod(&victim).unwrap().0, forged);
    let real = stage.cgroup(&format!("kubepods/pod{victim}"));
    assert_eq!(stage.pod(&victim).unwrap().0, real);
    let second = stage.cgroup(&format!("other/kubepods/pod{victim}"));
    let candidates = ambiguous(stage.pod(&victim));
    assert_eq!(candidates.len(), 2);
    assert!(candidates.iter().any(|path| Path::new(path) == second));
}

#[test]
fn kernel_a_unit_of_the_system_comes_before_a_users() {
    let stage = Stage::new("unit");
    let name = format!("locate-{}.service", std::process::id());
    let manager = "user.slice/user-1000.slice/user@1000.service/app.slice";
    let of_user = stage.cgroup(&format!("{manager}/{name}"));
    assert_eq!(
        stage.unit(&name).unwrap(),
        (of_user, format!("unit {name}"))
    );
    let of_system = stage.cgroup(&format!("system.slice/{name}"));
    let bare = name.strip_suffix(".service").unwrap();
    assert_eq!(stage.unit(bare).unwrap().0, of_system);
    stage.cgroup(&format!("other.slice/{name}"));
    assert_eq!(ambiguous(stage.unit(&name)).len(), 2);
    let error = stage.unit("locate-none").unwrap_err();
    assert!(matches!(error, LocateError::NoUnit(_)), "{error}");
}

//! Pods of real containers, as kubelet and a runtime make them: a cgroup for each pod, a network namespace that is there
//! before its containers, and runc.

mod census;
mod fence;
pub mod rounds;
mod spec;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cgroup::{self, Cgroup},
    clients::PLACEHOLDER,
    daemon::Daemon,
    logs::complain,
    netns::Netns,
    process::{Finished, Running},
    unique_name,
};

pub use census::Census;
pub use fence::{open_only, reject_all};

/// Cgroups above those of pods, by class, as the drivers cgroupfs and systemd make them.
const CLASSES: [&str; 6] = [
    "kubepods",
    "kubepods/burstable",
    "kubepods/besteffort",
    "kubepods.slice",
    "kubepods.slice/kubepods-burstable.slice",
    "kubepods.slice/kubepods-besteffort.slice",
];

/// A node's pods. Their cgroups go with it, in all hierarchies.
#[derive(Debug)]
pub struct Node {
    name: String,
    cgroup: Cgroup,
    /// Where bundles and states lie, and the clients and certificates that containers see.
    directory: PathBuf,
    states: PathBuf,
    root: PathBuf,
}

/// A pod: its cgroup, and the network namespace that its containers share.
#[derive(Debug)]
pub struct Pod<'n> {
    node: &'n Node,
    uid: String,
    /// In the hierarchy, of the pod and of its containers up to their IDs.
    path: String,
    scope: (&'static str, &'static str),
    netns: Netns,
}

/// A container under way: unprivileged, without capabilities, in namespaces of its own but for its pod's network.
#[derive(Debug)]
pub struct Container {
    id: String,
    states: PathBuf,
    running: Option<Running>,
}

impl Node {
    /// Containers of it see `directory`, and this machine's programs.
    ///
    /// # Errors
    /// Not root, or no runc.
    pub fn new(directory: &Path) -> Result<Self> {
        let cgroup = Cgroup::new()?;
        let name = cgroup.path().file_name().and_then(|name| name.to_str());
        let root = directory.join("rootfs");
        spec::make_root(&root, directory)?;
        // They stay when pods go.
        for class in CLASSES {
            fs::create_dir_all(cgroup.path().join(class))?;
        }
        Ok(Self {
            name: name.context("a cgroup without a name")?.to_owned(),
            cgroup,
            directory: directory.to_owned(),
            states: directory.join("runc"),
            root,
        })
    }

    /// The same with the runtime's states where runc has them by itself, so that its containers are found by name.
    #[must_use]
    pub fn with_known_states(mut self) -> Self {
        self.states = "/run/runc".into();
        self
    }

    /// A pod with a network namespace, in turns of every class and as systemd's driver and cgroupfs's place it.
    ///
    /// # Errors
    /// No cgroup to be had.
    pub fn pod(&self, netns: Netns) -> Result<Pod<'_>> {
        let number = next();
        let uid = format!("{:08x}-0000-4000-8000-{number:012x}", std::process::id());
        let name = &self.name;
        let class = CLASSES.iter().cycle().nth(usize::try_from(number)?);
        let class = class.context("no such class")?;
        // `…/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope`, `…/pod<uid>/<id>`
        let last = class.rsplit('/').next();
        let (path, scope) = match last.and_then(|last| last.strip_suffix(".slice")) {
            Some(slice) => (
                format!("{name}/{class}/{slice}-pod{}.slice", uid.replace('-', "_")),
                ("cri-containerd-", ".scope"),
            ),
            None => (format!("{name}/{class}/pod{uid}"), ("", "")),
        };
        let pod = Pod {
            node: self,
            uid,
            path,
            scope,
            netns,
        };
        fs::create_dir_all(pod.cgroup()?)?;
        Ok(pod)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Those of version 1 have nobody in them: whoever is there is in that of version 2 too.
        for mount in cgroup::mount_points().unwrap_or_default() {
            let path = mount.join(&self.name);
            if path != self.cgroup.path() && path.exists() {
                cgroup::remove_when_empty(&path);
            }
        }
    }
}

impl Pod<'_> {
    pub fn uid(&self) -> &str {
        &self.uid
    }

    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// # Errors
    /// No cgroup2 is mounted.
    pub fn cgroup(&self) -> Result<PathBuf> {
        Ok(cgroup::mount_point()?.join(&self.path))
    }

    /// As an operator does.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn attach(&self, daemon: &Daemon, name: &str) -> Result<()> {
        let attach = ["attach", "--name", name, "--pod", &self.uid];
        daemon.cli(&attach)?.success().map(drop)
    }

    /// Starts a container of an ID like those of engines.
    ///
    /// # Errors
    /// runc refuses.
    pub fn start(&self, daemon: &Daemon, arguments: &[String]) -> Result<Container> {
        let id = format!("{:08x}{:056x}", std::process::id(), next());
        self.start_as(&id, 65534, daemon, arguments)
    }

    /// As [`Self::start`], under an ID and a user, who has no capabilities either.
    ///
    /// # Errors
    /// runc refuses.
    pub fn start_as(
        &self,
        id: &str,
        user: u32,
        daemon: &Daemon,
        arguments: &[String],
    ) -> Result<Container> {
        let (before, after) = self.scope;
        let mut environment = daemon.trust();
        environment.push(("DISCORD_BOT_TOKEN", PLACEHOLDER.to_owned()));
        let spec = spec::Spec {
            root: &self.node.root,
            shared: &self.node.directory,
            cgroup: &format!("/{}/{before}{id}{after}", self.path),
            netns: &self.netns.path(),
            user,
            arguments,
            environment: &environment,
        };
        let bundle = self.node.directory.join("bundles").join(unique_name());
        fs::create_dir_all(&bundle)?;
        fs::write(bundle.join("config.json"), spec.json().to_string())?;
        let mut command = Command::new("runc");
        command
            .arg("--root")
            .arg(&self.node.states)
            .args(["run", "--bundle"])
            .arg(bundle)
            .arg(id);
        Ok(Container {
            id: id.to_owned(),
            states: self.node.states.clone(),
            running: Some(Running::spawn(command)?),
        })
    }

    /// Runs a container to its end.
    ///
    /// # Errors
    /// runc refuses, or it takes too long; its exit status is the caller's to judge.
    pub fn run(&self, daemon: &Daemon, arguments: &[String]) -> Result<Finished> {
        self.start(daemon, arguments)?.finish()
    }

    /// As kubelet does when all containers have ended.
    ///
    /// # Errors
    /// Somebody is still in it.
    pub fn remove(self) -> Result<()> {
        for mount in cgroup::mount_points()? {
            let path = mount.join(&self.path);
            if path.exists() {
                fs::remove_dir(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }
}

impl Container {
    pub fn id(&self) -> &str {
        &self.id
    }

    /// # Errors
    /// It has ended.
    pub fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().context("the container has ended")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It takes too long.
    pub fn finish(mut self) -> Result<Finished> {
        let running = self.running.take().context("the container has ended")?;
        running.finish()
    }

    /// The number of its first process, as the host sees it.
    ///
    /// # Errors
    /// It does not run yet.
    pub fn pid(&self) -> Result<u32> {
        let text = fs::read_to_string(self.states.join(&self.id).join("state.json"))?;
        let state: serde_json::Value = serde_json::from_str(&text)?;
        let pid = state.get("init_process_pid").and_then(|pid| pid.as_u64());
        let pid = u32::try_from(pid.context("no process in the container's state")?)?;
        ensure!(pid != 0, "the container's process is not there yet");
        Ok(pid)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // runc has removed it where it came to its end.
        if !self.states.join(&self.id).exists() {
            return;
        }
        let mut command = Command::new("runc");
        command.arg("--root").arg(&self.states);
        command.args(["delete", "--force", &self.id]);
        let deleted = Running::spawn(command).and_then(|running| running.finish()?.success());
        if let Err(error) = deleted {
            complain(&format!("container {}: {error:#}", self.id));
        }
        drop(self.running.take());
    }
}

fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Relaxed)
}

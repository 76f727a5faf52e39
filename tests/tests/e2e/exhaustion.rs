//! When something runs out: nothing opens, it is said, and it is over when there is room again.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tests::{
    daemon::Daemon,
    gateway::{Gateway, Options, record::Token},
    netns::Netns,
    process::run,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN, directory, discord},
};

/// Sets the soft limit of a daemon, and tells what it was.
fn limit(daemon: &Daemon, resource: Resource, current: Option<u64>) -> Result<Option<u64>> {
    let pid = Pid::from_raw(i32::try_from(daemon.pid()?)?);
    let before = rustix::process::getrlimit(resource);
    let old = prlimit(
        pid,
        resource,
        Rlimit {
            current,
            maximum: before.maximum,
        },
    )?;
    Ok(old.current)
}

#[test]
fn a_daemon_without_descriptors_lets_nobody_through_and_goes_on_when_it_has_some() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    sandbox.run(&netns, &scenario.clients.rust())?.success()?;
    scenario.gateway.record().clear();

    let pid = scenario.daemon.pid()?;
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let before = limit(
        &scenario.daemon,
        Resource::Nofile,
        Some(u64::try_from(open)? / 2),
    )?;
    let client = sandbox.spawn(&netns, &scenario.clients.rust())?;
    scenario
        .daemon
        .wait_for_log(&["cannot accept", "raise the limit"])?;
    assert_eq!(scenario.gateway.record().tokens(), []);

    limit(&scenario.daemon, Resource::Nofile, before)?;
    client.finish()?.success()?.event("ready")?;
    assert_eq!(scenario.gateway.record().tokens(), [Token::Real]);
    let stats = scenario.daemon.json(&["stats"])?;
    assert!(
        stats["kernel"]["accept_pauses"].as_u64() > Some(0),
        "{stats}"
    );
    Ok(())
}

/// A file system of 1 MiB.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path)?;
        run(
            "mount",
            ["-t", "tmpfs", "-o", "size=1m,mode=755", "none"]
                .map(str::to_owned)
                .into_iter()
                .chain([path.display().to_string()]),
        )?;
        Ok(Self(path))
    }

    fn fill(&self) -> Result<()> {
        let filled = fs::write(self.filler(), vec![0; 2 << 20]);
        anyhow::ensure!(filled.is_err(), "the disk is too large");
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = run("umount", [self.0.display().to_string()]) {
            tests::logs::complain(&format!("{error:#}"));
        }
    }
}

#[test]
fn with_a_full_disk_nothing_is_half_attached_and_detach_works() -> Result<()> {
    let directory = directory()?;
    let disk = Disk::mount(directory.path().join("run"))?;
    let gateway = Gateway::start(Options::new(TOKEN))?;
    let config = discord(&gateway).write(directory.path())?;
    let daemon = Daemon::start(&config, directory.path())?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&daemon, "demo", &[&netns])?;
    sandbox.detach(&daemon)?;

    disk.fill()?;
    let cgroup = sandbox.cgroup().path().display().to_string();
    let refused = daemon.cli(&["attach", "--name", "demo", "--cgroup", &cgroup])?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("cannot keep the sandbox's state"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("No space left"),
        "{}",
        refused.stderr
    );
    let listed = daemon.json(&["sandboxes"])?;
    assert_eq!(listed.as_array().map(Vec::len), Some(0), "{listed}");
    let pins = fs::read_dir(daemon.bpf_dir())?;
    for version in pins {
        let sandboxes = version?.path().join("sandboxes");
        assert_eq!(fs::read_dir(sandboxes)?.count(), 0);
    }

    disk.clear()?;
    sandbox.attach_again(&daemon)?;
    disk.fill()?;
    sandbox.detach(&daemon)?;
    disk.clear()?;
    sandbox.attach_again(&daemon)?;
    let listed = daemon.json(&["sandboxes"])?;
    listed[0]["netns"][0].as_object().context("no listeners")?;
    Ok(())
}

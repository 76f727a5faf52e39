//! A daemon that is given no more memory.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::{
    gateway::record::Token, logs::complain, netns::Netns, process::PATIENCE, sandbox::Sandbox,
    scenario::Scenario,
};

/// Beyond what the daemon has when it is put under pressure: less than its limits let one sandbox make it hold.
const MORE: u64 = 4 << 20;

/// A cgroup that bounds memory, of either version.
struct Bounded {
    path: PathBuf,
    events: &'static str,
}

impl Bounded {
    /// `None`: this machine has no such controller.
    fn new() -> Result<Option<Self>> {
        let name = format!("interceptor-tests-memory-{}", std::process::id());
        let (v1, v2) = (
            Path::new("/sys/fs/cgroup/memory"),
            Path::new("/sys/fs/cgroup"),
        );
        let (parent, limit, events) = if v1.join("memory.limit_in_bytes").exists() {
            (v1, "memory.limit_in_bytes", "memory.oom_control")
        } else if fs::write(v2.join("cgroup.subtree_control"), "+memory").is_ok() {
            (v2, "memory.max", "memory.events")
        } else {
            return Ok(None);
        };
        let path = parent.join(name);
        fs::create_dir(&path)?;
        let bounded = Self { path, events };
        fs::write(bounded.path.join(limit), MORE.to_string())?;
        Ok(Some(bounded))
    }

    fn take(&self, pid: u32) -> Result<()> {
        Ok(fs::write(self.path.join("cgroup.procs"), pid.to_string())?)
    }

    /// Processes that the kernel has ended for want of memory.
    fn ended(&self) -> Result<u64> {
        let events = fs::read_to_string(self.path.join(self.events))?;
        let mut lines = events.lines();
        let count = lines.find_map(|line| line.strip_prefix("oom_kill "));
        Ok(count.context("no count of kills")?.parse()?)
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = fs::remove_dir(&self.path) {
            if Instant::now() > deadline {
                complain(&format!("cannot remove {}: {error}", self.path.display()));
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "what this machine lacks is said")]
fn a_daemon_that_is_ended_for_want_of_memory_leaves_its_sandbox_closed_and_comes_back() -> Result<()>
{
    let Some(bounded) = Bounded::new()? else {
        println!("no controller of memory on this machine: not tried");
        return Ok(());
    };
    let mut scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    sandbox.run(&netns, &scenario.clients.rust())?.success()?;
    scenario.gateway.record().clear();

    bounded.take(scenario.daemon.pid()?)?;
    let flood = ["flood", "--seconds=5", "--threads=2", "huge"];
    sandbox.run(&netns, &scenario.clients.probe(&flood))?;
    ensure!(bounded.ended()? == 1, "the daemon was not ended");
    scenario.daemon.kill()?;
    let connect = scenario.clients.probe(&["connect", "192.0.2.1:443"]);
    sandbox.run(&netns, &connect)?.event("refused")?;
    assert_eq!(scenario.gateway.record().tokens(), []);

    scenario.daemon.restart()?;
    sandbox.run(&netns, &scenario.clients.rust())?.success()?;
    assert_eq!(scenario.gateway.record().tokens(), [Token::Real]);
    Ok(())
}

//! A daemon that is killed at any moment leaves its sandboxes closed and nothing behind, and the next one goes on.

use std::{
    fmt, fs,
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    capture::Capture,
    cgroup::{Cgroup, mount_point},
    netns::Netns,
    process::Running,
    upgrade::Stage,
};

/// What the moments are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    pub fn fresh() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(now.unwrap_or_default().subsec_nanos().into())
    }

    /// A number below `bound` (splitmix64).
    fn draw(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What the daemon was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum During {
    Service,
    Start,
    Attach,
    Detach,
    Reload,
    /// The one that takes over is killed first.
    Takeover,
    /// The one that is taken over from is killed first.
    Handover,
}

impl fmt::Display for During {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "service",
            Self::Start => "start",
            Self::Attach => "attach",
            Self::Detach => "detach",
            Self::Reload => "reload",
            Self::Takeover => "takeover, the new one first",
            Self::Handover => "takeover, the old one first",
        })
    }
}

const ALL: [During; 7] = [
    During::Attach,
    During::Takeover,
    During::Start,
    During::Reload,
    During::Handover,
    During::Service,
    During::Detach,
];

/// One of the moments.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    during: During,
    after: Duration,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { during, after } = self;
        write!(f, "killed during {during}, after {} ms", after.as_millis())
    }
}

/// What a daemon could leave behind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Remains {
    pins: usize,
    /// TCP listeners and UDP sockets in the sandbox's namespace.
    listeners: usize,
    records: usize,
}

/// Kills the daemon as often as `times`, and looks each time.
///
/// # Errors
/// A sandbox was open, or something was left, or the next one did not go on.
pub fn die(mut seed: Seed, times: usize) -> Result<Vec<Death>> {
    let mut stage = Stage::new()?;
    let outside = Netns::new()?;
    stage.netns.route_through(&outside)?;
    let target = outside.listen("10.231.7.1:443".parse()?)?;
    stage.scenario.gateway.listen(target)?;
    let capture = Capture::start(&stage.netns)?;
    let whole = Remains::of(&stage)?;
    let mut deaths = Vec::new();
    for during in ALL.into_iter().cycle().take(times) {
        let longest = match during {
            During::Start | During::Takeover | During::Handover => 800,
            During::Service | During::Attach | During::Detach | During::Reload => 150,
        };
        let death = Death {
            during,
            after: Duration::from_millis(seed.draw(longest)),
        };
        once(&mut stage, death, &whole).with_context(|| death.to_string())?;
        deaths.push(death);
    }
    let left: Vec<_> = capture.finish()?;
    let left: Vec<_> = left.iter().filter(|packet| packet.device != "lo").collect();
    ensure!(left.is_empty(), "packets left the sandbox: {left:?}");
    Ok(deaths)
}

fn once(stage: &mut Stage, death: Death, whole: &Remains) -> Result<()> {
    let load = stage.renew()?;
    // Whatever it is busy with at that moment, it is not the test's business how it ends.
    let mut busy = Vec::new();
    let other = Cgroup::new()?;
    let path = other.path().display().to_string();
    let attach = ["attach", "--name", "other", "--cgroup", &path];
    match death.during {
        During::Service => {}
        During::Start => {
            stage.scenario.daemon.kill()?;
            busy.push(Running::spawn(stage.scenario.daemon.run(&[]))?);
        }
        During::Attach => busy.push(Running::spawn(stage.scenario.daemon.command(&attach))?),
        During::Detach => {
            stage.scenario.daemon.cli(&attach)?.success()?;
            let detach = stage.scenario.daemon.command(&["detach", "other"]);
            busy.push(Running::spawn(detach)?);
        }
        During::Reload => busy.push(Running::spawn(stage.scenario.daemon.command(&["reload"]))?),
        During::Takeover | During::Handover => {
            busy.push(Running::spawn(stage.scenario.daemon.run(&["--takeover"]))?);
        }
    }
    thread::sleep(death.after);
    match death.during {
        During::Start => {}
        During::Handover => {
            stage.scenario.daemon.kill()?;
            thread::sleep(death.after / 2);
        }
        During::Takeover => {
            for process in &mut busy {
                process.kill()?;
            }
            stage.scenario.daemon.kill()?;
        }
        During::Service | During::Attach | During::Detach | During::Reload => {
            stage.scenario.daemon.kill()?;
        }
    }
    for process in &mut busy {
        process.kill()?;
    }
    drop((busy, load));
    closed(stage)?;

    stage.scenario.daemon.restart()?;
    let login = stage.scenario.clients.rust();
    stage.sandbox.run(&stage.netns, &login)?.success()?;
    // The other sandbox stands, whole, or it does not; either way the commands work.
    if sandboxes(stage)?.iter().any(|name| name == "other") {
        stage.scenario.daemon.cli(&["detach", "other"])?.success()?;
    }
    stage.scenario.daemon.cli(&attach)?.success()?;
    stage.scenario.daemon.cli(&["detach", "other"])?.success()?;
    ensure!(sandboxes(stage)? == ["demo"], "{:?}", sandboxes(stage)?);
    let remains = Remains::of(stage)?;
    ensure!(remains == *whole, "{remains:?} instead of {whole:?}");
    let scratch = scratch_of_dead()?;
    ensure!(scratch.is_empty(), "cgroups were left: {scratch:?}");
    Ok(())
}

/// While no daemon runs, the sandbox reaches nothing, and nobody listens in it.
fn closed(stage: &Stage) -> Result<()> {
    let connect = ["connect", "10.231.7.1:443", "[fd00:231:7::1]:443"];
    let connect = stage.scenario.clients.probe(&connect);
    let events = stage.sandbox.run(&stage.netns, &connect)?.events();
    let refused = |event: &Value| event.get("event").and_then(Value::as_str) == Some("refused");
    ensure!(
        events.len() == 2 && events.iter().all(refused),
        "{events:?}"
    );
    let listeners = listeners(&stage.netns)?;
    ensure!(listeners == 0, "{listeners} listeners outlive the daemon");
    Ok(())
}

impl Remains {
    fn of(stage: &Stage) -> Result<Self> {
        let records = stage.scenario.directory().join("run/sandboxes");
        Ok(Self {
            pins: files(stage.scenario.daemon.bpf_dir())?,
            listeners: listeners(&stage.netns)?,
            records: files(&records)?,
        })
    }
}

fn files(directory: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        count += if path.is_dir() { files(&path)? } else { 1 };
    }
    Ok(count)
}

fn listeners(netns: &Netns) -> Result<usize> {
    let listed = netns.run("ss", &["-Hlntu"])?;
    Ok(listed
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count())
}

/// Cgroups of self-tests whose daemon is gone.
fn scratch_of_dead() -> Result<Vec<String>> {
    let names = fs::read_dir(mount_point()?)?.flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let of_dead = names.filter(|name| {
        let pid = name.strip_prefix("interceptor-selftest-");
        let pid = pid.and_then(|rest| rest.split('-').next());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    });
    Ok(of_dead.collect())
}

fn sandboxes(stage: &Stage) -> Result<Vec<String>> {
    let listed = stage.scenario.daemon.json(&["sandboxes"])?;
    let names = listed.as_array().context("no list of sandboxes")?.iter();
    let names = names.filter_map(|sandbox| sandbox.get("name")?.as_str().map(str::to_owned));
    Ok(names.collect())
}

//! Everything that vectors are tried on: one daemon, one hostile sandbox, and the same program beside it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    attacker::Attacker,
    ground::{BESIDE, CONTROL, DEVICE, EVIL, Ground, INBOUND, POD, PORT, SANDBOX},
    outside::Outside,
    packets::Sorted,
    upstream::{HOSTS, Upstream},
    vector::Accomplice,
};
use crate::{
    capture::Capture,
    cgroup::Cgroup,
    daemon::Daemon,
    interrupt,
    process::PATIENCE,
    programs::{client_sources, copy},
    sandbox::Sandbox,
    scenario::directory,
};

/// The hostile sandbox's.
pub(super) const NAME: &str = "hostile";

/// Fields are dropped in order.
#[derive(Debug)]
pub struct Stage {
    captures: Option<Captures>,
    pub(super) hostile: Attacker,
    /// In the same sandbox, root without capabilities.
    pub(super) rooted: Attacker,
    pub(super) control: Attacker,
    accomplice: Attacker,
    pub(super) late: Late,
    _sandbox: Sandbox,
    /// Holds the processes that are in none.
    _beside: Sandbox,
    pub(super) daemon: Daemon,
    pub(super) outside: Outside,
    pub(super) upstream: Upstream,
    _ground: Ground,
    facts: Facts,
    beside_facts: Facts,
    _elsewhere: Cgroup,
    _directory: TempDir,
}

/// A sandbox that is attached when its sockets are there already, and detached again.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) attacker: Attacker,
    sandbox: Sandbox,
    meeting: PathBuf,
}

impl Late {
    /// Lets the program go on that has prepared itself, attached or not.
    pub(super) fn go(&self, daemon: &Daemon, attached: bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.meeting.join("ready").exists() {
            interrupt::check()?;
            ensure!(Instant::now() < deadline, "the program does not get ready");
            thread::sleep(Duration::from_millis(5));
        }
        if attached {
            self.sandbox.attach_again(daemon)?;
        }
        fs::write(self.meeting.join("go"), "")?;
        Ok(())
    }

    /// Forgets the last meeting.
    pub(super) fn clear(&self) -> Result<()> {
        for file in ["ready", "go"] {
            let path = self.meeting.join(file);
            if path.exists() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    pub(super) fn detach(&self, daemon: &Daemon) -> Result<()> {
        self.sandbox.detach(daemon)
    }
}

/// What vectors have to know of the place.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Port of the daemon's listeners in the sandbox's namespace.
    pub(super) listener: u64,
    pub(super) daemon: u32,
    pub(super) run: PathBuf,
    pub(super) data: PathBuf,
    pub(super) pins: PathBuf,
    /// Readable by root alone.
    pub(super) secret: PathBuf,
    pub(super) configuration: PathBuf,
    /// Where the daemon writes its events.
    pub(super) events: PathBuf,
    /// A cgroup that is no sandbox.
    pub(super) elsewhere: PathBuf,
    pub(super) own_cgroup: PathBuf,
    pub(super) host_netns: PathBuf,
    /// The program's own address, and the host's link-local one on the same link.
    pub(super) address: &'static str,
    pub(super) gateway: String,
    /// A Unix socket at which an accomplice waits.
    pub(super) accomplice: PathBuf,
    /// Where files tell each other's turn.
    pub(super) meeting: PathBuf,
}

/// Where an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Control,
    Sandbox,
}

#[derive(Debug)]
struct Captures {
    sandbox: Capture,
    host: Capture,
}

/// What went over the sandbox's and the host's devices.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) sandbox: Sorted,
    pub(super) host: Sorted,
}

impl Stage {
    /// # Errors
    /// Not root, or something does not come up.
    pub fn new() -> Result<Self> {
        let place = directory()?;
        let ground = Ground::new()?;
        let programs = place.path().join("hostile");
        copy(&client_sources().join("adversary"), &programs)?;
        let outside = Outside::start(&ground.outside, &programs)?;
        let upstream = Upstream::start(&ground)?;
        let events = place.path().join("events.jsonl");
        let configuration = upstream.configuration();
        let configuration =
            configuration.top_level(&format!("events: {{ file: {} }}", events.display()));
        let configuration = configuration.write(place.path())?;
        let daemon = start_daemon(&ground, &configuration, place.path())?;

        let beside = Sandbox::beside(&daemon, "beside")?;
        see_that_all_is_open(&beside, &ground, &programs)?;
        let captures = Captures {
            sandbox: Capture::start_with_kernel(&ground.sandbox)?,
            host: Capture::start_with_kernel(&ground.host)?,
        };
        let mut sandbox = Sandbox::beside(&daemon, NAME)?;
        sandbox.settle(&ground.sandbox)?;
        sandbox.attach_again(&daemon)?;
        let hostile = Attacker::start(&sandbox, &ground.sandbox, &programs)?;
        let rooted = Attacker::start_as(0, &sandbox, &ground.sandbox, &programs)?;
        let control = Attacker::start(&beside, &ground.control, &programs)?;
        let accomplice = Attacker::start(&beside, &ground.control, &programs)?;
        let elsewhere = Cgroup::new()?;
        let meeting = place.path().join("meeting");
        fs::create_dir(&meeting)?;
        fs::set_permissions(&meeting, fs::Permissions::from_mode(0o777))?;
        let sandbox_late = Sandbox::beside(&daemon, "late")?;
        let late = Late {
            attacker: Attacker::start(&sandbox_late, &ground.late, &programs)?,
            sandbox: sandbox_late,
            meeting: meeting.clone(),
        };
        let facts = Facts {
            listener: listener(&daemon)?,
            daemon: daemon.pid()?,
            run: place.path().join("run"),
            data: place.path().join("data"),
            pins: daemon.bpf_dir().to_owned(),
            secret: place.path().join("KEY.secret"),
            configuration,
            events,
            elsewhere: elsewhere.path().to_owned(),
            own_cgroup: sandbox.cgroup().path().to_owned(),
            host_netns: ground.host.path(),
            address: SANDBOX,
            gateway: Ground::link_local(&ground.host, POD)?,
            accomplice: meeting.join("accomplice.sock"),
            meeting: meeting.clone(),
        };
        let beside_facts = Facts {
            address: BESIDE,
            gateway: Ground::link_local(&ground.host, CONTROL)?,
            ..facts.clone()
        };
        Ok(Self {
            captures: Some(captures),
            hostile,
            rooted,
            control,
            accomplice,
            late,
            _sandbox: sandbox,
            _beside: beside,
            daemon,
            outside,
            upstream,
            _ground: ground,
            facts,
            beside_facts,
            _elsewhere: elsewhere,
            _directory: place,
        })
    }

    pub(super) fn facts(&self, side: Side) -> &Facts {
        match side {
            Side::Control => &self.beside_facts,
            Side::Sandbox => &self.facts,
        }
    }

    /// How many doors the sandbox is said to have that only seccomp closes.
    pub(super) fn doors(&self) -> Result<usize> {
        let sandboxes = self.daemon.json(&["sandboxes"])?;
        let own = sandboxes.as_array().into_iter().flatten();
        let mut own = own.filter(|one| one.get("name").and_then(Value::as_str) == Some(NAME));
        let doors = own.next().and_then(|one| one.get("doors")?.as_array());
        Ok(doors.context("no doors in the list of sandboxes")?.len())
    }

    /// Has somebody outside do a vector's other half; [`Self::helped`] waits for its end.
    pub(super) fn help(
        &mut self,
        accomplice: Option<Accomplice>,
        side: Side,
    ) -> Result<Option<u64>> {
        let path = &self.facts.accomplice;
        let (order, with) = match accomplice {
            None => return Ok(None),
            Some(Accomplice::Connects) => (
                "take-and-connect",
                json!({"path": path, "address": EVIL, "port": PORT}),
            ),
            Some(Accomplice::HandsIn) => ("hand-in", json!({"path": path})),
            Some(Accomplice::DialsIn) => {
                let address = self.facts(side).address;
                ("dial", json!({"address": address, "port": INBOUND}))
            }
        };
        self.accomplice.order(order, &with).map(Some)
    }

    pub(super) fn helped(&self, order: Option<u64>) -> Result<()> {
        match order {
            Some(order) => self.accomplice.outcome(order).map(drop),
            None => Ok(()),
        }
    }

    /// Ends the captures.
    pub(super) fn captured(&mut self) -> Result<Captured> {
        let captures = self
            .captures
            .take()
            .context("the captures have ended already")?;
        Ok(Captured {
            sandbox: Sorted::new(captures.sandbox.finish()?)?,
            host: Sorted::new(captures.host.finish()?)?,
        })
    }
}

/// Starts the daemon in the host's namespace, where names come from a file and a resolver of ours.
fn start_daemon(ground: &Ground, configuration: &Path, place: &Path) -> Result<Daemon> {
    let hosts = place.join("hosts");
    fs::write(&hosts, HOSTS)?;
    let resolver = place.join("resolv.conf");
    fs::write(
        &resolver,
        format!("nameserver {EVIL}\noptions timeout:1 attempts:1\n"),
    )?;
    for file in [&hosts, &resolver] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644))?;
    }
    let text = |path: &Path| path.display().to_string();
    let runner = [
        "nsenter".into(),
        ground.host.entry(),
        "--".into(),
        "unshare".into(),
        "--mount".into(),
        "sh".into(),
        "-c".into(),
        r#"mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@""#
            .into(),
        text(&hosts),
        text(&resolver),
    ];
    Daemon::start_by(&runner, configuration, place, "interceptor=debug,info")
}

/// The way out is one: a process that is in no sandbox takes it, in the very namespace.
fn see_that_all_is_open(beside: &Sandbox, ground: &Ground, programs: &Path) -> Result<()> {
    let mut attacker = Attacker::start(beside, &ground.sandbox, programs)?;
    for order in ["connect", "send-to"] {
        let order = attacker.order(order, &json!({"address": EVIL, "port": PORT}))?;
        let said = attacker.outcome(order)?.said;
        ensure!(
            said.ends_with("answered"),
            "nobody outside can be reached, even without a sandbox: {said}"
        );
    }
    drop(attacker);
    // For the last of its packets.
    thread::sleep(Duration::from_millis(300));
    Ok(())
}

fn listener(daemon: &Daemon) -> Result<u64> {
    let sandboxes = daemon.json(&["sandboxes"])?;
    let port = sandboxes.pointer("/0/netns/0/port").and_then(Value::as_u64);
    port.with_context(|| format!("no listener on {DEVICE}'s side: {sandboxes}"))
}

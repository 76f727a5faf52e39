//! Everything that vectors are tried on: one daemon, one hostile sandbox, and the same program beside it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    attacker::{Attacker, User},
    cast::Cast,
    ground::{CONTROL, DEVICE, EVIL, Ground, INBOUND, POD, PORT},
    outside::Outside,
    packets::Sorted,
    upstream::{HOSTS, Upstream},
    vector::{Accomplice, Place, Vector},
};
use crate::{
    capture::Capture,
    cgroup::Cgroup,
    daemon::Daemon,
    programs::{client_sources, copy},
    sandbox::Sandbox,
    scenario::directory,
};

/// What a sandbox may do: its secret goes where it belongs.
const WORK: &str = "GET / HTTP/1.1\r\nHost: mirror.example\r\nAuthorization: Bearer openshell:resolve:env:KEY\r\n\r\n";

/// Fields are dropped in order.
#[derive(Debug)]
pub struct Stage {
    captures: Option<Captures>,
    /// Detaches the sandboxes before their cgroups go.
    pub(super) daemon: Daemon,
    pub(super) cast: Cast,
    pub(super) outside: Outside,
    pub(super) upstream: Upstream,
    _ground: Ground,
    facts: Facts,
    /// The hostile sandbox's, and that of what is tried without one.
    gateways: (String, String),
    pub(super) programs: PathBuf,
    _elsewhere: Cgroup,
    _directory: TempDir,
}

/// What vectors have to know of the place.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Port of the daemon's listeners in the sandbox's namespace.
    pub(super) listener: u64,
    pub(super) daemon: u32,
    pub(super) run: PathBuf,
    pub(super) data: PathBuf,
    /// Below it are the pins of maps and of sandboxes' links.
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
    /// The program's own.
    pub(super) address: String,
    /// The host's on the same link.
    pub(super) host: String,
    pub(super) gateway: String,
    /// A Unix socket at which an accomplice waits.
    pub(super) accomplice: PathBuf,
    /// Where files tell each other's turn.
    pub(super) meeting: PathBuf,
}

/// Where an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        let configuration = upstream.configuration(&ground);
        let configuration =
            configuration.top_level(&format!("events: {{ file: {} }}", events.display()));
        let configuration = configuration.write(place.path())?;
        let daemon = start_daemon(&ground, &configuration, place.path())?;
        see_that_all_is_open(&daemon, &ground, &programs)?;
        let captures = Captures {
            sandbox: Capture::start_with_kernel(&ground.sandbox)?,
            host: Capture::start_with_kernel(&ground.host)?,
        };
        let cast = Cast::new(&daemon, &ground, &programs)?;
        let elsewhere = Cgroup::new()?;
        let meeting = place.path().join("meeting");
        fs::create_dir(&meeting)?;
        fs::set_permissions(&meeting, fs::Permissions::from_mode(0o777))?;
        let facts = Facts {
            listener: listener(&daemon)?,
            daemon: daemon.pid()?,
            run: place.path().join("run"),
            data: place.path().join("data"),
            pins: pins(&daemon)?,
            secret: place.path().join("KEY.secret"),
            configuration,
            events,
            elsewhere: elsewhere.path().to_owned(),
            own_cgroup: cast.cgroup(Place::Sandbox)?.path().to_owned(),
            host_netns: ground.host.path(),
            address: String::new(),
            host: String::new(),
            gateway: String::new(),
            accomplice: meeting.join("accomplice.sock"),
            meeting: meeting.clone(),
        };
        Ok(Self {
            captures: Some(captures),
            cast,
            daemon,
            outside,
            upstream,
            gateways: (
                Ground::link_local(&ground.host, POD)?,
                Ground::link_local(&ground.host, CONTROL)?,
            ),
            _ground: ground,
            facts,
            programs,
            _elsewhere: elsewhere,
            _directory: place,
        })
    }

    /// What is known where a vector is tried, or without a sandbox.
    pub(super) fn facts(&self, place: Place, side: Side) -> Facts {
        let net = match (place, side) {
            (Place::Late | Place::Beside, _) => 6,
            (_, Side::Control) => 8,
            (Place::Sandbox | Place::Root | Place::Hosted, Side::Sandbox) => 7,
            (Place::Exempt | Place::Excepted, Side::Sandbox) => 5,
            (Place::Armed, Side::Sandbox) => 4,
            (Place::Bounded, Side::Sandbox) => 3,
        };
        let (inside, beside) = &self.gateways;
        Facts {
            address: format!("10.231.{net}.2"),
            host: format!("10.231.{net}.1"),
            gateway: match side {
                Side::Control => beside.clone(),
                Side::Sandbox => inside.clone(),
            },
            ..self.facts.clone()
        }
    }

    pub(super) fn events(&self) -> &Path {
        &self.facts.events
    }

    pub(super) fn meeting(&self) -> &Path {
        &self.facts.meeting
    }

    pub(super) fn listener(&self) -> u64 {
        self.facts.listener
    }

    /// Another daemon serves.
    pub(super) fn note_daemon(&mut self) -> Result<()> {
        self.facts.daemon = self.daemon.pid()?;
        Ok(())
    }

    /// What a sandbox is said to have that the kernel's programs do not close.
    pub(super) fn doors(&self, place: Place) -> Result<Vec<String>> {
        let own = listed(&self.daemon, place)?;
        let doors = own.get("doors").and_then(Value::as_array);
        let doors = doors.context("no doors in the list of sandboxes")?.iter();
        Ok(doors
            .filter_map(|door| door.as_str().map(str::to_owned))
            .collect())
    }

    /// Has somebody else do a vector's other half; [`Self::helped`] waits for its end.
    pub(super) fn help(&mut self, vector: &Vector, side: Side) -> Result<Option<u64>> {
        let path = &self.facts.accomplice;
        let (order, with) = match vector.accomplice {
            None => return Ok(None),
            Some(Accomplice::Connects) => (
                "take-and-connect",
                json!({"path": path, "address": EVIL, "port": PORT}),
            ),
            Some(Accomplice::HandsIn) => ("hand-in", json!({"path": path})),
            Some(Accomplice::DialsIn) => {
                let address = self.facts(vector.place, side).address;
                ("dial", json!({"address": address, "port": INBOUND}))
            }
            Some(Accomplice::Works) if side == Side::Control => return Ok(None),
            Some(Accomplice::Works) => {
                let neighbour = self.cast.attacker(Place::Sandbox, side)?;
                return neighbour
                    .order("exchange", &json!({"to": EVIL, "request": WORK}))
                    .map(Some);
            }
        };
        self.cast.accomplice.order(order, &with).map(Some)
    }

    /// What went wrong where it has to go well.
    pub(super) fn helped(&mut self, vector: &Vector, order: Option<u64>) -> Result<Option<String>> {
        let Some(order) = order else {
            return Ok(None);
        };
        if vector.accomplice != Some(Accomplice::Works) {
            return self.cast.accomplice.outcome(order).map(|_| None);
        }
        let said = self
            .cast
            .attacker(Place::Sandbox, Side::Sandbox)?
            .outcome(order)?
            .said;
        Ok((said != "status 200").then(|| format!("another sandbox is harmed: {said}")))
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
fn see_that_all_is_open(daemon: &Daemon, ground: &Ground, programs: &Path) -> Result<()> {
    let beside = Sandbox::beside(daemon, "beside")?;
    let mut attacker = Attacker::start(User::Nobody, &beside, &ground.sandbox, programs)?;
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

/// A sandbox in the list.
pub(super) fn listed(daemon: &Daemon, place: Place) -> Result<Value> {
    let sandboxes = daemon.json(&["sandboxes"])?;
    let mut all = sandboxes.as_array().into_iter().flatten();
    let own = all.find(|one| one.get("name").and_then(Value::as_str) == Some(place.sandbox()));
    own.cloned()
        .with_context(|| format!("{} is not listed", place.sandbox()))
}

fn listener(daemon: &Daemon) -> Result<u64> {
    let own = listed(daemon, Place::Sandbox)?;
    let port = own.pointer("/netns/0/port").and_then(Value::as_u64);
    port.with_context(|| format!("no listener on {DEVICE}'s side: {own}"))
}

/// Below it are the maps' pins, and the links' of each sandbox.
fn pins(daemon: &Daemon) -> Result<PathBuf> {
    let mut versions = fs::read_dir(daemon.bpf_dir())?;
    Ok(versions.next().context("nothing is pinned")??.path())
}

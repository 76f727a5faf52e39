//! What happens between a program's preparation and its attempt.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    events,
    stage::{Stage, listed},
    vector::{Meanwhile, Place},
};
use crate::{
    interrupt,
    process::{PATIENCE, run},
};

/// The daemon looks after its programs every half second.
const WATCHED: Duration = Duration::from_millis(1200);
/// A second after an event it is in the file.
const WRITTEN: Duration = Duration::from_millis(1300);

impl Stage {
    /// Forgets the last meeting.
    pub(super) fn clear_meeting(&self) -> Result<()> {
        for file in ["ready", "go"] {
            let path = self.meeting().join(file);
            if path.exists() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Waits for a program that prepares itself, and tells its process.
    pub(super) fn wait_for_prepared(&self) -> Result<u32> {
        let deadline = Instant::now() + PATIENCE;
        let ready = self.meeting().join("ready");
        while !ready.exists() {
            interrupt::check()?;
            ensure!(Instant::now() < deadline, "the program does not get ready");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(fs::read_to_string(ready)?.parse()?)
    }

    pub(super) fn go(&self) -> Result<()> {
        Ok(fs::write(self.meeting().join("go"), "")?)
    }

    /// Lets it happen, to a process that is prepared. Tells what is not as it should be.
    pub(super) fn let_happen(&mut self, what: Meanwhile, pid: u32) -> Result<Option<String>> {
        let late = self.cast.sandbox(Place::Late)?;
        match what {
            Meanwhile::Attached => late.attach_again(&self.daemon)?,
            Meanwhile::Kept => late.attach_with(&self.daemon, &["--keep-existing"])?,
            Meanwhile::MovedIn | Meanwhile::MovedInWithSockets => {
                late.attach_again(&self.daemon)?;
                fs::write(late.cgroup().procs(), pid.to_string())?;
                if what == Meanwhile::MovedInWithSockets {
                    let found = events::of_attempt(
                        &self.daemon,
                        &[pid],
                        Place::Late.sandbox(),
                        0,
                        &["moved_socket"],
                    )?;
                    return Ok(found
                        .is_empty()
                        .then(|| "what the process brings is not found".into()));
                }
            }
            Meanwhile::MovedBelow => {
                let below = self.cast.cgroup(Place::Sandbox)?.path().join("below/it");
                fs::create_dir_all(&below)?;
                fs::write(below.join("cgroup.procs"), pid.to_string())?;
            }
            Meanwhile::LinksLost => return self.lose_links(),
            Meanwhile::DaemonKilled => {
                // What has happened so far is to be in the file of events.
                thread::sleep(WRITTEN);
                self.daemon.kill()?;
            }
            Meanwhile::TakenOver => {
                thread::sleep(WRITTEN);
                self.daemon.take_over(&[])?;
                self.note_daemon()?;
            }
        }
        Ok(None)
    }

    /// Makes the place what it was.
    pub(super) fn restore(&mut self, what: Meanwhile) -> Result<()> {
        match what {
            Meanwhile::Attached
            | Meanwhile::Kept
            | Meanwhile::MovedIn
            | Meanwhile::MovedInWithSockets => self.cast.sandbox(Place::Late)?.detach(&self.daemon),
            Meanwhile::DaemonKilled => {
                self.daemon.restart()?;
                self.note_daemon()
            }
            Meanwhile::MovedBelow | Meanwhile::LinksLost | Meanwhile::TakenOver => Ok(()),
        }
    }

    fn lose_links(&self) -> Result<Option<String>> {
        let number = listed(&self.daemon, Place::Sandbox)?
            .get("id")
            .and_then(Value::as_u64)
            .context("a sandbox without a number")?;
        let place = Place::Sandbox;
        let links = self.facts(place, super::stage::Side::Sandbox).pins;
        let links = links.join("sandboxes").join(number.to_string());
        let program = self.programs.join("detach.py");
        let detached = run(
            "/usr/bin/python3",
            ["-B".as_ref(), program.as_os_str(), links.as_os_str()],
        )?;
        thread::sleep(WATCHED);
        let events = self
            .daemon
            .json(&["events", "--sandbox", place.sandbox()])?;
        let events = events.as_array().context("no list of events")?;
        let lost = events
            .iter()
            .filter(|event| event.get("reason").and_then(Value::as_str) == Some("link_lost"));
        let (lost, detached) = (lost.count(), detached.trim().parse::<usize>()?);
        Ok((lost < detached || detached == 0)
            .then(|| format!("{detached} programs are taken off, and {lost} are missed")))
    }
}

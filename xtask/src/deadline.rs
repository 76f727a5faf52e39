//! Ends a command that takes too long, with the processes that it has started.

use std::{
    fs,
    process::Command,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

/// What a command has started may clean up for so long before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A limit on a running command; it is lifted when this is asked or dropped.
pub(crate) struct Deadline {
    lift: Sender<()>,
    watch: JoinHandle<bool>,
}

impl Deadline {
    pub(crate) fn set(pid: u32, limit: Duration) -> Self {
        Self::with_grace(pid, limit, GRACE)
    }

    fn with_grace(pid: u32, limit: Duration, grace: Duration) -> Self {
        let (lift, lifted) = channel::<()>();
        let watch = thread::spawn(move || {
            let lifted_within = |time| lifted.recv_timeout(time) != Err(RecvTimeoutError::Timeout);
            if lifted_within(limit) {
                return false;
            }
            // Tests themselves: they end what they have started in order, and cargo, which is one process above them,
            // would leave them to themselves.
            for child in children(pid) {
                signal(child, "TERM");
            }
            if !lifted_within(grace) {
                kill(pid);
            }
            true
        });
        Self { lift, watch }
    }

    /// Lifts the limit, and tells whether it came first.
    pub(crate) fn has_passed(self) -> bool {
        drop(self.lift);
        self.watch.join().unwrap_or(false)
    }
}

/// Kills a process, and then its children, which a killed cargo leaves running. The other way round it would go on.
fn kill(pid: u32) {
    let children = children(pid);
    signal(pid, "KILL");
    children.into_iter().for_each(kill);
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    if !sent.is_ok_and(|status| status.success()) {
        println!("process {pid} could not be sent SIG{name}");
    }
}

/// Children of every thread of a process (proc(5)).
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|child| child.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_that_takes_too_long_has_started_may_clean_up() {
        let place = tempfile::tempdir().unwrap();
        // A child that listens, below one that would not tell it.
        let child = "trap 'touch cleaned; exit 1' TERM; touch ready; while :; do sleep 0.01; done";
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c \"$0\"; exit $?", child])
            .current_dir(place.path())
            .spawn()
            .unwrap();
        while !place.path().join("ready").exists() {
            thread::yield_now();
        }
        let limits = [Duration::from_millis(1), Duration::from_secs(600)];
        let deadline = Deadline::with_grace(shell.id(), limits[0], limits[1]);
        assert_eq!(shell.wait().unwrap().code(), Some(1));
        assert!(deadline.has_passed());
        assert!(place.path().join("cleaned").exists());
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed_with_its_children() {
        let mut shell = Command::new("sh")
            .args(["-c", "trap '' TERM; sleep 600; true"])
            .spawn()
            .unwrap();
        while children(shell.id()).is_empty() {
            thread::yield_now();
        }
        let sleeper = children(shell.id())[0];
        let limit = Duration::from_millis(1);
        let deadline = Deadline::with_grace(shell.id(), limit, limit);
        assert!(!shell.wait().unwrap().success());
        assert!(deadline.has_passed());
        // It ends a moment after its signal; whoever adopts it may not have looked after it yet.
        let ended = |stat: String| stat.contains(") Z ");
        while !fs::read_to_string(format!("/proc/{sleeper}/stat")).map_or(true, ended) {
            thread::yield_now();
        }
    }

    #[test]
    fn a_command_that_ends_in_time_is_left_alone() {
        let mut quick = Command::new("true").spawn().unwrap();
        let deadline = Deadline::set(quick.id(), Duration::from_secs(600));
        assert!(quick.wait().unwrap().success());
        assert!(!deadline.has_passed());
    }
}

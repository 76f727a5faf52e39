//! Ends a command that takes too long, with the processes that it has started.

use std::{
    fs,
    process::Command,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

/// A limit on a running command; it is lifted when this is asked or dropped.
pub(crate) struct Deadline {
    lift: Sender<()>,
    watch: JoinHandle<bool>,
}

impl Deadline {
    pub(crate) fn set(pid: u32, limit: Duration) -> Self {
        let (lift, lifted) = channel::<()>();
        let watch = thread::spawn(move || {
            let passed = lifted.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if passed {
                kill(pid);
            }
            passed
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
    let killed = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    if !killed.is_ok_and(|status| status.success()) {
        println!("process {pid} could not be killed");
    }
    children.into_iter().for_each(kill);
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
    fn a_command_that_takes_too_long_is_killed_with_its_children() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 600; true"])
            .spawn()
            .unwrap();
        while children(shell.id()).is_empty() {
            thread::yield_now();
        }
        let sleeper = children(shell.id())[0];
        let deadline = Deadline::set(shell.id(), Duration::from_millis(1));
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

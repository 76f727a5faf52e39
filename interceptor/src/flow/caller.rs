//! Which program opened a connection, as /proc shows it.
//!
//! The kernel names the process at connect(); its executable is read when the connection is accepted, some microseconds
//! later. A process that runs another program in between is taken for that one, as it is in OpenShell. One that is gone by
//! then, or whose number belongs to a younger process, is taken for nobody.

use std::{
    fs,
    os::unix::ffi::OsStringExt as _,
    time::{Duration, SystemTime},
};

use super::Origin;
use crate::policy::Caller;

/// Ancestors that are looked at.
const GENERATIONS: usize = 64;

/// Clock ticks per second in /proc, the same on every architecture (USER_HZ).
const TICKS: u64 = 100;

/// A process's start is known to a tick, the boot's time to a second.
const SLACK: Duration = Duration::from_secs(2);

impl Caller {
    /// Of the process that opened a connection.
    pub(super) fn of(origin: &Origin) -> Self {
        let mut executables = Vec::new();
        let Some(booted) = booted() else {
            return Self { executables };
        };
        let mut pid = origin.process.tgid;
        let mut youngest = origin.connected_at + SLACK;
        for _ in 0..GENERATIONS {
            let Some(process) = Process::read(pid, booted) else {
                break;
            };
            // A parent is older than its child: otherwise the number is that of another process by now.
            if process.started > youngest {
                break;
            }
            youngest = process.started + SLACK;
            if let Ok(path) = fs::read_link(format!("/proc/{pid}/exe")) {
                executables.push(path.into_os_string().into_vec().into());
            } else if executables.is_empty() {
                break;
            }
            if process.parent == 0 {
                break;
            }
            pid = process.parent;
        }
        Self { executables }
    }
}

struct Process {
    /// 0: none.
    parent: u32,
    started: SystemTime,
}

impl Process {
    fn read(pid: u32, booted: SystemTime) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&stat, booted)
    }

    /// `stat` is that of proc_pid_stat(5): the command may hold anything, parentheses too.
    fn parse(stat: &str, booted: SystemTime) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        // State, then the parent, field 4; start time is field 22.
        let parent = fields.nth(1)?.parse().ok()?;
        let ticks: u64 = fields.nth(17)?.parse().ok()?;
        let started = Duration::from_millis(ticks.checked_mul(1000)? / TICKS);
        Some(Self {
            parent,
            started: booted + started,
        })
    }
}

/// When the system was booted, by the clock of now. Expensive: the kernel writes out every processor and interrupt.
fn booted() -> Option<SystemTime> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let mut lines = stat.lines();
    let seconds = lines.find_map(|line| line.strip_prefix("btime "))?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::{NetnsCookie, OriginalDst, SandboxId},
        flow,
    };

    fn caller(tgid: u32, connected_at: SystemTime) -> Caller {
        Caller::of(&Origin {
            sandbox: SandboxId(1),
            netns: NetnsCookie(1),
            process: flow::Process {
                tgid,
                tid: tgid,
                uid: 0,
                comm: "test".into(),
            },
            original: OriginalDst(([127, 0, 0, 1], 443).into()),
            connected_at,
        })
    }

    #[test]
    fn own_executable_comes_before_those_of_the_ancestors() {
        let own = std::env::current_exe().unwrap().into_os_string().into_vec();
        let found = caller(std::process::id(), SystemTime::now()).executables;
        assert_eq!(*found[0], *own);
        assert!(found.len() > 1, "a test has a parent");
    }

    #[test]
    fn a_process_that_is_gone_or_younger_than_the_connection_is_nobody() {
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let pid = gone.id();
        gone.wait().unwrap();
        assert_eq!(caller(pid, SystemTime::now()), Caller::default());
        let hours_ago = SystemTime::now() - Duration::from_secs(7200);
        let own = std::process::id();
        assert_eq!(caller(own, hours_ago), Caller::default());
    }

    #[test]
    fn commands_with_parentheses_hide_nothing() {
        let fields = "S 41 7 7 0 -1 4194560 1 0 0 0 2 1 0 0 20 0 1 0 250 5 6";
        let stat = format!("42 (a) R 1 (b)) {fields}");
        let process = Process::parse(&stat, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(process.parent, 41);
        let started = SystemTime::UNIX_EPOCH + Duration::from_millis(2500);
        assert_eq!(process.started, started);
        assert!(Process::parse("42 (a) S x", SystemTime::UNIX_EPOCH).is_none());
    }
}

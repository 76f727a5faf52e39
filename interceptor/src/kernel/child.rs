//! A forked child that never runs another program.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

/// A child process, killed and reaped when this goes.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    status: Option<WaitStatus>,
}

impl Child {
    /// Forks; the child runs `body` and leaves with its result as exit status.
    ///
    /// # Safety
    /// `body` calls only what is async-signal-safe (signal-safety(7)) and does not panic: the other threads of this
    /// process do not exist in the child, and what they had locked stays locked.
    pub(super) unsafe fn fork(body: impl FnOnce() -> u8) -> io::Result<Self> {
        // SAFETY: the child goes no further than `body`, by the caller's promise, and `_exit`.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let status = body();
                // SAFETY: always sound; runs no destructors and no exit handlers of the parent's.
                unsafe { libc::_exit(status.into()) }
            }
            pid => Pid::from_raw(pid)
                .map(|pid| Self { pid, status: None })
                .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits for its end, at most until `deadline`; `None` when it lives on.
    pub(super) fn wait(&mut self, deadline: Instant) -> io::Result<Option<WaitStatus>> {
        while self.status.is_none() {
            self.status = waitpid(Some(self.pid), WaitOptions::NOHANG)?.map(|(_, status)| status);
            if self.status.is_none() && Instant::now() >= deadline {
                break;
            }
            if self.status.is_none() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(self.status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        let ended = kill_process(self.pid, Signal::KILL)
            .and_then(|()| waitpid(Some(self.pid), WaitOptions::empty()));
        if let Err(error) = ended {
            tracing::warn!(pid = self.pid(), %error, "cannot end a child process");
        }
    }
}

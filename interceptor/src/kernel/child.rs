//! A forked child that never runs another program.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::{Errno, read, retry_on_intr, write},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, WaitOptions, kill_process, waitpid},
};

/// A child process, killed and reaped when this goes. It ends by itself when this process ends.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    reports: OwnedFd,
    _leash: OwnedFd,
}

/// The child's end.
#[derive(Debug)]
pub(super) struct Tether {
    reports: OwnedFd,
    leash: OwnedFd,
}

impl Child {
    /// Forks; the child runs `body` and exits.
    ///
    /// # Safety
    /// `body` calls only what is async-signal-safe (signal-safety(7)), does not allocate and does not panic: the
    /// other threads of this process do not exist in the child, and what they had locked stays locked.
    pub(super) unsafe fn fork(body: impl FnOnce(&Tether) -> io::Result<()>) -> io::Result<Self> {
        let (reports, child_reports) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let (child_leash, leash) = pipe_with(PipeFlags::CLOEXEC)?;
        let tether = Tether {
            reports: child_reports,
            leash: child_leash,
        };
        // SAFETY: the child goes no further than the arm below, by the caller's promise.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // SAFETY: the child's copy, without which it would hold its own leash; nothing here uses it again.
                drop(unsafe { OwnedFd::from_raw_fd(leash.as_raw_fd()) });
                let status = i32::from(body(&tether).is_err());
                // SAFETY: always sound; runs no destructors and no exit handlers of the parent's.
                unsafe { libc::_exit(status) }
            }
            pid => Pid::from_raw(pid)
                .map(|pid| Self {
                    pid,
                    reports,
                    _leash: leash,
                })
                .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Reads the next report, of `N` bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` when the child ended, `TimedOut` when it is silent.
    pub(super) fn report<const N: usize>(&self, deadline: Instant) -> io::Result<[u8; N]> {
        let mut report = [0; N];
        loop {
            // Writes of this size to a pipe are whole (PIPE_BUF in pipe(7)), so reads are.
            match retry_on_intr(|| read(&self.reports, &mut report)) {
                Ok(length) if length == N => return Ok(report),
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(Errno::AGAIN) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let ended = kill_process(self.pid, Signal::KILL)
            .and_then(|()| waitpid(Some(self.pid), WaitOptions::empty()));
        if let Err(error) = ended {
            tracing::warn!(pid = self.pid(), %error, "cannot end a child process");
        }
    }
}

impl Tether {
    /// Sends a report to the parent. Async-signal-safe.
    pub(super) fn report(&self, bytes: &[u8]) -> io::Result<()> {
        retry_on_intr(|| write(&self.reports, bytes))?;
        Ok(())
    }

    /// Waits until the parent lets go, or is gone. Async-signal-safe.
    pub(super) fn wait(&self) -> io::Result<()> {
        // Nothing is ever written: the wait ends with the parent's descriptor.
        retry_on_intr(|| read(&self.leash, &mut [0_u8; 1]))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_child_reports_and_waits_until_it_is_let_go() {
        let body = |tether: &Tether| {
            tether.report(b"here")?;
            tether.wait()
        };
        // SAFETY: system calls only.
        let child = unsafe { Child::fork(body) }.unwrap();
        assert_eq!(&child.report::<4>(deadline()).unwrap(), b"here");
        let pid = child.pid();
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
        drop(child);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_child_that_ends_without_a_report_is_noticed() {
        // SAFETY: does nothing.
        let child = unsafe { Child::fork(|_| Err(io::ErrorKind::Other.into())) }.unwrap();
        let error = child.report::<4>(deadline()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

//! Waiting for the command, and handing signals on to it.

use std::{
    io::{self, IsTerminal},
    process::ExitStatus,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Child,
    runtime::Runtime,
    signal::unix::{self, SignalKind, signal},
};

/// The signals that ask a process to end. While this lives they do not end this one.
pub(super) struct Signals {
    hangup: unix::Signal,
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    pub(super) fn catch(runtime: &Runtime) -> io::Result<Self> {
        let _inside = runtime.enter();
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::HUP,
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }
}

/// Waits for the command's end. Signals that came since [`Signals::catch`] are handed on.
pub(super) async fn supervise(mut child: Child, mut signals: Signals) -> io::Result<ExitStatus> {
    // Ctrl-C on a terminal goes to the command as well as to this process; twice would be once too often.
    let typed = io::stdin().is_terminal();
    loop {
        let signal = tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => signal,
        };
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        if signal == Signal::INT && typed {
            continue;
        }
        if kill_process(pid, signal).is_err() {
            // It has ended in this moment; the next round tells.
            continue;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use tokio::process::Command;

    use super::*;

    #[test]
    fn a_request_to_end_is_handed_on() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let signals = Signals::catch(&runtime).unwrap();
        let status = runtime.block_on(async {
            let child = Command::new("sleep").arg("1000").spawn().unwrap();
            kill_process(rustix::process::getpid(), Signal::HUP).unwrap();
            supervise(child, signals).await.unwrap()
        });
        assert_eq!(status.signal(), Some(Signal::HUP.as_raw()));
    }
}

//! What really leaves a namespace, as tcpdump(8) sees it on every device.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::{netns::Netns, process::Running};

/// A capture under way in a namespace.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Running,
}

/// One packet on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub device: String,
    /// As tcpdump prints it.
    pub text: String,
}

impl Capture {
    /// Captures in a namespace on all devices, and returns when the capture runs.
    ///
    /// # Errors
    /// tcpdump is not installed.
    pub fn start(netns: &Netns) -> Result<Self> {
        // Neighbour discovery and listener reports, which have a hop-by-hop header (RFC 3810 §5), belong to the kernel
        // here, not to a socket of the sandbox.
        Self::of(netns, "not arp and not icmp6 and not ip6[6] = 0")
    }

    /// As [`Self::start`], with what the kernel sends of itself, and with times in seconds since 1970.
    ///
    /// # Errors
    /// tcpdump is not installed.
    pub fn start_with_kernel(netns: &Netns) -> Result<Self> {
        Self::of(netns, "")
    }

    fn of(netns: &Netns, which: &str) -> Result<Self> {
        let mut command = netns.command("tcpdump");
        command.args(["-i", "any", "-nn", "-tt", "-l", "-U", "-Z", "root"]);
        command.args(["-B", "32768", which]);
        let tcpdump = Running::spawn(command)?;
        tcpdump.wait_for_error_line("a running capture", |line| {
            line.contains("listening on").then_some(())
        })?;
        Ok(Self { tcpdump })
    }

    /// Ends the capture.
    ///
    /// # Errors
    /// tcpdump does not end.
    pub fn finish(self) -> Result<Vec<Packet>> {
        // libpcap hands packets over in blocks that are at most a second old.
        thread::sleep(Duration::from_millis(1100));
        self.tcpdump.signal(Signal::INT)?;
        let output = self.tcpdump.finish()?.success()?;
        // What was not seen proves nothing.
        ensure!(
            output.stderr.contains("\n0 packets dropped by kernel"),
            "the capture has lost packets:\n{}",
            output.stderr
        );
        Ok(output.stdout.lines().filter_map(parse).collect())
    }
}

/// `1700000000.000000 lo    In  IP 127.0.0.1.1 > 127.0.0.1.2: …`; what tcpdump cannot read is on lines below it, in hexadecimal.
fn parse(line: &str) -> Option<Packet> {
    if !line.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let mut fields = line.split_whitespace();
    fields.next()?;
    Some(Packet {
        device: fields.next()?.to_owned(),
        text: line.to_owned(),
    })
}

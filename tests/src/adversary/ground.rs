//! Where it happens: a sandbox's namespace, one beside it, the host that both are joined to, and what is outside.
//!
//! ```text
//! sandbox ── pod0 ┐
//! control ── ctl0 ┤
//! late ──── late0 ┼ host ─ up0 ── in0 ─ outside
//! excepted ─ exc0 ┤   └ the daemon
//! armed ─── arm0 ─┤
//! bounded ─ bnd0 ─┘
//! ```

use anyhow::{Context as _, Result};

use crate::netns::Netns;

/// Everything is in namespaces of our own, so that every packet has an origin which is known.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) sandbox: Netns,
    pub(super) control: Netns,
    /// Of a sandbox that is attached when its sockets are there already.
    pub(super) late: Netns,
    /// Of one with exempt processes.
    pub(super) excepted: Netns,
    /// Of one whose root has capabilities, alone.
    pub(super) armed: Netns,
    /// Of one with narrow limits.
    pub(super) bounded: Netns,
    /// The daemon's.
    pub(super) host: Netns,
    pub(super) outside: Netns,
}

/// The sandbox's own device, and the host's ends of all pairs.
pub(super) const DEVICE: &str = "out0";
pub(super) const POD: &str = "pod0";
pub(super) const CONTROL: &str = "ctl0";
pub(super) const LATE: &str = "late0";
pub(super) const EXCEPTED: &str = "exc0";
pub(super) const ARMED: &str = "arm0";
pub(super) const BOUNDED: &str = "bnd0";
pub(super) const UPLINK: &str = "up0";

/// The host towards the outside, from where the daemon dials.
pub(super) const HOST: &str = "10.231.9.2";
pub(super) const HOST_V6: &str = "fd00:231:9::2";
/// A port on which everything is answered outside, and one on which a sandbox lets others dial in.
pub(super) const PORT: u16 = 7000;
pub(super) const INBOUND: u16 = 7070;
/// The daemon's, on every address of the host.
pub(super) const METRICS: u16 = 9464;
/// Servers of no good reputation.
pub(super) const EVIL: &str = "10.231.9.1";
pub(super) const EVIL_V6: &str = "fd00:231:9::1";
/// The servers that policy knows.
pub(super) const GOOD: &str = "10.231.9.10";
/// One that the hostile sandbox may reach past the daemon.
pub(super) const LISTED: &str = "10.231.9.12";
/// One whose address is public.
pub(super) const PUBLIC: &str = "192.31.196.1";
/// Addresses that are somebody's outside, for the attempts that go there.
const FURTHER: [&str; 6] = [
    "10.231.9.10/32",
    "10.231.9.12/32",
    "192.31.196.1/32",
    "169.254.169.254/32",
    "100.100.100.200/32",
    "168.63.129.16/32",
];
const FURTHER_V6: [&str; 1] = ["fd00:ec2::254/128"];

impl Ground {
    pub(super) fn new() -> Result<Self> {
        let ground = Self {
            sandbox: Netns::new()?,
            control: Netns::new()?,
            late: Netns::new()?,
            excepted: Netns::new()?,
            armed: Netns::new()?,
            bounded: Netns::new()?,
            host: Netns::new()?,
            outside: Netns::new()?,
        };
        for (inside, device, net) in [
            (&ground.sandbox, POD, 7),
            (&ground.control, CONTROL, 8),
            (&ground.late, LATE, 6),
            (&ground.excepted, EXCEPTED, 5),
            (&ground.armed, ARMED, 4),
            (&ground.bounded, BOUNDED, 3),
        ] {
            join(inside, DEVICE, &ground.host, device, net)?;
            lead_out(inside, net, 1)?;
        }
        join(&ground.host, UPLINK, &ground.outside, "in0", 9)?;
        lead_out(&ground.host, 9, 1)?;
        lead_out(&ground.outside, 9, 2)?;
        for address in FURTHER {
            ground.outside.ip(&["addr", "add", address, "dev", "lo"])?;
        }
        for address in FURTHER_V6 {
            ground
                .outside
                .ip(&["-6", "addr", "add", address, "dev", "lo"])?;
        }
        for setting in [
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            // Whatever a sandbox could do, so that what holds it back is never a setting of the host.
            "net.ipv4.conf.all.accept_source_route=1",
            "net.ipv4.conf.all.rp_filter=0",
        ] {
            ground.host.run("sysctl", &["-qw", setting])?;
        }
        for netns in [
            &ground.sandbox,
            &ground.control,
            &ground.late,
            &ground.excepted,
            &ground.armed,
        ] {
            for setting in [
                "net.ipv4.ping_group_range=0 2147483647",
                "net.ipv4.tcp_fastopen=3",
                "net.ipv4.ip_unprivileged_port_start=0",
            ] {
                netns.run("sysctl", &["-qw", setting])?;
            }
        }
        Ok(ground)
    }

    /// The sandbox's address of its own link.
    pub(super) fn link_local(netns: &Netns, device: &str) -> Result<String> {
        let shown = netns.run(
            "ip",
            &["-o", "-6", "addr", "show", "dev", device, "scope", "link"],
        )?;
        let mut words = shown.split_whitespace();
        words
            .find(|word| *word == "inet6")
            .and_then(|_| words.next()?.split('/').next().map(str::to_owned))
            .context("no link-local address")
    }
}

/// `10.231.NET.2` and `fd00:231:NET::2` here, `.1` there.
fn join(here: &Netns, device: &str, there: &Netns, peer: &str, net: u8) -> Result<()> {
    here.join(device, there, peer)?;
    for (netns, device, end) in [(here, device, 2), (there, peer, 1)] {
        let v4 = format!("10.231.{net}.{end}/24");
        let v6 = format!("fd00:231:{net}::{end}/64");
        netns.ip(&["addr", "add", &v4, "brd", "+", "dev", device])?;
        netns.ip(&["addr", "add", &v6, "dev", device, "nodad"])?;
        netns.ip(&["link", "set", device, "up"])?;
    }
    Ok(())
}

fn lead_out(netns: &Netns, net: u8, end: u8) -> Result<()> {
    let v4 = format!("10.231.{net}.{end}");
    let v6 = format!("fd00:231:{net}::{end}");
    netns.ip(&["route", "add", "default", "via", &v4])?;
    netns.ip(&["-6", "route", "add", "default", "via", &v6])
}

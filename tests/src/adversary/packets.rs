//! Packets that were captured, by what they are and whose.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::{
    ground::{ARMED, BOUNDED, CONTROL, EXCEPTED, HOST, HOST_V6, LATE, POD, UPLINK},
    vector::Place,
};
use crate::capture::Packet;

/// What a packet is to the kernel that sent or received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Arp,
    /// Neighbour and router discovery (RFC 4861).
    Discovery,
    /// Reports of groups that the kernel itself is in: its own for neighbour discovery (RFC 3810).
    Listener,
    /// IGMP, which only a joined group makes the kernel send.
    Group,
    /// A reset, or an ICMP error, by which a kernel answers what is for nobody.
    Refusal,
    Traffic,
}

impl Kind {
    fn of(text: &str) -> Self {
        if text.contains(" ARP, ") {
            Self::Arp
        } else if text.contains("ICMP6, neighbor") || text.contains("ICMP6, router") {
            Self::Discovery
        } else if text.contains("multicast listener") {
            Self::Listener
        } else if text.contains("igmp") {
            Self::Group
        } else if text.contains("Flags [R") || text.contains("unreachable") {
            Self::Refusal
        } else {
            Self::Traffic
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Arp => "ARP",
            Self::Discovery => "IPv6 neighbour and router discovery",
            Self::Listener => "MLD reports of the kernel's own groups",
            Self::Group => "IGMP",
            Self::Refusal => "RST and ICMP errors",
            Self::Traffic => "traffic",
        }
    }

    /// What a kernel sends of itself, whatever its sockets do.
    fn is_the_kernels(self) -> bool {
        matches!(self, Self::Arp | Self::Discovery | Self::Listener)
    }
}

/// From which sandbox a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Sandbox,
    Late,
    Excepted,
    Armed,
    Bounded,
}

impl Origin {
    /// Where packets of a place are seen. Those of the daemon's own namespace cannot be told from the daemon's.
    pub(super) fn of(place: Place) -> Option<Self> {
        match place {
            Place::Sandbox | Place::Root => Some(Self::Sandbox),
            Place::Late | Place::Beside => Some(Self::Late),
            Place::Exempt | Place::Excepted => Some(Self::Excepted),
            Place::Armed => Some(Self::Armed),
            Place::Bounded => Some(Self::Bounded),
            Place::Hosted => None,
        }
    }
}

/// One that should not be on its way.
#[derive(Debug)]
pub(super) struct Strayed {
    pub(super) origin: Origin,
    pub(super) at: f64,
    pub(super) text: String,
}

/// A capture of one namespace, sorted.
#[derive(Debug)]
pub(super) struct Sorted {
    packets: Vec<(f64, Kind, Packet)>,
}

impl Sorted {
    pub(super) fn new(packets: Vec<Packet>) -> Result<Self> {
        let sorted = packets.into_iter().map(|packet| {
            let at = packet
                .text
                .split(' ')
                .next()
                .context("a packet without time")?;
            Ok((at.parse()?, Kind::of(&packet.text), packet))
        });
        Ok(Self {
            packets: sorted.collect::<Result<_>>()?,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// In the sandbox's namespace: what is on any device but lo and not the kernel's own.
    pub(super) fn on_devices(&self) -> Vec<Strayed> {
        self.strays(|kind, packet| {
            (packet.device != "lo" && !kind.is_the_kernels()).then_some(Origin::Sandbox)
        })
    }

    /// In the host's namespace: what came from a sandbox, and what goes up and is neither the daemon's nor of where its own
    /// device shows it.
    pub(super) fn strayed(&self) -> Vec<Strayed> {
        let mut own = vec![format!(" {HOST}"), format!(" {HOST_V6}")];
        for net in [3, 4, 5, 6, 8] {
            own.push(format!(" 10.231.{net}."));
            own.push(format!(" fd00:231:{net}:"));
        }
        self.strays(|kind, packet| {
            if kind.is_the_kernels() {
                return None;
            }
            let comes = packet.text.contains(" In ");
            let up = packet.device == UPLINK && packet.text.contains(" Out ");
            match packet.device.as_str() {
                POD => Some(Origin::Sandbox),
                // A socket that is destroyed ends with a reset.
                LATE => (comes && kind != Kind::Refusal).then_some(Origin::Late),
                EXCEPTED => comes.then_some(Origin::Excepted),
                ARMED => comes.then_some(Origin::Armed),
                BOUNDED => comes.then_some(Origin::Bounded),
                _ => (up && !own.iter().any(|own| packet.text.contains(own.as_str())))
                    .then_some(Origin::Sandbox),
            }
        })
    }

    /// When something came from where there is no sandbox.
    pub(super) fn of_control(&self) -> Vec<f64> {
        let packets = self.packets.iter();
        packets
            .filter(|(_, kind, packet)| packet.device == CONTROL && !kind.is_the_kernels())
            .map(|(at, _, _)| *at)
            .collect()
    }

    /// How many of each kind some packets are.
    pub(super) fn kinds(&self, which: impl Fn(&Packet) -> bool) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        for (_, kind, packet) in &self.packets {
            if which(packet) {
                *kinds.entry(*kind).or_default() += 1;
            }
        }
        kinds
    }

    fn strays(&self, which: impl Fn(Kind, &Packet) -> Option<Origin>) -> Vec<Strayed> {
        let strays = self.packets.iter().filter_map(|(at, kind, packet)| {
            Some(Strayed {
                origin: which(*kind, packet)?,
                at: *at,
                text: packet.text.clone(),
            })
        });
        strays.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_sends_by_itself_is_told_from_what_sockets_send() {
        for (text, kind) in [
            ("1.5 out0 B   ARP, Request who-has 10.0.0.1", Kind::Arp),
            (
                "1.5 out0 M   IP6 fe80::1 > ff02::2: ICMP6, router solicitation",
                Kind::Discovery,
            ),
            (
                "1.5 out0 M   IP6 fe80::1 > ff02::16: HBH ICMP6, multicast listener report v2",
                Kind::Listener,
            ),
            (
                "1.5 out0 Out IP 10.0.0.2 > 224.0.0.22: igmp v3 report, 1 group record(s)",
                Kind::Group,
            ),
            (
                "1.5 out0 Out IP 10.0.0.2.1 > 10.0.0.1.2: Flags [R.], seq 0",
                Kind::Refusal,
            ),
            (
                "1.5 out0 Out IP 10.0.0.2.1 > 10.0.0.1.2: Flags [S], seq 0",
                Kind::Traffic,
            ),
        ] {
            assert_eq!(Kind::of(text), kind, "{text}");
        }
    }
}

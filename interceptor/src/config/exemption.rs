//! `udp:` and `exempt:` of a sandbox: what goes past the daemon.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use crate::yaml::{Findings, Node};

/// What the programs let go by a sandbox's own routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exemptions {
    /// Where datagrams may go.
    pub(crate) udp: Vec<SocketAddr>,
    /// Where TCP connections may go.
    pub(crate) tcp: Vec<SocketAddr>,
    pub(crate) processes: Vec<ExemptProcess>,
}

/// Processes of the sandbox's cgroup that are not its own, such as a supervisor: those that make their sockets as this
/// user and in this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExemptProcess {
    pub(crate) netns: NetnsPlace,
    /// In the initial user namespace.
    pub(crate) uid: u32,
}

/// Where a network namespace is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetnsPlace {
    /// The daemon's.
    Host,
    /// A file of it, such as /run/netns/NAME.
    Path(PathBuf),
}

/// Entries of one list.
const MAX_ENTRIES: usize = 64;
/// The one port whose traffic the daemon answers always.
const DNS: u16 = 53;

pub(super) fn read(
    udp: Option<&Node>,
    exempt: Option<&Node>,
    findings: &mut Findings,
) -> Exemptions {
    let mut exemptions = Exemptions {
        udp: udp.map_or_else(Vec::new, |list| read_destinations(list, findings)),
        ..Exemptions::default()
    };
    if let Some(mut fields) = exempt.and_then(|node| node.fields(findings)) {
        let processes = fields.take("processes");
        let destinations = fields.take("destinations");
        fields.finish(findings);
        exemptions.tcp =
            destinations.map_or_else(Vec::new, |list| read_destinations(list, findings));
        exemptions.processes =
            processes.map_or_else(Vec::new, |list| read_processes(list, findings));
    }
    exemptions
}

fn read_destinations(list: &Node, findings: &mut Findings) -> Vec<SocketAddr> {
    let mut read = Vec::new();
    for node in bounded(list, findings) {
        if let Some(destination) = read_destination(node, findings) {
            push_new(&mut read, destination, node, findings);
        }
    }
    read
}

fn read_destination(node: &Node, findings: &mut Findings) -> Option<SocketAddr> {
    let mut fields = node.fields(findings)?;
    let address = fields.require("address", findings);
    let port = fields.require("port", findings);
    fields.finish(findings);
    let ip = address.and_then(|node| read_address(node, findings));
    let port = port.and_then(|node| {
        let port = node.port(findings)?;
        if port == DNS {
            findings.fault(
                &node.at,
                "port 53 cannot be exempt: DNS is always answered by policy",
            );
            return None;
        }
        Some(port)
    });
    Some(SocketAddr::new(ip?, port?))
}

fn read_address(node: &Node, findings: &mut Findings) -> Option<IpAddr> {
    let ip = node.text(findings)?.parse::<IpAddr>();
    let refusal = match ip.map(|ip| ip.to_canonical()) {
        Err(_not_one) => {
            "expected an IP address, such as 10.0.0.1: names and networks cannot be exempt"
        }
        Ok(ip) if ip.is_unspecified() => "the unspecified address stands for any host: name one",
        Ok(ip) if ip.is_multicast() => "a multicast group cannot be exempt",
        Ok(IpAddr::V4(ip)) if ip.is_broadcast() => "the broadcast address cannot be exempt",
        Ok(IpAddr::V6(ip)) if ip.is_unicast_link_local() => {
            "a link-local address means another host on each device, and the kernel's programs do not see which"
        }
        Ok(ip) => return Some(ip),
    };
    findings.fault(&node.at, refusal);
    None
}

fn read_processes(list: &Node, findings: &mut Findings) -> Vec<ExemptProcess> {
    let mut read = Vec::new();
    for node in bounded(list, findings) {
        if let Some(process) = read_process(node, findings) {
            push_new(&mut read, process, node, findings);
        }
    }
    read
}

/// Both keys are required: a user alone, or a namespace alone, can be all of a sandbox.
fn read_process(node: &Node, findings: &mut Findings) -> Option<ExemptProcess> {
    let mut fields = node.fields(findings)?;
    let netns = fields.require("netns", findings);
    let uid = fields.require("uid", findings);
    fields.finish(findings);
    let netns = netns.and_then(|node| read_netns(node, findings));
    // The last number stands for "no user" (setuid(2)).
    let uid = uid.and_then(|node| node.integer(0..=u64::from(u32::MAX - 1), findings));
    Some(ExemptProcess {
        netns: netns?,
        uid: u32::try_from(uid?).ok()?,
    })
}

fn read_netns(node: &Node, findings: &mut Findings) -> Option<NetnsPlace> {
    let text = node.text(findings)?;
    if text == "host" {
        return Some(NetnsPlace::Host);
    }
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        findings.fault(
            &node.at,
            "expected `host` or an absolute path to a network namespace, such as /run/netns/proxy",
        );
        return None;
    }
    Some(NetnsPlace::Path(path))
}

fn bounded<'a>(list: &'a Node, findings: &mut Findings) -> &'a [Node] {
    let nodes = list.list(findings).unwrap_or_default();
    if nodes.len() > MAX_ENTRIES {
        findings.fault(&list.at, format!("more than {MAX_ENTRIES} entries"));
        return &[];
    }
    nodes
}

fn push_new<T: PartialEq>(read: &mut Vec<T>, entry: T, node: &Node, findings: &mut Findings) {
    if read.contains(&entry) {
        findings.fault(&node.at, "the same stands here already");
    } else {
        read.push(entry);
    }
}

//! An entry of a rule's `endpoints`.

use std::{net::IpAddr, sync::Arc};

use super::{Declared, requests::Written, unenforced};
use crate::{
    policy::{Binaries, Endpoint, Enforcement, Handling, HostPattern, Network, Protocol, Target},
    yaml::{Findings, Node, Position},
};

const PROTOCOLS: &[(&str, Protocol)] = &[
    ("tcp", Protocol::Tcp),
    ("rest", Protocol::Rest),
    ("websocket", Protocol::WebSocket),
    ("graphql", Protocol::GraphQl),
    ("mcp", Protocol::Mcp),
    ("json-rpc", Protocol::JsonRpc),
    ("sql", Protocol::Sql),
];

const ENFORCEMENT: &[(&str, Enforcement)] = &[
    ("enforce", Enforcement::Enforce),
    ("audit", Enforcement::Audit),
];

/// `tls:` as written; omitted is `Auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Auto,
    Skip,
    Terminate,
    Passthrough,
}

const TLS: &[(&str, Tls)] = &[
    ("skip", Tls::Skip),
    ("terminate", Tls::Terminate),
    ("passthrough", Tls::Passthrough),
];

/// Reads one endpoint and appends what it declares, once for each of its ports.
pub(super) fn read(
    rule: &str,
    binaries: &Binaries,
    endpoint: &Node,
    declared: &mut Vec<Declared>,
    findings: &mut Findings,
) {
    let at = &endpoint.at;
    let Some(mut fields) = endpoint.fields(findings) else {
        return;
    };
    let host = fields.take("host");
    let port = fields.take("port");
    let ports = fields.take("ports");
    let protocol_node = fields.take("protocol");
    let tls_node = fields.take("tls");
    let written = Written {
        path: fields.take("path"),
        access: fields.take_entry("access"),
        rules: fields.take_entry("rules"),
        deny_rules: fields.take_entry("deny_rules"),
        allow_encoded_slash: fields.take("allow_encoded_slash"),
    };
    let enforcement = fields.take("enforcement");
    let allowed_ips = fields.take("allowed_ips");
    unenforced::report(&mut fields, findings);
    fields.finish(findings);

    let ports = read_ports(at, port, ports, findings);
    let protocol = choice_or(protocol_node, None, PROTOCOLS, Some, findings);
    let tls = choice_or(tls_node, Tls::Auto, TLS, |tls| tls, findings);
    let enforcement = choice_or(
        enforcement,
        Enforcement::Audit,
        ENFORCEMENT,
        |enforcement| enforcement,
        findings,
    );
    let destination = read_destination(at, host, allowed_ips, findings);
    let requests = protocol.and_then(|protocol| written.read(at, protocol, findings));

    let (
        Some(ports),
        Some(protocol),
        Some(tls),
        Some(requests),
        Some(enforcement),
        Some(destination),
    ) = (ports, protocol, tls, requests, enforcement, destination)
    else {
        return;
    };
    let Destination {
        target,
        label,
        allowed_ips,
    } = destination;
    let handling = handling(protocol, tls);
    report_handling(
        protocol_node.unwrap_or(endpoint),
        tls_node,
        tls,
        handling,
        findings,
    );
    let handling = if target == Target::Addresses && handling != Handling::Tcp {
        findings.warn(
            at,
            "an endpoint without a host name is supported with `protocol: tcp` only: denied",
        );
        Handling::Unsupported(protocol.unwrap_or(Protocol::Rest))
    } else {
        handling
    };
    written.report(&requests, enforcement, handling, findings);

    for port in ports {
        declared.push(Declared {
            at: at.clone(),
            endpoint: Arc::new(Endpoint {
                rule: format!("{rule}/{label}:{port}").into(),
                target: target.clone(),
                port,
                handling,
                requests: requests.clone(),
                binaries: binaries.clone(),
                enforcement,
                redact: true,
                upgrades: Vec::new(),
                allowed_ips: allowed_ips.clone(),
            }),
        });
    }
}

/// Where an endpoint leads.
struct Destination {
    target: Target,
    /// For the rule's name.
    label: String,
    allowed_ips: Vec<Network>,
}

fn handling(protocol: Option<Protocol>, tls: Tls) -> Handling {
    match (protocol, tls) {
        (Some(Protocol::Tcp), _) => Handling::Tcp,
        (
            Some(
                protocol @ (Protocol::GraphQl | Protocol::Mcp | Protocol::JsonRpc | Protocol::Sql),
            ),
            _,
        ) => Handling::Unsupported(protocol),
        (None | Some(Protocol::Rest | Protocol::WebSocket), Tls::Skip) => Handling::Tunnel,
        (
            None | Some(Protocol::Rest | Protocol::WebSocket),
            Tls::Auto | Tls::Terminate | Tls::Passthrough,
        ) => Handling::Intercept,
    }
}

fn report_handling(
    protocol_node: &Node,
    tls_node: Option<&Node>,
    tls: Tls,
    handling: Handling,
    findings: &mut Findings,
) {
    if let Handling::Unsupported(protocol) = handling {
        findings.warn(
            &protocol_node.at,
            format!("protocol {protocol} is not supported: the endpoint is denied"),
        );
    }
    let Some(tls_node) = tls_node else {
        return;
    };
    match tls {
        Tls::Skip if handling == Handling::Tunnel => findings.inform(
            &tls_node.at,
            "tunnelled undecrypted, so no secret can be put in: to change that, list the host under `intercept` of \
             the sandbox in interceptor.yaml",
        ),
        Tls::Terminate => findings.inform(
            &tls_node.at,
            "`tls: terminate` is deprecated and without effect: TLS is found and opened by itself",
        ),
        Tls::Passthrough => findings.warn(
            &tls_node.at,
            "`tls: passthrough` is deprecated and without effect, as in OpenShell: TLS is opened (`skip` keeps it shut)",
        ),
        Tls::Auto | Tls::Skip => {}
    }
}

fn read_ports(
    at: &Position,
    port: Option<&Node>,
    ports: Option<&Node>,
    findings: &mut Findings,
) -> Option<Vec<u16>> {
    match (port, ports) {
        (Some(port), None) => port.port(findings).map(|port| vec![port]),
        (None, Some(ports)) => {
            let items = ports.filled_list(findings)?;
            let mut read: Vec<u16> = items
                .iter()
                .filter_map(|item| item.port(findings))
                .collect();
            let complete = read.len() == items.len();
            read.sort_unstable();
            read.dedup();
            complete.then_some(read)
        }
        (None, None) => {
            findings.fault(at, "the key `port` (or `ports`) is missing");
            None
        }
        (Some(_), Some(ports)) => {
            findings.fault(&ports.at, "`port` and `ports` exclude each other");
            None
        }
    }
}

fn read_destination(
    at: &Position,
    host: Option<&Node>,
    allowed_ips: Option<&Node>,
    findings: &mut Findings,
) -> Option<Destination> {
    let allowed_ips = match allowed_ips {
        None => Some(Vec::new()),
        Some(node) => read_networks(node, findings),
    };
    let Some(host) = host else {
        let allowed_ips = allowed_ips?;
        if allowed_ips.is_empty() {
            findings.fault(at, "the key `host` is missing");
            return None;
        }
        let label = allowed_ips
            .iter()
            .map(Network::to_string)
            .collect::<Vec<_>>();
        return Some(Destination {
            target: Target::Addresses,
            label: label.join(","),
            allowed_ips,
        });
    };
    let text = host.text(findings)?;
    if text.parse::<IpAddr>().is_ok() {
        let network: Network = host.parse(findings)?;
        return Some(Destination {
            target: Target::Addresses,
            label: text.to_owned(),
            allowed_ips: vec![network],
        });
    }
    let pattern: HostPattern = host.parse(findings)?;
    Some(Destination {
        label: pattern.to_string(),
        target: Target::Named(pattern),
        allowed_ips: allowed_ips?,
    })
}

fn read_networks(node: &Node, findings: &mut Findings) -> Option<Vec<Network>> {
    let items = node.list(findings)?;
    let networks: Vec<Network> = items
        .iter()
        .filter_map(|item| item.parse(findings))
        .collect();
    (networks.len() == items.len()).then_some(networks)
}

/// One of some words, or what an omitted key means. `None` after a fault.
fn choice_or<T: Copy, U>(
    node: Option<&Node>,
    omitted: U,
    choices: &[(&'static str, T)],
    wrap: impl Fn(T) -> U,
    findings: &mut Findings,
) -> Option<U> {
    match node {
        None => Some(omitted),
        Some(node) => node.choice(choices, findings).map(wrap),
    }
}

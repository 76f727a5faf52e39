//! `resolve:`, `dns:`, `ca:` and `upstream:`.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{CaFiles, Paths, binding::read_hosts};
use crate::{
    address::Host,
    dns::resolver::Override,
    file::{self, Contents},
    policy::HostPattern,
    tls::identity::{ClientCertificate, Identity},
    yaml::{Findings, Node},
};

/// Bytes of a certificate or key file.
const MAX_PEM: usize = 4 << 20;

/// Addresses for one host.
const MAX_OVERRIDES: usize = 16;

/// As in resolv.conf(5): the next one is asked when one fails, and all have to be asked in 5 s.
const MAX_SERVERS: usize = 3;

/// Of a name server.
const DNS: u16 = 53;

pub(super) fn read_resolve(node: &Node, findings: &mut Findings) -> HashMap<Host, Vec<Override>> {
    let mut resolve = HashMap::new();
    for entry in node.entries(findings).unwrap_or_default() {
        let host = match entry.key.parse::<Host>() {
            Ok(host) => Some(host),
            Err(error) => {
                findings.fault(&entry.key_at, error.to_string());
                None
            }
        };
        let overrides = read_overrides(&entry.value, findings);
        let (Some(host), Some(overrides)) = (host, overrides) else {
            continue;
        };
        if resolve.insert(host, overrides).is_some() {
            findings.fault(&entry.key_at, "the same host stands here already");
        }
    }
    resolve
}

fn read_overrides(node: &Node, findings: &mut Findings) -> Option<Vec<Override>> {
    let single = std::slice::from_ref(node);
    let items = if node.is_list() {
        node.filled_list(findings)?
    } else {
        single
    };
    if items.len() > MAX_OVERRIDES {
        findings.fault(&node.at, format!("more than {MAX_OVERRIDES} addresses"));
        return None;
    }
    let overrides: Vec<Override> = items
        .iter()
        .filter_map(|item| read_override(item, findings))
        .collect();
    (overrides.len() == items.len()).then_some(overrides)
}

/// Empty where it is at fault.
pub(super) fn read_dns(node: &Node, findings: &mut Findings) -> Vec<SocketAddr> {
    let Some(mut fields) = node.fields(findings) else {
        return Vec::new();
    };
    let servers = fields.require("servers", findings);
    fields.finish(findings);
    let Some(servers) = servers else {
        return Vec::new();
    };
    let items = servers.filled_list(findings).unwrap_or_default();
    if items.len() > MAX_SERVERS {
        findings.fault(
            &servers.at,
            format!("more than {MAX_SERVERS} name servers: the others would never be asked"),
        );
    }
    items
        .iter()
        .filter_map(|item| read_override(item, findings))
        .map(|Override { ip, port }| SocketAddr::new(ip, port.unwrap_or(DNS)))
        .collect()
}

/// `10.1.2.3`, `10.1.2.3:8443`, `fd00::1`, `[fd00::1]:8443`.
fn read_override(node: &Node, findings: &mut Findings) -> Option<Override> {
    let text = node.text(findings)?;
    let (ip, port) = if let Ok(ip) = text.parse::<IpAddr>() {
        (ip, None)
    } else if let Ok(address) = text.parse::<SocketAddr>() {
        (address.ip(), Some(address.port()))
    } else {
        findings.fault(
            &node.at,
            "expected an IP address, with a port or without: 10.1.2.3, 10.1.2.3:8443, \"[fd00::1]:8443\"",
        );
        return None;
    };
    if port == Some(0) || ip.is_unspecified() || ip.is_multicast() {
        findings.fault(&node.at, "nothing can be dialled at this address");
        return None;
    }
    Some(Override { ip, port })
}

pub(super) fn read_ca(node: &Node, paths: &Paths, findings: &mut Findings) -> Option<CaFiles> {
    let mut fields = node.fields(findings)?;
    let certificate = fields.require("certificate", findings);
    let key = fields.require("key", findings);
    fields.finish(findings);
    let certificate = certificate.and_then(|node| certificate_file(node, paths, findings));
    let key = key.and_then(|node| {
        let (path, contents) = readable_file(node, paths, findings)?;
        if contents.readable_by_others {
            findings.warn(
                &node.at,
                "the CA's key can be read by its group or by everybody: chmod 600",
            );
        }
        Some(path)
    });
    Some(CaFiles {
        certificate: certificate?,
        key: key?,
    })
}

pub(super) fn read_upstream(
    node: &Node,
    paths: &Paths,
    findings: &mut Findings,
) -> (Vec<PathBuf>, Vec<ClientCertificate>) {
    let Some(mut fields) = node.fields(findings) else {
        return (Vec::new(), Vec::new());
    };
    let roots = fields.take("roots");
    let certificates = fields.take("client_certificates");
    fields.finish(findings);
    let roots = roots
        .and_then(|roots| roots.list(findings))
        .unwrap_or_default()
        .iter()
        .filter_map(|root| certificate_file(root, paths, findings))
        .collect();
    let mut read: Vec<ClientCertificate> = Vec::new();
    for entry in certificates
        .and_then(|certificates| certificates.list(findings))
        .unwrap_or_default()
    {
        read.extend(read_client_certificate(entry, &read, paths, findings));
    }
    (roots, read)
}

/// `others`: those that stand before it.
fn read_client_certificate(
    node: &Node,
    others: &[ClientCertificate],
    paths: &Paths,
    findings: &mut Findings,
) -> Option<ClientCertificate> {
    let mut fields = node.fields(findings)?;
    let hosts_at = fields.require("hosts", findings);
    let certificate = fields.require("certificate", findings);
    let key = fields.require("key", findings);
    fields.finish(findings);
    let hosts = hosts_at.map_or_else(Vec::new, |list| read_hosts(list, findings));
    let taken = |pattern: &HostPattern| {
        let mut taken = others.iter().flat_map(|other| &other.hosts);
        taken.any(|other| other.overlaps(pattern))
    };
    if let Some(list) = hosts_at
        && hosts.iter().any(taken)
    {
        findings.fault(
            &list.at,
            "another certificate is for some of the same hosts",
        );
    }
    let chain = certificate.and_then(|node| Some((node, readable_file(node, paths, findings)?)));
    let key = key.and_then(|node| Some((node, readable_file(node, paths, findings)?)));
    let ((chain_node, (chain_path, chain)), (key_node, (key_path, key))) = (chain?, key?);
    if key.readable_by_others {
        findings.warn(
            &key_node.at,
            "the key can be read by its group or by everybody: chmod 600",
        );
    }
    match Identity::read(&chain.bytes, &key.bytes) {
        Ok(identity) => Some(ClientCertificate { hosts, identity }),
        Err(error) => {
            let (at, path) = if error.is_of_the_key() {
                (&key_node.at, key_path)
            } else {
                (&chain_node.at, chain_path)
            };
            let told = crate::error::chain(&error);
            findings.fault(at, format!("{} {told}", path.display()));
            None
        }
    }
}

/// A file with at least one certificate and no broken one.
fn certificate_file(node: &Node, paths: &Paths, findings: &mut Findings) -> Option<PathBuf> {
    let (path, contents) = readable_file(node, paths, findings)?;
    let mut certificates = CertificateDer::pem_slice_iter(&contents.bytes).peekable();
    let sound =
        certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok());
    if !sound {
        findings.fault(
            &node.at,
            format!("{} holds no certificates in PEM form", path.display()),
        );
        return None;
    }
    Some(path)
}

pub(super) fn read_metrics(node: &Node, findings: &mut Findings) -> Option<SocketAddr> {
    let mut fields = node.fields(findings)?;
    let listen = fields.require("listen", findings);
    fields.finish(findings);
    let listen = listen?;
    let address: SocketAddr = listen.text(findings)?.parse().ok().or_else(|| {
        findings.fault(
            &listen.at,
            "expected an IP address with a port: 127.0.0.1:9464, \"[::1]:9464\"",
        );
        None
    })?;
    if !address.ip().is_loopback() {
        findings.warn(
            &listen.at,
            "metrics are served beyond this host: names of sandboxes and secrets are in them",
        );
    }
    Some(address)
}

fn readable_file(
    node: &Node,
    paths: &Paths,
    findings: &mut Findings,
) -> Option<(PathBuf, Contents)> {
    let path = paths.resolve(node, findings)?;
    match file::read(&path, MAX_PEM) {
        Ok(contents) => Some((path, contents)),
        Err(error) => {
            findings.fault(
                &node.at,
                format!("{} {}", path.display(), crate::error::chain(&error)),
            );
            None
        }
    }
}

//! `resolve:`, `ca:` and `upstream:`.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{CaFiles, Paths};
use crate::{
    address::Host,
    dns::resolver::Override,
    file::{self, Contents},
    yaml::{Findings, Node},
};

/// Bytes of a certificate or key file.
const MAX_PEM: usize = 4 << 20;

/// Addresses for one host.
const MAX_OVERRIDES: usize = 16;

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

pub(super) fn read_roots(node: &Node, paths: &Paths, findings: &mut Findings) -> Vec<PathBuf> {
    let Some(mut fields) = node.fields(findings) else {
        return Vec::new();
    };
    let roots = fields.take("roots");
    fields.finish(findings);
    roots
        .and_then(|roots| roots.list(findings))
        .unwrap_or_default()
        .iter()
        .filter_map(|root| certificate_file(root, paths, findings))
        .collect()
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

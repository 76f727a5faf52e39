//! kubelet: a directory of logs for each pod, made before its first container is: `NAMESPACE_NAME_UID`.

use super::Host;
use crate::locate::name::{PodName, PodUid};

const LOGS: &str = "var/log/pods";

pub(super) fn pods(host: &Host) -> Vec<(PodName, PodUid)> {
    let directories = host.list(LOGS).into_iter();
    directories.filter_map(|(name, _)| read(&name)).collect()
}

/// No part holds an underscore.
fn read(directory: &str) -> Option<(PodName, PodUid)> {
    let mut parts = directory.split('_');
    let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    Some((PodName::new(namespace, name)?, PodUid::parse(uid)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_logs_names_its_pod_and_others_do_not() {
        let uid = "0b3f6a52-8f5e-4c1e-9d5a-6f6a1c0a7e11";
        let (name, found) = read(&format!("kube-system_coredns-7b98_{uid}")).unwrap();
        assert_eq!(name.to_string(), "kube-system/coredns-7b98");
        assert_eq!(found.to_string(), uid);
        for other in [
            "",
            "a_b",
            "a_b_c",
            &format!("a_b_{uid}_x"),
            &format!("_b_{uid}"),
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}

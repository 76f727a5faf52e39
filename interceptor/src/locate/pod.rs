//! Pods: at the pod's own cgroup, which stands before its first container and holds all of them.

use std::collections::BTreeSet;

use super::{
    Identity, LocateError, Located,
    known::Host,
    name::{PodQuery, PodUid},
    only,
    path::Kind,
    tree::{REACHES, gather},
    version1,
};
use crate::kernel::Hierarchy;

pub(super) fn find(
    hierarchy: &Hierarchy,
    host: &Host,
    asked: &PodQuery,
) -> Result<Located, LocateError> {
    // Pods of the same name that have ended leave their directories of logs for a while.
    let uids: BTreeSet<PodUid> = match asked {
        PodQuery::Uid(uid) => [uid.clone()].into(),
        PodQuery::Name(name) => host.uids(name),
    };
    if uids.is_empty() {
        return Err(LocateError::UnknownPod(asked.clone()));
    }
    let what = || format!("pod {asked}");
    for reach in REACHES {
        let found = gather(hierarchy, reach, |_, kind| match kind {
            Some(Kind::Pod(uid)) if uids.contains(uid) => Some(uid.clone()),
            _ => None,
        })?;
        let found = only(what, found, |(path, _)| path.display().to_string())?;
        if let Some((path, uid)) = found {
            return Ok(Located {
                cgroup: hierarchy.cgroup(&path)?,
                identity: Some(Identity(host.describe(&uid))),
            });
        }
    }
    let is_it = |kind: &Kind| matches!(kind, Kind::Pod(uid) if uids.contains(uid));
    let why = version1::explain(&what(), is_it);
    Err(why.unwrap_or_else(|| LocateError::NoPod(asked.clone())))
}

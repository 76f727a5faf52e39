//! The tree of cgroups, as far as it tells containers and pods.

use std::path::{Path, PathBuf};

use super::path::Kind;
use crate::kernel::{CgroupError, Hierarchy};

/// What may be looked at. A container that was given cgroups to manage can make some that bear another's name, so
/// those inside of containers count only where nothing outside does: of a node that is itself a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Outside,
    Everywhere,
}

pub(super) const REACHES: [Reach; 2] = [Reach::Outside, Reach::Everywhere];

/// Cgroups that `choose` takes, by their path and what their name says of them.
pub(super) fn gather<T>(
    hierarchy: &Hierarchy,
    reach: Reach,
    mut choose: impl FnMut(&Path, Option<&Kind>) -> Option<T>,
) -> Result<Vec<(PathBuf, T)>, CgroupError> {
    let mut found = Vec::new();
    hierarchy.walk(|directory| {
        let kind = Kind::of_last(directory);
        if let Some(chosen) = choose(directory, kind.as_ref()) {
            found.push((directory.to_owned(), chosen));
        }
        reach == Reach::Everywhere || !matches!(kind, Some(Kind::Container(_)))
    })?;
    Ok(found)
}

//! Our CA in the bundles of certificates inside a container, which its programs trust: put in, and taken out again.
//!
//! A bundle is read, changed and put in its own place by a rename: its readers see the old one or the new one, and a file
//! that is the container's only by a mount or a hard link is not changed for others. One that is a mount of its own is
//! therefore left alone, and so is a system's directory that is: what it shows may be the host's.
//!
//! The container is taken for hostile. Paths are resolved below its root and across no mount, what is opened is a
//! regular file of its root user before it is opened for reading, and everything is done by descriptors, with no more
//! rights than root has there. So whoever moves things about meanwhile has at most some other file of its own changed.

mod bundle;
mod place;

use std::{collections::BTreeMap, io};

use serde::{Serialize, Serializer};

use self::place::PLACES;
use crate::{
    error::chain,
    kernel::{FileView, FileViewError, FileViewId},
    tls::anchor::Anchor,
};

/// What to do with a bundle.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// Our certificate stands in it, and no earlier one of ours.
    Install(&'a Anchor),
    /// No certificate that was installed stands in it.
    Uninstall,
}

/// What came of one bundle.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// Absolute, in the container.
    pub(crate) path: String,
    pub(crate) became: Became,
}

#[derive(Debug)]
pub(crate) enum Became {
    Changed,
    /// It was as it should be.
    Unchanged,
    /// What it leads to is dealt with where it is one of the known places.
    Link,
    Refused(Refusal),
}

/// Why a bundle is left alone. Worded to follow its path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("is mounted from elsewhere: change it at its source")]
    Mounted,
    #[error("is on a read-only file system: put our CA into the image, or mount it")]
    ReadOnly,
    #[error("is not a regular file")]
    NotRegular,
    #[error("does not belong to the container's root")]
    Owner,
    #[error("is larger than {} MiB", place::MAX_BUNDLE >> 20)]
    TooLarge,
    #[error("holds no certificates")]
    NoCertificates,
    #[error("changes all the time: try again")]
    Changing,
    #[error("cannot be changed")]
    Io(#[from] io::Error),
}

/// Changes every bundle at a known place. Places at which there is nothing are left out.
///
/// # Errors
/// The rights of the container's root cannot be had.
pub(crate) fn apply(view: &FileView, change: Change<'_>) -> Result<Vec<Outcome>, FileViewError> {
    let owner = view.root_user();
    view.as_root_there(|root| {
        PLACES
            .iter()
            .filter_map(|place| {
                Some(Outcome {
                    path: place.path(),
                    became: place.change(root, owner, change)?,
                })
            })
            .collect()
    })
}

/// What processes see, each view once, with the first process that has it. Those that are gone meanwhile see nothing.
pub(crate) fn views(
    processes: &[u32],
) -> (BTreeMap<FileViewId, (u32, FileView)>, Vec<FileViewError>) {
    let mut views = BTreeMap::new();
    let mut errors = Vec::new();
    for pid in processes {
        match FileView::of_process(*pid) {
            Ok(view) => {
                views.entry(view.id()).or_insert((*pid, view));
            }
            Err(FileViewError::NoProcess(_)) => {}
            Err(error) => errors.push(error),
        }
    }
    (views, errors)
}

impl Became {
    /// For the CLI and the log, after the path.
    pub(crate) fn describe(&self, change: Change<'_>) -> String {
        match (self, change) {
            (Self::Changed, Change::Install(_)) => "trusts our CA now".to_owned(),
            (Self::Unchanged, Change::Install(_)) => "trusts our CA already".to_owned(),
            (Self::Changed, Change::Uninstall) => "does not trust our CA any more".to_owned(),
            (Self::Unchanged, Change::Uninstall) => "has nothing of ours".to_owned(),
            (Self::Link, _) => "is a link".to_owned(),
            (Self::Refused(refusal), _) => chain(refusal),
        }
    }
}

impl Serialize for Became {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Link => "link",
            Self::Refused(_) => "refused",
        })
    }
}

#[cfg(test)]
mod tests;

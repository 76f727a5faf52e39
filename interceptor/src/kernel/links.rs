//! The programs on a sandbox's cgroup: attached, adopted after a restart, detached.

mod watch;

use std::{fs, io, os::fd::AsFd, path::PathBuf};

use super::{
    bpf::CgroupLink,
    bpffs::PinsError,
    cgroup::{Cgroup, CgroupError},
    maps::MapsError,
    programs::{HOOKS, Hook, Programs},
};
use crate::{
    address::{CgroupId, SandboxId},
    error::chain,
};

pub(crate) use self::watch::{HeldLinks, LinkLoss};

/// Why the programs are not on a cgroup, or not off it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Maps(#[from] MapsError),
    #[error(transparent)]
    Pins(#[from] PinsError),
    #[error("cannot attach {program} to the cgroup")]
    Attach {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot put this release's {program} in place of the running one")]
    Update {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot take {program} off the cgroup, which stays closed: try to detach again")]
    Detach {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot use {path}")]
    Pin {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Programs {
    /// Closes a cgroup: puts all programs on it and pins them. On failure it is open again, as before.
    pub(crate) fn attach(&self, id: SandboxId, cgroup: &Cgroup) -> Result<(), LinkError> {
        let directory = self.pin_directory(id);
        if let Some(path) = &directory {
            fs::create_dir(path).map_err(|source| LinkError::Pin {
                path: path.clone(),
                source,
            })?;
        }
        let attached = self.link_all(id, cgroup).and_then(|links| {
            let pinned = self.pin_all(id, &links);
            if let Err(error) = pinned {
                roll_back(links);
                return Err(error);
            }
            self.watch_families(id, cgroup)
        });
        if attached.is_err()
            && let Err(error) = self.detach(id, cgroup.id())
        {
            tracing::error!(sandbox = %id, error = chain(&error), "cannot undo a failed attach");
        }
        attached
    }

    /// Attaches without pins, as long as the links live.
    pub(super) fn link_all(
        &self,
        id: SandboxId,
        cgroup: &Cgroup,
    ) -> Result<Vec<CgroupLink>, LinkError> {
        let target = cgroup.open()?;
        self.maps().enter_sandbox(cgroup.id(), id)?;
        let mut links = Vec::with_capacity(HOOKS.len());
        for hook in &HOOKS {
            match self.link(hook, target.as_fd()) {
                Ok(link) => links.push(link),
                Err(error) => {
                    roll_back(links);
                    return Err(error);
                }
            }
        }
        Ok(links)
    }

    /// Re-opens the pins of a sandbox and puts the loaded programs into them, without a gap. A link that is missing,
    /// because an attach or a detach was cut short, is attached again.
    ///
    /// # Errors
    /// The first one, also when the cgroup is gone. What could not be updated stays in force as it was.
    pub(crate) fn adopt(&self, id: SandboxId, cgroup: &Cgroup) -> Result<(), LinkError> {
        let target = cgroup.open()?;
        self.maps().enter_sandbox(cgroup.id(), id)?;
        if let Some(path) = self.pin_directory(id) {
            fs::create_dir_all(&path).map_err(|source| LinkError::Pin { path, source })?;
        }
        let mut missing = Vec::new();
        let mut failed = None;
        for hook in &HOOKS {
            let renewed = self.adopt_one(id, hook).and_then(|stands| {
                if !stands {
                    missing.push(hook.name);
                    let link = self.link(hook, target.as_fd())?;
                    self.pin_one(id, hook, &link)?;
                }
                Ok(())
            });
            // The other programs protect all the same.
            if let Err(error) = renewed {
                failed.get_or_insert(error);
            }
        }
        if let Err(error) = self.watch_families(id, cgroup) {
            failed.get_or_insert(error);
        }
        if !missing.is_empty() {
            tracing::warn!(sandbox = %id, programs = missing.join(", "), "links were missing, perhaps since an attach or detach was cut short: attached again");
        }
        failed.map_or(Ok(()), Err)
    }

    /// Puts the loaded program into a pinned link. `false`: there is none on the cgroup, nor a pin any more.
    fn adopt_one(&self, id: SandboxId, hook: &Hook) -> Result<bool, LinkError> {
        let Some(pin) = self.pin(id, hook) else {
            return Ok(true);
        };
        let failed = |source| LinkError::Pin {
            path: pin.clone(),
            source,
        };
        let link = match CgroupLink::open(&pin) {
            Ok(link) => link,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        if link.cgroup().map_err(failed)?.is_none() {
            fs::remove_file(&pin).map_err(failed)?;
            return Ok(false);
        }
        self.program(hook)
            .and_then(|program| link.update(program))
            .map_err(|source| LinkError::Update {
                program: hook.name,
                source,
            })?;
        Ok(true)
    }

    /// The cgroup that a sandbox's pinned programs are on, as the kernel has it: `None` when it is gone.
    pub(crate) fn linked_cgroup(&self, id: SandboxId) -> Option<CgroupId> {
        HOOKS
            .iter()
            .filter_map(|hook| CgroupLink::open(&self.pin(id, hook)?).ok())
            .find_map(|link| link.cgroup().ok().flatten())
    }

    /// Opens a cgroup again: takes all programs off it and removes the pins. Done when it returns; done again, it
    /// finishes what had failed. A cgroup that is gone has no programs, but still its pins.
    pub(crate) fn detach(&self, id: SandboxId, cgroup: CgroupId) -> Result<(), LinkError> {
        for hook in HOOKS.iter().rev() {
            let Some(pin) = self.pin(id, hook) else {
                continue;
            };
            let failed = |source| LinkError::Detach {
                program: hook.name,
                source,
            };
            match CgroupLink::open(&pin) {
                Ok(link) => {
                    link.detach().map_err(failed)?;
                    fs::remove_file(&pin).map_err(failed)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.unwatch_families(id)?;
        if let Some(path) = self.pin_directory(id)
            && let Err(source) = fs::remove_dir(&path)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(LinkError::Pin { path, source });
        }
        self.maps().remove_sandbox(id, cgroup)?;
        Ok(())
    }

    /// Sandboxes that have pins.
    pub(crate) fn pinned_sandboxes(&self) -> Result<Vec<SandboxId>, LinkError> {
        let pinned = self.pins().map(|pins| pins.sandboxes()).transpose()?;
        Ok(pinned.unwrap_or_default())
    }

    #[cfg(test)]
    pub(crate) fn unlink_but_keep_pins(&self, id: SandboxId) {
        for pin in HOOKS.iter().filter_map(|hook| self.pin(id, hook)) {
            CgroupLink::open(&pin).unwrap().detach().unwrap();
        }
    }

    #[cfg(test)]
    pub(crate) fn put_in_place(&self, id: SandboxId, program: &str, other: &Self) {
        let hook = HOOKS.iter().find(|hook| hook.name == program).unwrap();
        let link = CgroupLink::open(&self.pin(id, hook).unwrap()).unwrap();
        link.update(other.program(hook).unwrap()).unwrap();
    }

    #[cfg(test)]
    pub(crate) fn forget_cgroup(&self, id: SandboxId, cgroup: CgroupId) {
        self.maps().remove_sandbox(id, cgroup).unwrap();
    }

    fn link(
        &self,
        hook: &Hook,
        cgroup: std::os::fd::BorrowedFd<'_>,
    ) -> Result<CgroupLink, LinkError> {
        self.program(hook)
            .and_then(|program| CgroupLink::create(program, cgroup, hook.attach_type))
            .map_err(|source| LinkError::Attach {
                program: hook.name,
                source,
            })
    }

    fn pin_all(&self, id: SandboxId, links: &[CgroupLink]) -> Result<(), LinkError> {
        for (hook, link) in HOOKS.iter().zip(links) {
            self.pin_one(id, hook, link)?;
        }
        Ok(())
    }

    fn pin_one(&self, id: SandboxId, hook: &Hook, link: &CgroupLink) -> Result<(), LinkError> {
        let Some(path) = self.pin(id, hook) else {
            return Ok(());
        };
        link.pin(&path)
            .map_err(|source| LinkError::Pin { path, source })
    }

    fn pin(&self, id: SandboxId, hook: &Hook) -> Option<PathBuf> {
        Some(self.pin_directory(id)?.join(hook.name))
    }

    fn pin_directory(&self, id: SandboxId) -> Option<PathBuf> {
        Some(self.pins()?.sandbox(id))
    }
}

/// Takes links off in reverse order, the fence last.
fn roll_back(mut links: Vec<CgroupLink>) {
    while let Some(link) = links.pop() {
        if let Err(error) = link.detach() {
            tracing::error!(%error, "cannot take a program off a cgroup again");
        }
    }
}

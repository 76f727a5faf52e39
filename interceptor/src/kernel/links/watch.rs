//! Noticing that somebody has taken a program off a cgroup, put another one in its place, or removed its pin.

use std::{fs, io, os::fd::AsFd, os::unix::fs::MetadataExt, path::Path};

use super::{HOOKS, Hook, LinkError, Programs};
use crate::{
    address::SandboxId,
    kernel::{bpf::CgroupLink, cgroup::Cgroup, family},
};

/// The links of one sandbox. As long as this holds them, removing their pins does not take the programs off.
#[derive(Debug, Default)]
pub(crate) struct HeldLinks(Vec<HeldLink>);

#[derive(Debug)]
struct HeldLink {
    hook: &'static Hook,
    link: CgroupLink,
    /// The loaded one's number.
    program: u32,
    /// Inode of the pin.
    pin: u64,
}

/// A link that was not as it had been left, and is again unless there is an error.
#[derive(Debug)]
pub(crate) struct LinkLoss {
    pub(crate) program: &'static str,
    pub(crate) how: &'static str,
    pub(crate) error: Option<LinkError>,
}

impl Programs {
    /// Looks at every link of a sandbox that is attached, and mends what is not as it was left, the fence first. Two
    /// system calls for each link.
    pub(crate) fn mend(
        &self,
        id: SandboxId,
        cgroup: &Cgroup,
        held: &mut HeldLinks,
    ) -> Vec<LinkLoss> {
        let mut losses = Vec::new();
        for hook in &HOOKS {
            let at = held.0.iter().position(|link| link.hook.name == hook.name);
            let found = at.map(|at| held.0.swap_remove(at));
            let (link, how) = match found {
                Some(link) => self.check(id, cgroup, link),
                None => self.take_up(id, hook),
            };
            let Some(how) = how else {
                held.0.extend(link);
                continue;
            };
            // Its programs go with a cgroup, and nobody is in it any more.
            if !cgroup.exists() {
                return Vec::new();
            }
            let error = match self.restore(id, hook, cgroup, link) {
                Ok(link) => {
                    held.0.push(link);
                    None
                }
                Err(error) => Some(error),
            };
            losses.push(LinkLoss {
                program: hook.name,
                how,
                error,
            });
        }
        if !self.watches_families(id) && cgroup.exists() {
            losses.push(LinkLoss {
                program: family::PROGRAM,
                how: "detached",
                error: self.watch_families(id, cgroup).err(),
            });
        }
        losses
    }

    /// The link, if it is of use, and what is wrong with it.
    fn check(
        &self,
        id: SandboxId,
        cgroup: &Cgroup,
        held: HeldLink,
    ) -> (Option<HeldLink>, Option<&'static str>) {
        match held.link.info() {
            Ok((Some(on), _)) if on != cgroup.id() => return (None, Some("on another cgroup")),
            Ok((Some(_), program)) if program != held.program => {
                return (Some(held), Some("replaced by another program"));
            }
            Ok((Some(_), _)) => {}
            Ok((None, _)) | Err(_) => return (None, Some("detached")),
        }
        let pin = self.pin(id, held.hook).map(|pin| inode(&pin));
        match pin {
            Some(Ok(found)) if found != held.pin => (Some(held), Some("under another pin")),
            Some(Err(_)) => (Some(held), Some("without its pin")),
            Some(Ok(_)) | None => (Some(held), None),
        }
    }

    /// Opens the pin of a link that is not held yet.
    fn take_up(
        &self,
        id: SandboxId,
        hook: &'static Hook,
    ) -> (Option<HeldLink>, Option<&'static str>) {
        let Some(pin) = self.pin(id, hook) else {
            return (None, None);
        };
        let opened = CgroupLink::open(&pin).and_then(|link| {
            Ok(HeldLink {
                hook,
                program: self.number(hook)?,
                pin: inode(&pin)?,
                link,
            })
        });
        match opened {
            Ok(held) => match held.link.info() {
                Ok((Some(_), program)) if program == held.program => (Some(held), None),
                Ok((Some(_), _)) => (Some(held), Some("replaced by another program")),
                Ok((None, _)) | Err(_) => (None, Some("detached")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, Some("gone")),
            // No descriptor is free: the pin holds the link.
            Err(error) => {
                tracing::debug!(%error, "cannot look at a link");
                (None, None)
            }
        }
    }

    fn restore(
        &self,
        id: SandboxId,
        hook: &'static Hook,
        cgroup: &Cgroup,
        held: Option<HeldLink>,
    ) -> Result<HeldLink, LinkError> {
        let link = match held {
            Some(held) => {
                let updated = self.program(hook).and_then(|ours| held.link.update(ours));
                updated.map_err(|source| LinkError::Update {
                    program: hook.name,
                    source,
                })?;
                held.link
            }
            None => self.link(hook, cgroup.open()?.as_fd())?,
        };
        let mut pinned = 0;
        if let Some(path) = self.pin(id, hook) {
            let failed = |source| LinkError::Pin {
                path: path.clone(),
                source,
            };
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory).map_err(failed)?;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(error));
                }
                _ => {}
            }
            self.pin_one(id, hook, &link)?;
            pinned = inode(&path).map_err(failed)?;
        }
        let program = self.number(hook).map_err(|source| LinkError::Attach {
            program: hook.name,
            source,
        })?;
        Ok(HeldLink {
            hook,
            link,
            program,
            pin: pinned,
        })
    }
}

fn inode(pin: &Path) -> io::Result<u64> {
    fs::metadata(pin).map(|found| found.ino())
}

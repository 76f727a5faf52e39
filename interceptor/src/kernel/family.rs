//! The program over socket families, which only some kernels take. It is tried, not asked for: it loads and attaches
//! without an effect where BPF is none of the security modules that are on (`lsm=`), as on Ubuntu.

use std::{fs, io, os::fd::AsFd, path::PathBuf};

use aya::{Btf, Ebpf, programs::Program};

use super::{
    bpf::{AttachType, CgroupLink},
    cgroup::Cgroup,
    links::LinkError,
    programs::Programs,
};
use crate::{address::SandboxId, error::chain};

/// Its name in the object and among a sandbox's pins.
pub(super) const PROGRAM: &str = "socket_create";

/// Why the kernel does not take it, if it does not.
pub(super) fn load(object: &mut Ebpf) -> Result<(), String> {
    let program = object.program_mut(PROGRAM);
    let Some(Program::LsmCgroup(program)) = program else {
        return Err("the BPF object has none".to_owned());
    };
    let btf = Btf::from_sys_fs().map_err(|error| chain(&error))?;
    program
        .load("socket_create", &btf)
        .map_err(|error| match error {
            aya::programs::ProgramError::LoadError {
                io_error,
                verifier_log,
            } => {
                let log = verifier_log.to_string();
                let objection = objection(&log).map(|objection| format!(": {objection}"));
                format!("{io_error}{}", objection.unwrap_or_default())
            }
            other => chain(&other),
        })
}

/// What the verifier says last, before it counts its work.
fn objection(log: &str) -> Option<&str> {
    let counts = ["processed ", "verification time ", "stack depth "];
    let mut lines = log.lines().rev();
    lines.find(|line| !line.is_empty() && !counts.iter().any(|start| line.starts_with(start)))
}

impl Programs {
    /// Puts it on a cgroup as long as the link lives. `None`: this kernel does not take it.
    pub(super) fn try_families(&self, cgroup: &Cgroup) -> Result<Option<CgroupLink>, LinkError> {
        if self.families().is_err() {
            return Ok(None);
        }
        let failed = |source| LinkError::Attach {
            program: PROGRAM,
            source,
        };
        let program = self.program_named(PROGRAM).map_err(failed)?;
        let target = cgroup.open()?;
        CgroupLink::create(program, target.as_fd(), AttachType::LsmCgroup)
            .map(Some)
            .map_err(failed)
    }

    /// Puts it on a sandbox's cgroup and pins it, or puts this release's in its place.
    pub(super) fn watch_families(&self, id: SandboxId, cgroup: &Cgroup) -> Result<(), LinkError> {
        let (Ok(()), Some(pin)) = (self.families(), self.family_pin(id)) else {
            return Ok(());
        };
        let failed = |source| LinkError::Attach {
            program: PROGRAM,
            source,
        };
        let program = self.program_named(PROGRAM).map_err(failed)?;
        match CgroupLink::open(&pin) {
            Ok(link) if link.cgroup().map_err(failed)?.is_some() => {
                link.update(program).map_err(failed)
            }
            Ok(_ended) => {
                fs::remove_file(&pin).map_err(failed)?;
                self.put_on_families(&pin, cgroup)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.put_on_families(&pin, cgroup)
            }
            Err(source) => Err(LinkError::Pin { path: pin, source }),
        }
    }

    /// Whether it is on a sandbox's cgroup, or this kernel does not take it.
    pub(super) fn watches_families(&self, id: SandboxId) -> bool {
        let (Ok(()), Some(pin)) = (self.families(), self.family_pin(id)) else {
            return true;
        };
        match CgroupLink::open(&pin).and_then(|link| link.cgroup()) {
            Ok(cgroup) => cgroup.is_some(),
            // With no descriptor free nothing is known of it.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn put_on_families(&self, pin: &std::path::Path, cgroup: &Cgroup) -> Result<(), LinkError> {
        match self.try_families(cgroup)? {
            Some(link) => link.pin(pin).map_err(|source| LinkError::Attach {
                program: PROGRAM,
                source,
            }),
            None => Ok(()),
        }
    }

    /// Takes it off again.
    pub(super) fn unwatch_families(&self, id: SandboxId) -> Result<(), LinkError> {
        let Some(pin) = self.family_pin(id) else {
            return Ok(());
        };
        let failed = |source| LinkError::Detach {
            program: PROGRAM,
            source,
        };
        match CgroupLink::open(&pin) {
            Ok(link) => {
                link.detach().map_err(failed)?;
                fs::remove_file(&pin).map_err(failed)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(failed(source)),
        }
    }

    fn family_pin(&self, id: SandboxId) -> Option<PathBuf> {
        Some(self.pins()?.sandbox(id).join(PROGRAM))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_verifiers_log_the_objection_is_told() {
        let log = "0: (bf) r6 = r1\ninvalid bpf_context access off=4 size=8\nprocessed 5 insns\n\n";
        assert_eq!(
            objection(log),
            Some("invalid bpf_context access off=4 size=8")
        );
        assert_eq!(objection("processed 5 insns\n"), None);
    }
}

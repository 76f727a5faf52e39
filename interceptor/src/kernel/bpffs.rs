//! The BPF file system, in which links and maps outlive the daemon.
//!
//! `<bpf-dir>/v<ABI version>/maps/<NAME>` and `<bpf-dir>/v<ABI version>/sandboxes/<id>/<program>`.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use interceptor_ebpf::VERSION;
use rustix::{
    fs::{FlockOperation, flock, statfs},
    io::Errno,
    mount::{MountFlags, mount},
};

use crate::address::SandboxId;

/// Where it is mounted on every system that mounts it.
const MOUNT_POINT: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` in linux/magic.h.
const MAGIC: u64 = 0xcafe_4a11;

/// Why the pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinsError {
    #[error("{0} is not inside a mounted BPF file system: choose --bpf-dir under {MOUNT_POINT}")]
    NotBpffs(PathBuf),
    #[error("cannot mount the BPF file system at {MOUNT_POINT}")]
    Mount(#[source] io::Error),
    #[error("cannot use {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{path} holds sandboxes attached by another release (pins of version {found}, this one has {VERSION}): \
         detach them with that release, or remove the directory, which opens them"
    )]
    OtherVersion { path: PathBuf, found: String },
    #[error("another daemon holds {0}: stop it first, or choose another --bpf-dir")]
    Held(PathBuf),
    #[error("the daemon to take over from has its pins elsewhere than in {0}: give its --bpf-dir")]
    Elsewhere(PathBuf),
}

/// The directory of one daemon's pins, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct Pins {
    root: PathBuf,
    lock: File,
}

impl Pins {
    /// Makes the directories where they are missing, and mounts the file system where nothing is.
    pub(super) fn open(bpf_dir: &Path) -> Result<Self, PinsError> {
        let root = prepare(bpf_dir)?;
        let lock = File::open(&root).map_err(failed(&root))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root, lock }),
            Err(Errno::WOULDBLOCK) => Err(PinsError::Held(root)),
            Err(error) => Err(failed(&root)(error.into())),
        }
    }

    /// The same with the lock that another daemon shares: [`Self::lock`].
    pub(super) fn share(bpf_dir: &Path, lock: OwnedFd) -> Result<Self, PinsError> {
        let root = prepare(bpf_dir)?;
        let lock = File::from(lock);
        let place = |found: fs::Metadata| (found.dev(), found.ino());
        let locked = lock.metadata().map(place).map_err(failed(&root))?;
        if fs::metadata(&root).map(place).map_err(failed(&root))? != locked {
            return Err(PinsError::Elsewhere(root));
        }
        Ok(Self { root, lock })
    }

    /// What holds the directory, in whatever process it is.
    pub(super) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    pub(super) fn maps(&self) -> PathBuf {
        maps_in(&self.root)
    }

    /// Made when the first device is fenced.
    pub(super) fn devices(&self) -> PathBuf {
        self.root.join("devices")
    }

    pub(super) fn sandbox(&self, id: SandboxId) -> PathBuf {
        self.root.join("sandboxes").join(id.to_string())
    }

    /// Sandboxes that have pins.
    pub(super) fn sandboxes(&self) -> Result<Vec<SandboxId>, PinsError> {
        let directory = self.root.join("sandboxes");
        let names = names(&directory).map_err(failed(&directory))?;
        Ok(names
            .iter()
            .filter_map(|name| name.parse().ok().map(SandboxId))
            .collect())
    }
}

pub(super) fn versioned(bpf_dir: &Path) -> PathBuf {
    bpf_dir.join(format!("v{VERSION}"))
}

pub(super) fn maps_in(root: &Path) -> PathBuf {
    root.join("maps")
}

fn prepare(bpf_dir: &Path) -> Result<PathBuf, PinsError> {
    ensure_mounted(bpf_dir)?;
    refuse_other_versions(bpf_dir)?;
    let root = versioned(bpf_dir);
    for directory in [maps_in(&root), root.join("sandboxes")] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed(&directory))?;
    }
    Ok(root)
}

fn ensure_mounted(bpf_dir: &Path) -> Result<(), PinsError> {
    if is_bpffs(bpf_dir) {
        return Ok(());
    }
    let mount_point = Path::new(MOUNT_POINT);
    if !bpf_dir.starts_with(mount_point) {
        return Err(PinsError::NotBpffs(bpf_dir.to_owned()));
    }
    // Two daemons that start at once must not mount one file system over the other: whoever waited for the lock
    // on the directory below finds it done.
    let below = File::open(mount_point).map_err(PinsError::Mount)?;
    flock(&below, FlockOperation::LockExclusive).map_err(|e| PinsError::Mount(e.into()))?;
    if is_bpffs(mount_point) {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", mount_point, "bpf", flags, c"mode=700").map_err(|e| PinsError::Mount(e.into()))?;
    tracing::info!(path = MOUNT_POINT, "mounted the BPF file system");
    Ok(())
}

/// Whether a path is, or would be made, on a BPF file system.
fn is_bpffs(path: &Path) -> bool {
    path.ancestors()
        .find_map(|existing| statfs(existing).ok())
        .is_some_and(|found| u64::try_from(found.f_type).ok() == Some(MAGIC))
}

fn refuse_other_versions(bpf_dir: &Path) -> Result<(), PinsError> {
    for name in names(bpf_dir).unwrap_or_default() {
        let Some(version) = name.strip_prefix('v') else {
            continue;
        };
        let sandboxes = bpf_dir.join(&name).join("sandboxes");
        let in_use = names(&sandboxes).is_ok_and(|pinned| !pinned.is_empty());
        if version != VERSION.to_string() && in_use {
            return Err(PinsError::OtherVersion {
                path: bpf_dir.join(&name),
                found: version.to_owned(),
            });
        }
    }
    Ok(())
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> PinsError {
    let path = path.to_owned();
    move |source| PinsError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::fixtures::ScratchPins;

    #[test]
    fn kernel_one_daemon_holds_a_directory_of_pins() {
        let scratch = ScratchPins::new("lock");
        let pins = Pins::open(scratch.path()).unwrap();
        assert!(matches!(
            Pins::open(scratch.path()),
            Err(PinsError::Held(_))
        ));
        drop(pins);
        Pins::open(scratch.path()).unwrap();
    }

    #[test]
    fn kernel_a_shared_lock_holds_until_the_last_daemon_lets_go_of_it() {
        let scratch = ScratchPins::new("shared");
        let first = Pins::open(scratch.path()).unwrap();
        let lock = first.lock().try_clone_to_owned().unwrap();
        let second = Pins::share(scratch.path(), lock).unwrap();
        drop(first);
        assert!(matches!(
            Pins::open(scratch.path()),
            Err(PinsError::Held(_))
        ));
        drop(second);
        Pins::open(scratch.path()).unwrap();
    }

    #[test]
    fn kernel_the_lock_of_another_directory_is_no_lock() {
        let (here, elsewhere) = (ScratchPins::new("here"), ScratchPins::new("elsewhere"));
        let pins = Pins::open(elsewhere.path()).unwrap();
        let lock = pins.lock().try_clone_to_owned().unwrap();
        assert!(matches!(
            Pins::share(here.path(), lock),
            Err(PinsError::Elsewhere(_))
        ));
    }

    #[test]
    fn kernel_sandboxes_of_another_version_are_refused() {
        let scratch = ScratchPins::new("version");
        drop(Pins::open(scratch.path()).unwrap());
        fs::create_dir_all(scratch.path().join("v0/sandboxes")).unwrap();
        drop(Pins::open(scratch.path()).unwrap());
        fs::create_dir(scratch.path().join("v0/sandboxes/7")).unwrap();
        let error = Pins::open(scratch.path()).unwrap_err();
        assert!(
            error.to_string().contains("detach them with that release"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_elsewhere_is_refused() {
        assert!(matches!(
            Pins::open(Path::new("/tmp/pins")),
            Err(PinsError::NotBpffs(_))
        ));
    }
}

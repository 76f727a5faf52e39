//! The fence on the devices of a network namespace: on those that are there, and on those that come.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::io::{Interest, unix::AsyncFd};

use super::{
    bpf::CgroupLink,
    maps::locked,
    netns::{Netns, NetnsError},
    programs::Programs,
    rtnetlink::{self, Change},
};
use crate::address::NetnsCookie;

/// Its name in the object.
pub(super) const PROGRAM: &str = "device_egress";
/// The loopback device has this index in every network namespace (`LOOPBACK_IFINDEX`), and its traffic stays.
const LO: u32 = 1;
/// For the kernel to list a namespace's devices.
const DEADLINE: Duration = Duration::from_secs(2);

/// Why devices are not fenced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevicesError {
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error("cannot watch the devices of the network namespace")]
    Watch(#[source] io::Error),
    #[error("the kernel takes no program on devices (needs Linux 6.6)")]
    Attach(#[source] io::Error),
    #[error("cannot use {path}")]
    Pin {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The fence of one namespace. It stands by its pins: this only looks after devices that come.
pub(crate) struct DeviceFence {
    fence: Arc<Fence>,
    changes: AsyncFd<OwnedFd>,
}

struct Fence {
    programs: Arc<Programs>,
    netns: Netns,
    fenced: Mutex<BTreeSet<u32>>,
}

impl Programs {
    /// Fences all devices of a namespace but lo. To be called inside a runtime.
    pub(crate) fn fence_devices(
        self: &Arc<Self>,
        netns: Netns,
    ) -> Result<Option<DeviceFence>, DevicesError> {
        if self.pins().is_none() {
            return Ok(None);
        }
        let socket = netns
            .within(rtnetlink::open)?
            .map_err(DevicesError::Watch)?;
        let fence = Fence {
            programs: Arc::clone(self),
            netns,
            fenced: Mutex::default(),
        };
        fence.fence_present(&socket)?;
        // SAFETY: the descriptor is owned, and always names the same socket.
        let changes = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Some(DeviceFence {
            fence: Arc::new(fence),
            changes: changes.map_err(|error| DevicesError::Watch(error.into()))?,
        }))
    }

    /// Takes the fence off the devices of the namespaces that `gone` names, and forgets devices that are gone.
    pub(crate) fn unfence_devices(&self, gone: impl Fn(NetnsCookie) -> bool) {
        let Some(directory) = self.pins().map(|pins| pins.devices()) else {
            return;
        };
        // None: no device was ever fenced.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(cookie) = name.to_str().and_then(cookie_of) else {
                continue;
            };
            let removed = remove_pin(&entry.path(), gone(cookie));
            if let Err(error) = removed {
                tracing::error!(netns = %cookie, %error, "cannot take the fence off a device");
            }
        }
    }
}

impl DeviceFence {
    /// Fences devices that come, until it is dropped.
    pub(crate) async fn watch(self) {
        let Self { fence, changes } = self;
        loop {
            let Ok(mut ready) = changes.readable().await else {
                return;
            };
            let Ok(found) = ready.try_io(|socket| rtnetlink::changes(socket.get_ref())) else {
                continue;
            };
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(netns = %fence.netns.cookie(), %error, "lost count of a network namespace's devices: looking again");
                    if let Err(error) = rtnetlink::list(changes.get_ref()) {
                        tracing::error!(netns = %fence.netns.cookie(), %error, "cannot watch a network namespace's devices any more");
                        return;
                    }
                    continue;
                }
            };
            let fence = Arc::clone(&fence);
            let applied = tokio::task::spawn_blocking(move || {
                for change in found {
                    if let Err(error) = fence.apply(change) {
                        let netns = fence.netns.cookie();
                        let error = crate::error::chain(&error);
                        tracing::error!(%netns, ?change, error, "a device is not fenced");
                    }
                }
            });
            if applied.await.is_err() {
                return;
            }
        }
    }
}

impl Fence {
    fn fence_present(&self, socket: &OwnedFd) -> Result<(), DevicesError> {
        rtnetlink::list(socket).map_err(DevicesError::Watch)?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            match rtnetlink::changes(socket) {
                Ok(found) => {
                    for change in &found {
                        self.apply(*change)?;
                    }
                    // What is left after that the watcher does, while nobody waits for it.
                    if found.contains(&Change::Listed) || Instant::now() > deadline {
                        return Ok(());
                    }
                }
                // The list comes with the call that asks for it, as far as the socket's buffer holds it.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(DevicesError::Watch(error)),
            }
        }
    }

    fn apply(&self, change: Change) -> Result<(), DevicesError> {
        match change {
            Change::Present(LO) | Change::Listed => Ok(()),
            Change::Present(index) => {
                if !locked(&self.fenced).contains(&index) {
                    match self.close(index) {
                        Ok(()) => {
                            locked(&self.fenced).insert(index);
                        }
                        // It went while it was being listed.
                        Err(DevicesError::Attach(error))
                            if error.raw_os_error() == Some(libc::ENODEV) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
            Change::Gone(index) => {
                locked(&self.fenced).remove(&index);
                let (path, _) = self.pin(index);
                remove_pin(&path, true).map_err(|source| DevicesError::Pin { path, source })
            }
        }
    }

    /// Puts the program on a device, or this release's in the place of what an earlier daemon has left there.
    fn close(&self, index: u32) -> Result<(), DevicesError> {
        let (path, directory) = self.pin(index);
        let failed = |source| DevicesError::Pin {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(directory).map_err(failed)?;
        let program = self
            .programs
            .program_named(PROGRAM)
            .map_err(DevicesError::Attach)?;
        match CgroupLink::open(&path) {
            Ok(link) if link.device().map_err(failed)? == Some(index) => {
                return link.update(program).map_err(failed);
            }
            Ok(_ended) => fs::remove_file(&path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // The kernel looks for the device in the caller's namespace.
        let link = self
            .netns
            .within(|| CgroupLink::create_on_device(program, index))?
            .map_err(DevicesError::Attach)?;
        link.pin(&path).map_err(failed)
    }

    fn pin(&self, index: u32) -> (PathBuf, PathBuf) {
        let pins = self.programs.pins();
        let directory = pins.map(|pins| pins.devices()).unwrap_or_default();
        let name = format!("{}-{index}", self.netns.cookie());
        (directory.join(name), directory)
    }
}

/// `4097-2`: device 2 of the namespace with cookie 4097.
fn cookie_of(name: &str) -> Option<NetnsCookie> {
    let (cookie, _) = name.split_once('-')?;
    cookie.parse().ok().map(NetnsCookie)
}

/// Takes a program off its device if it shall, and removes the pin if it is on none any more.
fn remove_pin(path: &Path, off: bool) -> io::Result<()> {
    let link = match CgroupLink::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        link => link?,
    };
    if link.device()?.is_some() {
        if !off {
            return Ok(());
        }
        link.detach()?;
    }
    fs::remove_file(path)
}

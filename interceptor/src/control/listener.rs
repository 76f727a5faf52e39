//! The socket, made so that nobody but root can reach it at any moment, and only once per run directory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{FlockOperation, Mode, fchmod, flock},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with},
};

use super::{draining, socket_path};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// The bound control socket. Dropping it removes the socket.
#[derive(Debug)]
pub(crate) struct ControlListener {
    listener: UnixListener,
    /// `None`: it is another daemon's by now.
    path: Option<PathBuf>,
    /// Held as long as the daemon lives: closes the gap between looking for another daemon and binding. `None` in a
    /// daemon that another one has taken over from.
    lock: Option<File>,
}

/// What makes the control socket another daemon's as well.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) listener: OwnedFd,
    pub(crate) lock: OwnedFd,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error(
        "another interceptor is running on {}: stop it, take over from it with --takeover, or use another --run-dir, --bpf-dir \
         and --data-dir", .0.display()
    )]
    Running(PathBuf),
    #[error("cannot make the run directory {}", .path.display())]
    RunDirectory { path: PathBuf, source: io::Error },
    #[error(
        "the run directory {} is writable by others, who could replace the control socket: chmod 755", .0.display()
    )]
    Writable(PathBuf),
    #[error("the run directory {} belongs to user {owner}: chown it to root", .path.display())]
    Owner { path: PathBuf, owner: u32 },
    #[error("{} is in the way and is not a socket: move it", .0.display())]
    NotASocket(PathBuf),
    #[error("cannot lock {}", .path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot make the control socket {}", .path.display())]
    Socket { path: PathBuf, source: io::Error },
}

impl ControlListener {
    /// Makes `run_dir` (0755) where it is missing, and binds `control.sock` (0600) in it. A socket that nobody
    /// answers on is replaced.
    pub(crate) fn bind(run_dir: &Path) -> Result<Self, BindError> {
        prepare(run_dir)?;
        let lock = lock(run_dir)?;
        let path = socket_path(run_dir);
        clear(&path)?;
        let listener = bind_at(&path)?;
        Ok(Self {
            listener,
            path: Some(path),
            lock: Some(lock),
        })
    }

    /// Binds the socket of a daemon that only finishes what it has, beside the one that runs.
    pub(crate) fn bind_draining(run_dir: &Path) -> Result<Self, BindError> {
        let directory = draining(run_dir);
        prepare(&directory)?;
        // A number alone may be given twice, in two namespaces.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let path = directory.join(format!("{}-{now}.sock", std::process::id()));
        clear(&path)?;
        let listener = bind_at(&path)?;
        Ok(Self {
            listener,
            path: Some(path),
            lock: None,
        })
    }

    /// That of the daemon to take over from, still in its place when this is dropped, until [`Self::keep`].
    pub(crate) fn inherit(shared: Shared) -> Self {
        Self {
            listener: shared.listener.into(),
            path: None,
            lock: Some(shared.lock.into()),
        }
    }

    /// It is this daemon's alone from now on. A daemon that was told to end over it has removed it: it is made anew.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn keep(&mut self, run_dir: &Path) -> Result<(), BindError> {
        let path = socket_path(run_dir);
        if !path.exists() {
            self.listener = bind_at(&path)?;
        }
        self.path = Some(path);
        Ok(())
    }

    pub(crate) fn share(&self) -> io::Result<Shared> {
        let lock = self.lock.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok(Shared {
            listener: self.listener.as_fd().try_clone_to_owned()?,
            lock: lock.as_fd().try_clone_to_owned()?,
        })
    }

    /// Lets go of the socket and leaves it in its place: it is another daemon's.
    pub(super) fn leave(mut self) {
        self.path = None;
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        let Some(path) = &self.path else {
            return;
        };
        if let Err(error) = fs::remove_file(path) {
            tracing::debug!(path = %path.display(), %error, "control socket stays behind");
        }
    }
}

fn prepare(run_dir: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::RunDirectory {
        path: run_dir.to_owned(),
        source,
    };
    if !run_dir.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(run_dir)
            .map_err(failed)?;
        // The umask may have taken bits away: sandboxes read the CA bundle here.
        fs::set_permissions(run_dir, Permissions::from_mode(0o755)).map_err(failed)?;
    }
    let metadata = fs::metadata(run_dir).map_err(failed)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(BindError::Owner {
            path: run_dir.to_owned(),
            owner: metadata.uid(),
        });
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(BindError::Writable(run_dir.to_owned()));
    }
    Ok(())
}

fn bind_at(path: &Path) -> Result<UnixListener, BindError> {
    match bind_private(path, SocketType::STREAM) {
        Ok(socket) => Ok(socket.into()),
        Err(errno) => Err(BindError::Socket {
            path: path.to_owned(),
            source: errno.into(),
        }),
    }
}

fn lock(run_dir: &Path) -> Result<File, BindError> {
    let path = run_dir.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| BindError::Lock {
            path: path.clone(),
            source,
        })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(BindError::Running(run_dir.to_owned())),
        Err(errno) => Err(BindError::Lock {
            path,
            source: errno.into(),
        }),
    }
}

/// Removes a socket that a dead daemon left.
fn clear(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Socket {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::Running(path.parent().unwrap_or(path).to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Binds with mode 0600 from the first moment on. bind(2) gives the file the mode of the socket's own inode, less the
/// umask (net/unix/af_unix.c, `unix_bind_bsd`), so there is no window as with chmod afterwards, and no umask to change
/// for all threads.
pub(crate) fn bind_private(path: &Path, kind: SocketType) -> Result<OwnedFd, Errno> {
    let socket = socket_with(
        AddressFamily::UNIX,
        kind,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

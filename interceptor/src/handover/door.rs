//! Where a daemon waits for the one that takes over from it.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixListener as Socket,
    },
    path::{Path, PathBuf},
};

use rustix::net::SocketType;
use tokio::net::UnixListener;

use super::{Channel, HandoverError};
use crate::control::listener::bind_private;

pub(super) fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("handover.sock")
}

/// The bound socket. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    /// `None`: it is another daemon's by now.
    path: Option<PathBuf>,
}

impl Door {
    /// To be called by whoever holds the run directory: one that a dead daemon left is replaced.
    pub(crate) fn bind(run_dir: &Path) -> Result<Self, HandoverError> {
        let path = path(run_dir);
        let bound = || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            UnixListener::from_std(bind_private(&path, SocketType::SEQPACKET)?.into())
        };
        match bound() {
            Ok(listener) => Ok(Self {
                listener,
                path: Some(path),
            }),
            Err(source) => Err(HandoverError::Bind { path, source }),
        }
    }

    /// That of the daemon to take over from, still in its place when this is dropped, until [`Self::keep`].
    pub(crate) fn inherit(listener: OwnedFd) -> Result<Self, HandoverError> {
        Ok(Self {
            listener: UnixListener::from_std(Socket::from(listener))
                .map_err(HandoverError::Socket)?,
            path: None,
        })
    }

    /// It is this daemon's alone from now on. A daemon that was told to end over it has removed it: it is made anew.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn keep(&mut self, run_dir: &Path) -> Result<(), HandoverError> {
        let path = path(run_dir);
        if path.exists() {
            self.path = Some(path);
        } else {
            *self = Self::bind(run_dir)?;
        }
        Ok(())
    }

    /// Waits for a daemon that wants to take over, or for whoever connects. Cancel-safe.
    pub(crate) async fn accept(&self) -> Result<Channel, HandoverError> {
        let (socket, _) = self
            .listener
            .accept()
            .await
            .map_err(HandoverError::Socket)?;
        Ok(Channel::over(socket))
    }

    /// Leaves the socket in its place: it is another daemon's.
    pub(crate) fn leave(mut self) {
        self.path = None;
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let Some(path) = &self.path else {
            return;
        };
        if let Err(error) = fs::remove_file(path) {
            tracing::debug!(path = %path.display(), %error, "handover socket stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_door_that_was_handed_over_is_made_anew_where_it_has_been_removed() {
        let run_dir = tempfile::tempdir().unwrap();
        for told_to_end in [false, true] {
            let earlier = Door::bind(run_dir.path()).unwrap();
            let shared = earlier.as_fd().try_clone_to_owned().unwrap();
            let mut heir = Door::inherit(shared).unwrap();
            if told_to_end {
                drop(earlier);
            } else {
                earlier.leave();
            }
            heir.keep(run_dir.path()).unwrap();
            let other = Channel::open(run_dir.path()).unwrap();
            assert!(other.is_some());
            heir.accept().await.unwrap();
            drop(heir);
            assert!(Channel::open(run_dir.path()).unwrap().is_none());
        }
    }
}

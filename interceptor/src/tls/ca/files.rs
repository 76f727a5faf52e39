//! Files that are there as a whole or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};
use zeroize::Zeroizing;

/// For another process to finish making its authority, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// A PEM file larger than this is none of ours.
const LIMIT: u64 = 64 * 1024;

/// Makes `directory` (mode 0700) where it is missing, and locks out other processes until the lock is dropped.
pub(super) fn lock(directory: &Path) -> io::Result<File> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let lock = File::open(directory)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(Errno::WOULDBLOCK) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another process has it locked",
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A file of mode 0600. What stands at `path` is not replaced.
///
/// To be called under `lock`: it is the lock that keeps another process from writing there in between.
pub(super) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    write(path, bytes, 0o600)
}

/// A file of mode 0644, whatever the umask. Replaces what stands at `path`, in one step.
pub(super) fn write_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, 0o644)
}

/// The text of a file, and its mode.
pub(super) fn read_secret(path: &Path) -> io::Result<(Zeroizing<String>, u32)> {
    // Without O_NONBLOCK the open of a FIFO waits for a writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mode = metadata.mode() & 0o777;
    let mut text = Zeroizing::new(String::new());
    file.take(LIMIT).read_to_string(&mut text)?;
    Ok((text, mode))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let unfinished = unfinished(path)?;
    // Left by a process that had our number and died here.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    // O_EXCL: not through a link that somebody else has put there, and never with another mode than ours.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&unfinished)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(directory)?.sync_all()
}

/// A name beside `path`, on the same file system, that no other thread of any process writes to.
fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut name = name.to_os_string();
    name.push(format!(".{}", rustix::thread::gettid().as_raw_nonzero()));
    Ok(path.with_file_name(name))
}

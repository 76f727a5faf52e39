//! Small files, read whole and with a bound. What was read is wiped when it goes: it may be a secret.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use zeroize::Zeroizing;

/// A file's bytes and who may read it.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// Anybody but the owner may read the file: a mode bit of group or others is set.
    pub(crate) readable_by_others: bool,
}

/// Worded to follow the file's name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("cannot be read")]
    Io(#[from] io::Error),
    #[error("is not a regular file")]
    NotRegular,
    #[error("is larger than {0} bytes")]
    TooLarge(usize),
    #[error(
        "was written while it was read: try again (whoever writes beside it and renames is never seen half way)"
    )]
    Written,
}

/// Reads a regular file of at most `limit` bytes. Never waits: a FIFO or a device is refused.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Contents, ReadError> {
    // Without O_NONBLOCK the open of a FIFO waits for a writer.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::NotRegular);
    }
    let size = usize::try_from(metadata.len())
        .ok()
        .filter(|size| *size <= limit)
        .ok_or(ReadError::TooLarge(limit))?;
    // One buffer that is never reallocated, so that no copy of a secret is left behind on the heap. Its last byte stays
    // free unless the file grows.
    let mut buffer = Zeroizing::new(vec![0; size + 1]);
    let mut filled = 0;
    while let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) {
        match file.read(space) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let after = file.metadata()?;
    let same = after.len() == metadata.len() && after.modified()? == metadata.modified()?;
    if filled != size || !same {
        return Err(ReadError::Written);
    }
    Ok(Contents {
        bytes: Zeroizing::new(buffer.get(..filled).unwrap_or_default().to_vec()),
        readable_by_others: metadata.permissions().mode() & 0o044 != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_inclusive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"four").unwrap();
        assert_eq!(**read(&path, 4).unwrap().bytes, *b"four");
        assert!(matches!(read(&path, 3), Err(ReadError::TooLarge(3))));
    }

    #[test]
    fn fifo_and_folder_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert!(matches!(read(&fifo, 9), Err(ReadError::NotRegular)));
        assert!(matches!(read(folder.path(), 9), Err(ReadError::NotRegular)));
        assert!(matches!(
            read(Path::new("/dev/zero"), 9),
            Err(ReadError::NotRegular)
        ));
    }

    #[test]
    fn a_file_that_has_become_shorter_is_not_taken_for_the_whole() {
        // The kernel gives each of these the length of a page, and ends it sooner.
        let short = Path::new("/sys/kernel/uevent_seqnum");
        assert!(matches!(read(short, 1 << 20), Err(ReadError::Written)));
    }

    #[test]
    fn group_and_world_readable_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"x").unwrap();
        for (mode, told) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path, 1).unwrap().readable_by_others, told, "{mode:o}");
        }
    }
}

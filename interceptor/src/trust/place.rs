//! Known places of bundles, and how one is changed.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::SystemTime,
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fchmod, fstat, fsync, openat,
        openat2, renameat, statat, unlinkat,
    },
    io::Errno,
};

use super::{Became, Change, Refusal, bundle};

/// Bytes of a bundle. Those of distributions have a quarter of a million.
pub(super) const MAX_BUNDLE: u64 = 4 << 20;

/// How often something may change under our hands before we give up.
const ATTEMPTS: usize = 8;

/// A file relative to a container's root.
#[derive(Debug)]
pub(super) struct Place {
    above: &'static str,
    directory: &'static str,
    name: &'static str,
    /// Made for certificates to be put in, and so perhaps a volume: may be a mount of its own.
    volume: bool,
}

const fn system(above: &'static str, directory: &'static str, name: &'static str) -> Place {
    Place {
        above,
        directory,
        name,
        volume: false,
    }
}

const fn openshell(name: &'static str) -> Place {
    Place {
        above: "etc",
        directory: "openshell-tls",
        name,
        volume: true,
    }
}

pub(super) const PLACES: [Place; 7] = [
    // Debian, Ubuntu, Alpine, Arch.
    system("etc/ssl", "certs", "ca-certificates.crt"),
    // Alpine and distroless, where it is no link to the one above.
    system("etc", "ssl", "cert.pem"),
    // RHEL, Fedora, and what others link to them.
    system("etc/pki/ca-trust/extracted", "pem", "tls-ca-bundle.pem"),
    system("etc/pki/tls", "certs", "ca-bundle.crt"),
    // SUSE.
    system("var/lib", "ca-certificates", "ca-bundle.pem"),
    // What OpenShell names in `NODE_EXTRA_CA_CERTS`, and in `SSL_CERT_FILE` and the like.
    openshell("openshell-ca.pem"),
    openshell("ca-bundle.pem"),
];

/// Why an attempt came to nothing.
enum Stop {
    Absent,
    Link,
    /// Somebody moved something: another attempt may do.
    Moved,
    Refused(Refusal),
}

impl Place {
    pub(super) fn path(&self) -> String {
        format!("/{}/{}/{}", self.above, self.directory, self.name)
    }

    /// `None`: there is nothing.
    pub(super) fn change(
        &self,
        root: BorrowedFd<'_>,
        owner: (u32, u32),
        change: Change<'_>,
    ) -> Option<Became> {
        for _ in 0..ATTEMPTS {
            let stopped = match self.attempt(root, owner, change) {
                Ok(became) => return Some(became),
                Err(stopped) => stopped,
            };
            match stopped {
                Stop::Absent => return None,
                Stop::Link => return Some(Became::Link),
                Stop::Refused(refusal) => return Some(Became::Refused(refusal)),
                Stop::Moved => {}
            }
        }
        Some(Became::Refused(Refusal::Changing))
    }

    fn attempt(
        &self,
        root: BorrowedFd<'_>,
        owner: (u32, u32),
        change: Change<'_>,
    ) -> Result<Became, Stop> {
        let directory = self.open_directory(root)?;
        let (text, found) = self.read(directory.as_fd(), owner)?;
        owned(&fstat(&directory)?, owner)?;
        let wanted = match change {
            Change::Install(_) if !holds_certificates(&text) => {
                return Err(Stop::Refused(Refusal::NoCertificates));
            }
            Change::Install(anchor) => bundle::with(&text, anchor),
            Change::Uninstall => bundle::without(&text),
        };
        match wanted {
            None => Ok(Became::Unchanged),
            Some(wanted) => {
                self.replace(directory.as_fd(), &found, &wanted)?;
                Ok(Became::Changed)
            }
        }
    }

    fn open_directory(&self, root: BorrowedFd<'_>) -> Result<OwnedFd, Stop> {
        let open = |at: BorrowedFd<'_>, path: &str, how| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat2(at, path, flags, Mode::empty(), how)
        };
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        if self.volume {
            let above = open(root, self.above, inside)?;
            let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            return Ok(open(above.as_fd(), self.directory, how)?);
        }
        let path = format!("{}/{}", self.above, self.directory);
        Ok(open(root, &path, inside)?)
    }

    /// The bundle's text, and which file it is.
    fn read(&self, directory: BorrowedFd<'_>, owner: (u32, u32)) -> Result<(Vec<u8>, Stat), Stop> {
        // Not opened yet: opening a FIFO waits, opening a device does what it does.
        let found = openat2(
            directory,
            self.name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS,
        )?;
        let stat = fstat(&found)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(Stop::Link),
            _ => return Err(Stop::Refused(Refusal::NotRegular)),
        }
        owned(&stat, owner)?;
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut text = Vec::new();
        File::from(file)
            .take(MAX_BUNDLE + 1)
            .read_to_end(&mut text)
            .map_err(|error| Stop::Refused(error.into()))?;
        if text.len() as u64 > MAX_BUNDLE {
            return Err(Stop::Refused(Refusal::TooLarge));
        }
        Ok((text, stat))
    }

    /// Puts a file in the place of the one that was found, if that is still there as it was.
    fn replace(&self, directory: BorrowedFd<'_>, found: &Stat, text: &[u8]) -> Result<(), Stop> {
        let name = unfinished();
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(directory, &name, flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) => return Err(Stop::Moved),
            opened => File::from(opened?),
        };
        let written = self.finish(directory, &name, file, found, text);
        if written.is_err() {
            // Where even that fails there is nobody to tell, and the reason is told already.
            unlinkat(directory, &name, AtFlags::empty()).unwrap_or_default();
        }
        written
    }

    fn finish(
        &self,
        directory: BorrowedFd<'_>,
        name: &str,
        mut file: File,
        found: &Stat,
        text: &[u8],
    ) -> Result<(), Stop> {
        file.write_all(text)
            .map_err(|error| Stop::Refused(error.into()))?;
        fchmod(&file, Mode::from_raw_mode(found.st_mode & 0o777))?;
        fsync(&file)?;
        // Of either name, "not there" is somebody's doing.
        let moved = |errno| match errno {
            Errno::NOENT => Stop::Moved,
            errno => errno.into(),
        };
        let now = statat(directory, self.name, AtFlags::SYMLINK_NOFOLLOW).map_err(moved)?;
        let same = |one: &Stat| {
            (
                one.st_dev,
                one.st_ino,
                one.st_size,
                one.st_ctime,
                one.st_ctime_nsec,
            )
        };
        if same(&now) != same(found) {
            return Err(Stop::Moved);
        }
        renameat(directory, name, directory, self.name).map_err(moved)
    }
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Absent,
            // The first is openat2's word for a race with a rename.
            Errno::AGAIN | Errno::STALE => Self::Moved,
            Errno::XDEV | Errno::BUSY => Self::Refused(Refusal::Mounted),
            Errno::ROFS => Self::Refused(Refusal::ReadOnly),
            Errno::LOOP => Self::Link,
            errno => Self::Refused(io::Error::from(errno).into()),
        }
    }
}

fn owned(stat: &Stat, owner: (u32, u32)) -> Result<(), Stop> {
    if (stat.st_uid, stat.st_gid) == owner {
        Ok(())
    } else {
        Err(Stop::Refused(Refusal::Owner))
    }
}

fn holds_certificates(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"-----BEGIN CERTIFICATE-----").is_some()
}

/// A name that nobody has yet; whoever guesses it has us try again.
fn unfinished() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let thread = rustix::thread::gettid().as_raw_nonzero();
    format!(
        ".interceptor-{thread}-{}",
        now.unwrap_or_default().as_nanos()
    )
}

//! Events as lines of JSON in a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use super::events::Event;

/// Bytes of a file before another one is begun; the one before it is kept as `.1`.
const LIMIT: u64 = 64 << 20;
/// Events that wait to be written: until they settle, or for a slow disk. More are lost.
const WAITING: usize = 8192;
/// For what waits when the journal is closed.
const FLUSH: Duration = Duration::from_secs(2);

/// Writes events to a file, on a thread of its own: whoever records one never waits for a disk.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// `None` once it is closed.
    events: Mutex<Option<SyncSender<Arc<Event>>>>,
    lost: Arc<AtomicU64>,
    closing: Arc<AtomicBool>,
    thread: Thread,
    closed: Mutex<Receiver<()>>,
}

impl Journal {
    /// `lost` counts lines that did not get into the file.
    ///
    /// # Errors
    /// The file cannot be opened or made.
    pub(super) fn open(path: &Path, lost: Arc<AtomicU64>) -> io::Result<Self> {
        let file = LineFile::open(path, LIMIT)?;
        let (events, received) = sync_channel(WAITING);
        let (close, closed) = sync_channel(0);
        let closing = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            file,
            lost: Arc::clone(&lost),
            closing: Arc::clone(&closing),
            failing: false,
        };
        let handle = thread::Builder::new()
            .name("events".into())
            .spawn(move || {
                writer.run(&received);
                drop(close);
            })?;
        Ok(Self {
            path: path.to_owned(),
            events: Mutex::new(Some(events)),
            lost,
            closing,
            thread: handle.thread().clone(),
            closed: Mutex::new(closed),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&self, event: Arc<Event>) {
        let events = lock(&self.events);
        let taken = events
            .as_ref()
            .is_some_and(|events| events.try_send(event).is_ok());
        drop(events);
        if !taken {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Writes what waits, as far as the disk takes it in 2 s.
    pub(super) fn close(&self) {
        self.closing.store(true, Relaxed);
        drop(lock(&self.events).take());
        self.thread.unpark();
        if lock(&self.closed).recv_timeout(FLUSH) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(path = %self.path.display(), "events were not written: the disk does not answer");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    file: LineFile,
    lost: Arc<AtomicU64>,
    closing: Arc<AtomicBool>,
    /// Said once until a line is written again.
    failing: bool,
}

impl Writer {
    fn run(mut self, events: &Receiver<Arc<Event>>) {
        for event in events {
            self.wait_until(event.settles());
            self.write(&event);
        }
    }

    fn wait_until(&self, settled: Instant) {
        while !self.closing.load(Relaxed)
            && let Some(left) = settled.checked_duration_since(Instant::now())
            && !left.is_zero()
        {
            thread::park_timeout(left);
        }
    }

    fn write(&mut self, event: &Event) {
        let written = serde_json::to_vec(&event.view())
            .map_err(io::Error::from)
            .and_then(|line| self.file.write(line));
        match written {
            Ok(()) if self.failing => {
                self.failing = false;
                let lost = self.lost.load(Relaxed);
                tracing::warn!(path = %self.file.path.display(), lost, "events are written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.lost.fetch_add(1, Relaxed);
                if !self.failing {
                    self.failing = true;
                    tracing::error!(path = %self.file.path.display(), %error, "events cannot be written: they are counted");
                }
            }
        }
    }
}

/// A file of bounded size that lines are added to, and that may be moved away at any time.
#[derive(Debug)]
struct LineFile {
    path: PathBuf,
    limit: u64,
    file: File,
    size: u64,
    /// The last line is not complete.
    torn: bool,
}

impl LineFile {
    fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            limit,
            file,
            size,
            torn: false,
        })
    }

    fn write(&mut self, mut line: Vec<u8>) -> io::Result<()> {
        line.push(b'\n');
        if self.size.saturating_add(line.len() as u64) > self.limit {
            fs::rename(&self.path, older(&self.path))?;
        }
        if !self.is_in_place()? {
            *self = Self::open(&self.path, self.limit)?;
        }
        if self.torn {
            line.insert(0, b'\n');
        }
        // In one call, so that a full disk leaves one torn line at most.
        let taken = self.file.write(&line)?;
        self.size = self.size.saturating_add(taken as u64);
        self.torn = if taken == 0 {
            self.torn
        } else {
            taken < line.len()
        };
        if taken < line.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Nobody has moved it away, or put another one there.
    fn is_in_place(&self) -> io::Result<bool> {
        let open = self.file.metadata()?;
        Ok(fs::symlink_metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (open.dev(), open.ino())))
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

fn older(path: &Path) -> PathBuf {
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    older.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{
        super::events::{Events, tests::denial},
        *,
    };

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn events_are_lines_with_their_counts_for_nobody_but_root() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        let lost = Arc::default();
        let journal = Journal::open(&path, Arc::clone(&lost)).unwrap();
        let (mut events, now) = (Events::new(), Instant::now());
        for detail in ["first", "second", "first", "a\nb"] {
            if let Some(event) = events.record(denial(1, detail), now) {
                journal.write(event);
            }
        }
        journal.close();
        let lines = lines(&path);
        let told: Vec<_> = lines
            .iter()
            .map(|line| (line["detail"].as_str().unwrap(), line["count"].as_u64()))
            .collect();
        assert_eq!(
            told,
            [("first", Some(2)), ("second", Some(1)), ("a\nb", Some(1))]
        );
        assert_eq!(lost.load(Relaxed), 0);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn nobody_waits_for_a_disk_and_what_is_lost_is_counted() {
        let lost = Arc::default();
        let journal = Journal::open(Path::new("/dev/full"), Arc::clone(&lost)).unwrap();
        let (mut events, start) = (Events::new(), Instant::now());
        for number in 0..2 * WAITING {
            let event = events.record(denial(1, &number.to_string()), start);
            journal.write(event.unwrap());
        }
        assert!(start.elapsed() < FLUSH, "{:?}", start.elapsed());
        journal.close();
        assert_eq!(lost.load(Relaxed), 2 * WAITING as u64);
    }

    #[test]
    fn a_full_file_is_kept_and_another_one_begun() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        let mut file = LineFile::open(&path, 10).unwrap();
        for line in ["1111", "2222", "3333", "4444", "5555"] {
            file.write(line.into()).unwrap();
        }
        assert_eq!(fs::read(older(&path)).unwrap(), b"3333\n4444\n");
        assert_eq!(fs::read(&path).unwrap(), b"5555\n");
        // What is there counts.
        let mut file = LineFile::open(&path, 10).unwrap();
        file.write("6666".into()).unwrap();
        file.write("7777".into()).unwrap();
        assert_eq!(fs::read(older(&path)).unwrap(), b"5555\n6666\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (path, away) = (
            directory.path().join("events"),
            directory.path().join("old"),
        );
        let mut file = LineFile::open(&path, 100).unwrap();
        file.write("1".into()).unwrap();
        fs::rename(&path, &away).unwrap();
        file.write("2".into()).unwrap();
        fs::remove_file(&path).unwrap();
        file.write("3".into()).unwrap();
        assert_eq!(fs::read(&away).unwrap(), b"1\n");
        assert_eq!(fs::read(&path).unwrap(), b"3\n");
    }

    #[test]
    fn a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (directory.path().join("events"), directory.path().join("x"));
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(LineFile::open(&path, 100).is_err());
        assert!(!elsewhere.exists());
    }
}

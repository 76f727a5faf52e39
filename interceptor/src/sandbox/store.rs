//! What a sandbox is called and may use, in the run directory for as long as its pins stand.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::Sandbox;
use crate::{
    address::{CgroupId, SandboxId},
    config::Existing,
    locate::Identity,
};

/// Holds the highest number given so far. A number is never given twice: sockets of an earlier sandbox may live on,
/// and carry it.
const LAST: &str = "last-id";

/// Extension of what is not whole yet.
const DRAFT: &str = "draft";

/// One sandbox, as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: SandboxId,
    pub(super) name: String,
    pub(super) cgroup: PathBuf,
    pub(super) cgroup_id: CgroupId,
    #[serde(default)]
    pub(super) identity: Option<Identity>,
    pub(super) secrets: Vec<String>,
    #[serde(default)]
    pub(super) existing: Existing,
    /// Seconds since 1970.
    attached: u64,
}

impl Record {
    pub(super) fn of(id: SandboxId, sandbox: &Sandbox) -> Self {
        let age = sandbox.attached.duration_since(UNIX_EPOCH);
        Self {
            id,
            name: sandbox.name.clone(),
            cgroup: sandbox.cgroup.path().to_owned(),
            cgroup_id: sandbox.cgroup.id(),
            identity: sandbox.identity.clone(),
            secrets: sandbox.secrets.iter().map(ToString::to_string).collect(),
            existing: sandbox.sockets.existing(),
            attached: age.unwrap_or_default().as_secs(),
        }
    }

    pub(super) fn attached(&self) -> SystemTime {
        UNIX_EPOCH
            .checked_add(Duration::from_secs(self.attached))
            .unwrap_or(UNIX_EPOCH)
    }
}

/// `<run-dir>/sandboxes/`
#[derive(Debug)]
pub(super) struct Store(PathBuf);

impl Store {
    pub(super) fn open(run_dir: &Path) -> io::Result<Self> {
        let directory = run_dir.join("sandboxes");
        // The run directory is for all to enter: the CA's certificate lies in it.
        DirBuilder::new().recursive(true).create(run_dir)?;
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let store = Self(directory);
        store.remove_drafts()?;
        Ok(store)
    }

    /// All that can be read; of others the log tells.
    pub(super) fn load(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let read =
                fs::read(&path).and_then(|text| Ok(serde_json::from_slice::<Record>(&text)?));
            match read {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "unreadable state of a sandbox, which stays closed");
                }
            }
        }
        Ok(records)
    }

    pub(super) fn save(&self, record: &Record) -> io::Result<()> {
        self.replace(&self.file(record.id), &serde_json::to_vec_pretty(record)?)
    }

    pub(super) fn remove(&self, id: SandboxId) -> io::Result<()> {
        match fs::remove_file(self.file(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A number above all that were given, and above `floor`.
    pub(super) fn next_id(&self, floor: SandboxId) -> io::Result<SandboxId> {
        let path = self.0.join(LAST);
        let last: u32 = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let next = last
            .max(floor.0)
            .checked_add(1)
            .ok_or_else(|| io::Error::other("no number is left for a sandbox"))?;
        self.replace(&path, next.to_string().as_bytes())?;
        Ok(SandboxId(next))
    }

    /// What a daemon was writing when it was killed.
    fn remove_drafts(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == DRAFT) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn file(&self, id: SandboxId) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }

    /// Whole or not at all, also over a crash.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let draft = path.with_extension(DRAFT);
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u32) -> Record {
        Record {
            id: SandboxId(id),
            name: "micky".to_owned(),
            cgroup: "/sys/fs/cgroup/micky".into(),
            cgroup_id: CgroupId(4711),
            identity: serde_json::from_str(r#""pod team/agent""#).unwrap(),
            secrets: vec!["DISCORD_BOT_TOKEN".to_owned()],
            existing: Existing::Keep,
            attached: 1_700_000_000,
        }
    }

    #[test]
    fn records_are_read_back_until_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.save(&record(1)).unwrap();
        store.save(&record(2)).unwrap();
        store.remove(SandboxId(1)).unwrap();
        store.remove(SandboxId(1)).unwrap();
        let again = Store::open(directory.path()).unwrap();
        assert_eq!(again.load().unwrap(), [record(2)]);
    }

    #[test]
    fn a_broken_record_does_not_hide_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.save(&record(1)).unwrap();
        fs::write(directory.path().join("sandboxes/2.json"), "{").unwrap();
        assert_eq!(store.load().unwrap(), [record(1)]);
    }

    #[test]
    fn a_draft_does_not_outlive_the_daemon_that_was_writing_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.save(&record(1)).unwrap();
        let draft = directory.path().join("sandboxes/2.draft");
        fs::write(&draft, "{").unwrap();
        let again = Store::open(directory.path()).unwrap();
        assert!(!draft.exists());
        assert_eq!(again.load().unwrap(), [record(1)]);
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.next_id(SandboxId(0)).unwrap(), SandboxId(1));
        assert_eq!(store.next_id(SandboxId(0)).unwrap(), SandboxId(2));
        assert_eq!(store.next_id(SandboxId(7)).unwrap(), SandboxId(8));
        let again = Store::open(directory.path()).unwrap();
        assert_eq!(again.next_id(SandboxId(0)).unwrap(), SandboxId(9));
        assert!(again.next_id(SandboxId(u32::MAX)).is_err());
    }
}

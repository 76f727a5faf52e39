//! What runc is told of a container, and the root that it gets.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::Result;
use serde_json::{Value, json};

/// Nothing but mount points: programs are this machine's. `shared` will be seen under its own path.
pub(super) fn make_root(root: &Path, shared: &Path) -> Result<()> {
    for directory in ["proc", "dev", "sys", "tmp", "etc", "usr"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::create_dir_all(root.join(shared.strip_prefix("/")?))?;
    for name in ["bin", "sbin", "lib", "lib64"] {
        let usr = Path::new("/").join(name);
        // Debian has had them below /usr since 2021; lib64 is not everywhere.
        if usr.exists() {
            symlink(format!("usr/{name}"), root.join(name))?;
        }
    }
    // The address of a cluster's resolver, which is not there.
    fs::write(root.join("etc/resolv.conf"), "nameserver 10.43.0.10\n")?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    Ok(())
}

/// One container.
#[derive(Debug)]
pub(super) struct Spec<'s> {
    pub(super) root: &'s Path,
    pub(super) shared: &'s Path,
    pub(super) cgroup: &'s str,
    pub(super) netns: &'s Path,
    pub(super) user: u32,
    pub(super) arguments: &'s [String],
    pub(super) environment: &'s [(&'static str, String)],
}

impl Spec<'_> {
    pub(super) fn json(&self) -> Value {
        let bind = |path: &Path| json!({"destination": path, "source": path, "type": "bind", "options": ["rbind", "ro", "nosuid"]});
        let mut environment = vec!["PATH=/usr/sbin:/usr/bin".to_owned(), "HOME=/tmp".to_owned()];
        let given = self.environment.iter();
        environment.extend(given.map(|(key, value)| format!("{key}={value}")));
        let none: [&str; 0] = [];
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": self.user, "gid": self.user},
                "args": self.arguments,
                "env": environment,
                "cwd": "/",
                "noNewPrivileges": true,
                "capabilities": {
                    "bounding": none, "effective": none, "permitted": none, "inheritable": none, "ambient": none,
                },
            },
            "root": {"path": self.root, "readonly": true},
            "hostname": "agent",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"]},
                bind(Path::new("/usr")),
                bind(self.shared),
            ],
            "linux": {
                "cgroupsPath": self.cgroup,
                "namespaces": [
                    {"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"},
                    {"type": "network", "path": self.netns},
                ],
                "maskedPaths": ["/proc/kcore", "/proc/keys"],
                "readonlyPaths": ["/proc/sys"],
            },
        })
    }
}

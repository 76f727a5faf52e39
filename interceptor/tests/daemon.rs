//! The daemon and `exec` as processes, on the kernel.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_interceptor");

/// A daemon with directories of its own, killed and cleaned up after.
struct Daemon {
    process: Child,
    directory: tempfile::TempDir,
    pins: PathBuf,
}

impl Daemon {
    /// Runs until it is ready, with a sandbox called `micky` in its configuration, under a umask.
    fn start(test: &str, umask: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Commands of other users look for the CA below it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let pins = PathBuf::from(format!("/sys/fs/bpf/test-{test}-{}", std::process::id()));
        let path = |name| directory.path().join(name);
        fs::write(
            path("interceptor.yaml"),
            "sandboxes: [ {name: micky, policies: [], secrets: []} ]\n",
        )
        .unwrap();
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let mut process = Command::new("sh")
            .args(["-c", &script, PROGRAM, "run", "--config"])
            .arg(path("interceptor.yaml"))
            .arg("--run-dir")
            .arg(path("run"))
            .arg("--data-dir")
            .arg(path("data"))
            .arg("--bpf-dir")
            .arg(&pins)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.as_mut().unwrap()).lines();
        let mut seen = Vec::new();
        let ready = log.map_while(Result::ok).any(|line| {
            let ready = line.contains(" ready ");
            seen.push(line);
            ready
        });
        assert!(ready, "{seen:#?}");
        Self {
            process,
            directory,
            pins,
        }
    }

    fn exec(&self, command: &[&str]) -> Output {
        Command::new(PROGRAM)
            .arg("--run-dir")
            .arg(self.directory.path().join("run"))
            .args(["exec", "--name", "micky", "--user", "nobody", "--"])
            .args(command)
            .output()
            .unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        fs::remove_dir_all(&self.pins).unwrap();
    }
}

#[test]
fn kernel_commands_can_read_the_ca_whatever_the_umask_of_the_daemon() {
    let daemon = Daemon::start("umask", "077");
    let output = daemon.exec(&[
        "sh",
        "-c",
        "cat \"$SSL_CERT_FILE\" \"$NODE_EXTRA_CA_CERTS\"",
    ]);
    assert!(output.status.success(), "{output:?}");
    let key = daemon.directory.path().join("data/ca.key");
    assert_eq!(
        fs::metadata(key).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn kernel_exec_exits_as_a_shell_would() {
    let daemon = Daemon::start("exits", "022");
    for (command, code) in [
        (&["sh", "-c", "exit 77"][..], 77),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["/no/such/program"], 127),
        (&["/etc/passwd"], 126),
    ] {
        let output = daemon.exec(command);
        assert_eq!(output.status.code(), Some(code), "{command:?} {output:?}");
    }
}

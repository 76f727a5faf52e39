//! The daemon and `exec` as processes, on the kernel.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
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
        self.execution(command).output().unwrap()
    }

    fn execution(&self, command: &[&str]) -> Command {
        let mut execution = Command::new(PROGRAM);
        execution
            .arg("--run-dir")
            .arg(self.directory.path().join("run"))
            .args(["exec", "--name", "micky", "--user", "nobody", "--"])
            .args(command);
        execution
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

#[test]
fn kernel_a_command_does_not_outlive_an_exec_that_is_killed() {
    let daemon = Daemon::start("outlive", "022");
    let mut exec = daemon
        .execution(&["sh", "-c", "echo here; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(exec.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
    exec.kill().unwrap();
    exec.wait().unwrap();
    // The end of the file comes when nobody has it open any more.
    assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);
    remove_cgroup(&format!("interceptor/exec-micky-{}", exec.id()));
}

/// Where it is in either layout; its last process may still be on its way out.
fn remove_cgroup(relative: &str) {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let found = roots.map(|root| Path::new(root).join(relative));
    let cgroup = found.iter().find(|path| path.exists()).unwrap();
    while let Err(error) = fs::remove_dir(cgroup) {
        assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{error}");
        thread::sleep(Duration::from_millis(10));
    }
}

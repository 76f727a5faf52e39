//! The daemon's process, files, sockets and pins.

use std::path::Path;

use serde_json::json;

use super::vector;
use crate::adversary::{
    stage::Facts,
    vector::{Group, Vector},
};

/// Refusals of permissions, which are the kernel's.
const DENIED: &[&str] = &["refused EPERM", "refused EACCES"];

fn process(name: &str, tries: &'static str, order: &'static str) -> Vector {
    vector(
        Group::Daemon,
        name,
        tries,
        order,
        |facts| json!({"process": facts.daemon}),
    )
    .refused_to_everybody(DENIED)
}

fn file(
    name: &str,
    tries: &'static str,
    order: &'static str,
    path: impl Fn(&Facts) -> std::path::PathBuf + 'static,
) -> Vector {
    vector(
        Group::Daemon,
        name,
        tries,
        order,
        move |facts| json!({"path": path(facts)}),
    )
    .refused_to_everybody(DENIED)
}

fn of_process(facts: &Facts, name: &str) -> std::path::PathBuf {
    Path::new("/proc").join(facts.daemon.to_string()).join(name)
}

pub(super) fn vectors() -> Vec<Vector> {
    let bpf = |name: &str, tries: &'static str, command: u32| {
        vector(
            Group::Daemon,
            name,
            tries,
            "program",
            move |_| json!({"command": command}),
        )
        .refused_to_everybody(DENIED)
    };
    let mut all = vec![
        process("ptrace", "PTRACE_SEIZE of the daemon", "trace"),
        process("vm-read", "process_vm_readv() of the daemon", "memory"),
        process(
            "pidfd-getfd",
            "pidfd_getfd() of the daemon's descriptors",
            "take-descriptor",
        ),
        process("sigkill", "SIGKILL to the daemon", "end"),
        process("sigstop", "SIGSTOP to the daemon", "stop"),
        process("prlimit", "prlimit() on the daemon's descriptors", "limit"),
        process(
            "oom-score",
            "the daemon first when memory runs out",
            "favour",
        ),
        process("perf", "perf_event_open() on the daemon", "watch"),
        file(
            "environ",
            "/proc/PID/environ of the daemon",
            "read",
            |facts| of_process(facts, "environ"),
        ),
        file("mem", "/proc/PID/mem of the daemon", "read", |facts| {
            of_process(facts, "mem")
        }),
        file("maps", "/proc/PID/maps of the daemon", "read", |facts| {
            of_process(facts, "maps")
        }),
        file(
            "root",
            "the daemon's files by /proc/PID/root",
            "list-directory",
            |facts| of_process(facts, "root/"),
        ),
        file("cwd", "where the daemon's directory is", "link", |facts| {
            of_process(facts, "cwd")
        }),
        file(
            "descriptors",
            "/proc/PID/fd of the daemon",
            "list-directory",
            |facts| of_process(facts, "fd"),
        ),
        file("ca-key", "the CA's key", "read", |facts| {
            facts.data.join("ca.key")
        }),
        file(
            "secret-file",
            "the file that a secret comes from",
            "read",
            |facts| facts.secret.clone(),
        ),
        file(
            "configuration",
            "writes the configuration",
            "write",
            |facts| facts.configuration.clone(),
        ),
        file(
            "ca-replaced",
            "writes the CA that sandboxes trust",
            "write",
            |facts| facts.run.join("ca.pem"),
        ),
        file(
            "control-removed",
            "removes the control socket",
            "remove",
            |facts| facts.run.join("control.sock"),
        ),
        file(
            "control-socket",
            "asks the control socket",
            "unix-socket",
            |facts| facts.run.join("control.sock"),
        ),
        file(
            "state-files",
            "the daemon's files of sandboxes",
            "list-directory",
            |facts| facts.run.join("sandboxes"),
        ),
        file("pins", "the pins in bpffs", "list-directory", |facts| {
            facts.pins.clone()
        }),
        file(
            "cgroup-procs",
            "writes its own cgroup's list of processes",
            "write",
            |facts| facts.own_cgroup.join("cgroup.procs"),
        ),
        bpf("bpf-map", "bpf() makes a map", 0),
        bpf("bpf-program", "bpf() loads a program", 5),
        bpf("bpf-pin", "bpf() opens a pin", 7),
        bpf(
            "bpf-program-by-number",
            "bpf() finds a program by its number",
            13,
        ),
        bpf("bpf-map-by-number", "bpf() finds a map by its number", 14),
        bpf("bpf-link", "bpf() finds a link by its number", 30),
    ];
    all.extend(by_root());
    all
}

/// The sandbox's processes may be root, of a container that has the host's users.
fn by_root() -> Vec<Vector> {
    let process = |name: &str, tries: &'static str, order: &'static str| {
        vector(
            Group::Daemon,
            name,
            tries,
            order,
            |facts| json!({"process": facts.daemon}),
        )
        .by_root()
        .silent(
            DENIED,
            "the kernel refuses what needs the daemon's capabilities",
        )
    };
    let file = |name: &str, tries: &'static str, order: &'static str, of: &'static str| {
        vector(
            Group::Daemon,
            name,
            tries,
            order,
            move |facts| json!({"path": of_process(facts, of)}),
        )
        .by_root()
        .silent(
            DENIED,
            "the kernel refuses what needs the daemon's capabilities",
        )
    };
    vec![
        vector(
            Group::Daemon,
            "root-control-socket",
            "root in the sandbox asks the control socket",
            "unix-socket",
            |facts| json!({"path": facts.run.join("control.sock")}),
        )
        .by_root()
        .refused(
            &[
                "connected, then closed",
                "refused EPIPE",
                "refused ECONNRESET",
            ],
            &["control_refused"],
        ),
        process(
            "root-ptrace",
            "PTRACE_SEIZE of the daemon, as root",
            "trace",
        ),
        process(
            "root-vm-read",
            "process_vm_readv() of the daemon, as root",
            "memory",
        ),
        process(
            "root-pidfd-getfd",
            "pidfd_getfd() of the daemon's descriptors, as root",
            "take-descriptor",
        ),
        process(
            "root-join-daemon",
            "setns() to the daemon's network namespace, as root",
            "join-of-process",
        ),
        file(
            "root-environ",
            "/proc/PID/environ of the daemon, as root",
            "read",
            "environ",
        ),
        file(
            "root-mem",
            "/proc/PID/mem of the daemon, as root",
            "read",
            "mem",
        ),
        file(
            "root-descriptors",
            "what a descriptor of the daemon is, as root",
            "link",
            "fd/3",
        ),
        vector(
            Group::Daemon,
            "root-bpf",
            "bpf() makes a map, as root",
            "program",
            |_| json!({"command": 0}),
        )
        .by_root()
        .silent(DENIED, "the kernel refuses what needs a capability"),
        vector(
            Group::Daemon,
            "root-raw",
            "a raw socket, as root",
            "kind",
            |_| json!({"family": 2, "type": 3, "protocol": 255}),
        )
        .by_root()
        .silent(DENIED, "the kernel refuses what needs a capability"),
        vector(
            Group::Daemon,
            "root-ca-key",
            "the CA's key, as root",
            "read",
            |facts| json!({"path": facts.data.join("ca.key")}),
        )
        .by_root()
        .silent(
            &["read"],
            "stated: a file that root in a sandbox is shown is readable there, whatever its mode",
        ),
    ]
}

//! The daemon's process, files, sockets and pins.

use std::path::Path;

use serde_json::{Value, json};

use super::{POLICY, to, vector};
use crate::adversary::{
    ground::{EVIL, METRICS},
    stage::Facts,
    vector::{Group, Place, Vector},
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
            move |facts| json!({"command": command, "path": facts.pins.join("maps/CONFIG")}),
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
    all.extend(metrics());
    all
}

/// What the daemon serves to its host.
fn metrics() -> Vec<Vector> {
    vec![
        vector(
            Group::Daemon,
            "metrics",
            "connect() to the port of metrics by the host's address",
            "connect",
            |facts| json!({"address": facts.host, "port": METRICS}),
        )
        .else_says(&["connected, answered"])
        .captured(POLICY),
        vector(
            Group::Daemon,
            "metrics-by-name",
            "plain HTTP to an allowed name that leads to the port of metrics",
            "plain",
            |_| json!({"to": EVIL, "request": "GET /metrics HTTP/1.1\r\nHost: metrics.example\r\n\r\n"}),
        )
        .without_control("it is the daemon's resolution that is tried")
        .refused(&["status 502 upstream_unreachable"], &["own_address"]),
        vector(
            Group::Daemon,
            "metrics-hosted",
            "the same from a sandbox in the host's own namespace, over loopback",
            "connect",
            |_| json!({"address": "127.0.0.1", "port": METRICS}),
        )
        .at(Place::Hosted)
        .else_says(&["connected, answered"])
        .captured(&["policy"]),
        vector(
            Group::Daemon,
            "metrics-hosted-datagram",
            "a datagram over the host's loopback",
            "send-to",
            |_| json!({"address": "127.0.0.1", "port": METRICS}),
        )
        .at(Place::Hosted)
        .else_says(&["sent, then silence"])
        .refused(&["refused EPERM"], &["datagram"]),
        vector(
            Group::Daemon,
            "hosted",
            "connect() from a sandbox in the host's own namespace",
            "connect",
            to,
        )
        .at(Place::Hosted)
        .else_says(&["connected, answered"])
        .captured(POLICY),
    ]
}

/// The sandbox's processes may be root, of a container that has the host's users.
fn by_root() -> Vec<Vector> {
    let refused =
        |name: &str, tries: &'static str, order: &'static str, with: fn(&Facts) -> Value| {
            vector(Group::Daemon, name, tries, order, with)
                .by_root()
                .silent(
                    DENIED,
                    "the kernel refuses what needs capabilities, or the daemon's",
                )
        };
    let process: fn(&Facts) -> Value = |facts| json!({"process": facts.daemon});
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
        refused(
            "root-ptrace",
            "PTRACE_SEIZE of the daemon, as root",
            "trace",
            process,
        ),
        refused(
            "root-vm-read",
            "process_vm_readv() of the daemon, as root",
            "memory",
            process,
        ),
        refused(
            "root-pidfd-getfd",
            "pidfd_getfd() of the daemon's descriptors, as root",
            "take-descriptor",
            process,
        ),
        refused(
            "root-join-daemon",
            "setns() to the daemon's network namespace, as root",
            "join-of-process",
            process,
        ),
        refused(
            "root-environ",
            "/proc/PID/environ of the daemon, as root",
            "read",
            |facts| json!({"path": of_process(facts, "environ")}),
        ),
        refused(
            "root-mem",
            "/proc/PID/mem of the daemon, as root",
            "read",
            |facts| json!({"path": of_process(facts, "mem")}),
        ),
        refused(
            "root-descriptors",
            "what a descriptor of the daemon is, as root",
            "link",
            |facts| json!({"path": of_process(facts, "fd/3")}),
        ),
        refused(
            "root-bpf",
            "bpf() makes a map, as root",
            "program",
            |_| json!({"command": 0}),
        ),
        refused(
            "root-raw",
            "a raw socket, as root",
            "kind",
            |_| json!({"family": 2, "type": 3, "protocol": 255}),
        ),
        vector(
            Group::Daemon,
            "root-bpf-pin",
            "bpf() opens a pin, as root",
            "program",
            |facts| json!({"command": 7, "path": facts.pins.join("maps/CONFIG")}),
        )
        .by_root()
        .silent(
            &["opened"],
            "stated: where the host's root is shown bpffs, the pins there are its own",
        ),
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

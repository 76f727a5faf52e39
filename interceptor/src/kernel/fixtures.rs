//! Places that tests make and clean up: directories of pins, cgroups, network namespaces.

mod visitor;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
};

use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};

pub(crate) use visitor::{Errand, Visitor};

use super::{Cgroup, Hierarchy, Netns, Task, loopback};

/// A `--bpf-dir` of one test's own, removed with everything in it.
#[derive(Debug)]
pub(crate) struct ScratchPins(PathBuf);

impl ScratchPins {
    pub(crate) fn new(test: &str) -> Self {
        Self(format!("/sys/fs/bpf/test-{test}-{}", std::process::id()).into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchPins {
    fn drop(&mut self) {
        if self.0.exists() {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

/// A cgroup of one test's own, removed with everything in it.
#[derive(Debug)]
pub(crate) struct ScratchCgroup(Cgroup);

impl ScratchCgroup {
    pub(crate) fn new(test: &str) -> Self {
        let name = format!("interceptor-test-{test}-{}", std::process::id());
        Self(Hierarchy::find().unwrap().create(Path::new(&name)).unwrap())
    }
}

impl Deref for ScratchCgroup {
    type Target = Cgroup;

    fn deref(&self) -> &Cgroup {
        &self.0
    }
}

impl Drop for ScratchCgroup {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.remove().unwrap();
    }
}

/// A new network namespace, and a thread of this process in it.
#[derive(Debug)]
pub(crate) struct Isolated {
    netns: Netns,
    task: Task,
    release: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Isolated {
    /// With lo up, as container engines leave it.
    pub(crate) fn new() -> Self {
        let place = Self::bare();
        place.netns.within(loopback::bring_up).unwrap().unwrap();
        place
    }

    /// With lo down, as the kernel makes it.
    pub(crate) fn bare() -> Self {
        let (arrived, arrival) = channel();
        let (release, released) = channel::<()>();
        let thread = thread::spawn(move || {
            // SAFETY: only the network namespace is new.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("tests on the kernel need root");
            let task = Task {
                tgid: std::process::id(),
                tid: gettid().as_raw_nonzero().get().unsigned_abs(),
            };
            arrived.send((Netns::of_task(task).unwrap(), task)).unwrap();
            assert!(released.recv().is_err(), "nothing is ever sent");
        });
        let (netns, task) = arrival.recv().unwrap();
        Self {
            netns,
            task,
            release: Some(release),
            thread: Some(thread),
        }
    }

    /// A service in the namespace.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        self.listen_at((Ipv4Addr::LOCALHOST, port).into())
    }

    pub(crate) fn listen_at(&self, address: SocketAddr) -> TcpListener {
        let open = || TcpListener::bind(address);
        self.netns.within(open).unwrap().unwrap()
    }

    /// The same over UDP.
    pub(crate) fn bind(&self, port: u16) -> UdpSocket {
        let open = || UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        self.netns.within(open).unwrap().unwrap()
    }

    /// Runs ip(8) in the namespace.
    pub(crate) fn ip(&self, arguments: &str) {
        let run = || Command::new("ip").args(arguments.split(' ')).status();
        let status = self.netns.within(run).unwrap().unwrap();
        assert!(status.success(), "ip {arguments}");
    }

    /// Packets that a device of the namespace has received.
    pub(crate) fn received(&self, device: &str) -> u64 {
        let path = format!("/proc/self/task/{}/net/dev", self.task.tid);
        let table = fs::read_to_string(path).unwrap();
        let mut lines = table.lines();
        let counts = lines.find_map(|line| line.trim().strip_prefix(device)?.strip_prefix(':'));
        counts
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Echoes datagrams, until the namespace is let go.
    pub(crate) fn echo(&self, address: SocketAddr) {
        let socket = self
            .netns
            .within(|| UdpSocket::bind(address))
            .unwrap()
            .unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if socket.send_to(&buffer[..length], from).is_err() {
                    return;
                }
            }
        });
    }

    pub(crate) fn disable_v6(&self) {
        let switch = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
        self.netns
            .within(|| fs::write(switch, "1"))
            .unwrap()
            .unwrap();
    }

    pub(crate) fn netns(&self) -> &Netns {
        &self.netns
    }

    pub(crate) fn task(&self) -> Task {
        self.task
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        self.release.take();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

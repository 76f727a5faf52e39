//! Network namespaces that a test makes and removes.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::{
    fd::AsFd as _,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{logs::complain, process::run, unique_name};

/// A namespace with nothing but `lo`, until a test adds to it.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// # Errors
    /// Not root, or no iproute2.
    pub fn new() -> Result<Self> {
        crate::require_root()?;
        let netns = Self {
            name: unique_name(),
        };
        run("ip", ["netns", "add", &netns.name])?;
        netns.ip(&["link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// One that is there, to be removed.
    pub(crate) fn left(name: String) -> Self {
        Self { name }
    }

    /// A namespace in which the kernel has no IPv6 address, not even `::1`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn without_ipv6() -> Result<Self> {
        let netns = Self::new()?;
        for device in ["all", "default", "lo"] {
            netns.run(
                "sysctl",
                &["-qw", &format!("net.ipv6.conf.{device}.disable_ipv6=1")],
            )?;
        }
        Ok(netns)
    }

    /// Joins this namespace to another by a pair of devices and makes `gateway` the default route for both families,
    /// so that a packet which escapes has somewhere to go and somebody to see it.
    ///
    /// # Errors
    /// The kernel has no veth.
    pub fn route_through(&self, outside: &Self) -> Result<()> {
        self.join("out0", outside, "in0")?;
        for (netns, device, v4, v6) in [
            (self, "out0", "10.231.7.2/24", "fd00:231:7::2/64"),
            (outside, "in0", "10.231.7.1/24", "fd00:231:7::1/64"),
        ] {
            netns.ip(&["addr", "add", v4, "dev", device])?;
            netns.ip(&["addr", "add", v6, "dev", device, "nodad"])?;
            netns.ip(&["link", "set", device, "up"])?;
        }
        self.ip(&["route", "add", "default", "via", "10.231.7.1"])?;
        self.ip(&["-6", "route", "add", "default", "via", "fd00:231:7::1"])
    }

    /// Makes a pair of devices, one here and one there, which are down and have no addresses.
    ///
    /// # Errors
    /// The kernel has no veth.
    pub fn join(&self, device: &str, there: &Self, peer: &str) -> Result<()> {
        let pair = ["type", "veth", "peer", "name", peer, "netns", &there.name];
        self.ip(&[&["link", "add", device], &pair[..]].concat())
    }

    /// Runs `ip` inside.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        run("ip", all).map(drop)
    }

    /// Runs a command inside to its end.
    ///
    /// # Errors
    /// The command fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut all = vec![self.entry(), "--".into(), program.into()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        run("nsenter", all)
    }

    /// A command that runs `program` inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&self.entry(), "--", program]);
        command
    }

    /// The argument that makes nsenter(1) go in.
    pub fn entry(&self) -> String {
        format!("--net={}", self.path().display())
    }

    /// Where it can be opened, to go in.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A listener inside, for use by this process.
    ///
    /// # Errors
    /// The address is taken or not the namespace's.
    pub fn listen(&self, address: SocketAddr) -> Result<TcpListener> {
        self.within(move || {
            TcpListener::bind(address).with_context(|| format!("listening on {address}"))
        })
    }

    /// A UDP socket inside, for use by this process.
    ///
    /// # Errors
    /// The address is taken or not the namespace's.
    pub fn datagrams(&self, address: SocketAddr) -> Result<UdpSocket> {
        self.within(move || UdpSocket::bind(address).with_context(|| format!("binding {address}")))
    }

    /// Makes something inside, such as a socket, for use by this process.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn within<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let namespace = File::open(self.path())?;
        // A thread of its own, which ends in the other namespace.
        thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            make()
        })
        .join()
        .map_err(|_panic| anyhow!("a thread in a namespace panicked"))?
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let removed = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
        if !removed.is_ok_and(|output| output.status.success()) {
            complain(&format!("namespace {} could not be removed", self.name));
        }
    }
}

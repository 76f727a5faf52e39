//! Fixtures for end-to-end tests on a real kernel: a gateway that behaves like Discord's, clients that know nothing of
//! proxies, namespaces, cgroups, and the real daemon.
//!
//! Everything here needs root, says so, and cleans up after itself on success, failure and interruption; the next one
//! cleans up after one that was killed.

pub mod adversary;
pub mod alike;
pub mod autobahn;
pub mod bench;
pub mod bulk;
pub mod bytes;
pub mod cage;
pub mod capture;
pub mod cgroup;
pub mod clients;
pub mod configuration;
pub mod containers;
pub mod daemon;
pub mod frames;
pub mod gateway;
pub mod interrupt;
mod leftovers;
pub mod library;
pub mod load;
pub mod logs;
pub mod memory;
pub mod mirror;
pub mod nameserver;
pub mod netns;
pub mod pki;
pub mod process;
pub mod programs;
pub mod rebirth;
pub mod sandbox;
pub mod scenario;
pub mod site;
pub mod steps;
pub mod upgrade;
pub mod witness;

use std::sync::{
    Once,
    atomic::{AtomicU32, Ordering},
};

/// A name of this process's own for a namespace, cgroup or directory. The first one removes what killed processes have
/// left under theirs.
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static SWEPT: Once = Once::new();
    SWEPT.call_once(leftovers::sweep);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{number}", leftovers::PREFIX, std::process::id())
}

/// # Errors
/// The caller is not root.
pub fn require_root() -> anyhow::Result<()> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "this needs root: it makes namespaces and cgroups and loads BPF programs"
    );
    Ok(())
}

//! The kernel's side of the house: cgroup programs, their maps and pins, network namespaces, and processes put into them.
//!
//! The only room with `unsafe`. It knows sandboxes by number and cgroup, and nothing of policy.

mod abi;
mod bpf;
mod bpffs;
mod cgroup;
mod child;
mod clock;
mod credentials;
mod devices;
mod events;
mod family;
mod features;
mod file_view;
#[cfg(test)]
pub(crate) mod fixtures;
mod launch;
mod links;
mod listeners;
mod loopback;
mod maps;
mod netns;
mod peer;
mod permits;
mod process;
mod programs;
mod rtnetlink;
mod seccomp;
mod selftest;
mod sockets;
mod tallies;
mod text_log;

#[cfg(test)]
pub(crate) use bpffs::PinsError;
pub(crate) use cgroup::{Cgroup, CgroupError, Claim, Hierarchy, enter_cgroup_namespace_of_host};
pub(crate) use credentials::{Credentials, keep_needed_capabilities};
pub(crate) use devices::DeviceFence;
pub(crate) use events::{Event, Events, NetnsAppeared, Question};
pub(crate) use file_view::{FileView, FileViewError, FileViewId};
pub(crate) use launch::{Confinement, Holder, Network};
pub(crate) use links::{HeldLinks, LinkError, LinkLoss};
pub(crate) use listeners::{Listeners, ListenersError, Transport};
pub(crate) use maps::{MapsError, NetnsEntry, NetnsState, pinned_sandboxes};
pub(crate) use netns::{Netns, NetnsError, NetnsInode};
pub(crate) use peer::Peer;
pub(crate) use permits::Permit;
pub(crate) use process::{Capabilities, Task, census, is_exhausted};
pub(crate) use programs::{LoadError, Programs};
pub(crate) use seccomp::refuse_the_needless;
pub(crate) use selftest::{SelfTestError, self_test};
pub(crate) use sockets::{Fate, SocketWatch, UnownedSocket};

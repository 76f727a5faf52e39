//! The cgroup namespace of a daemon in a container.

use std::{fs::File, io, os::fd::AsFd, path::Path};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Goes into the cgroup namespace of the first process that can be seen, which for a daemon in a container with the
/// host's processes is the host's. From a namespace of its own, /proc/PID/cgroup and mountinfo would show all other
/// cgroups as ways up from its own, which cannot be followed. To be called before other threads are there.
///
/// # Errors
/// It is another one, and may not be entered.
pub(crate) fn enter_cgroup_namespace_of_host() -> io::Result<()> {
    let host = Path::new("/proc/1/ns/cgroup");
    // Without the right to look at that process nothing else works either, and that is told better elsewhere.
    let (Ok(own), Ok(there)) = (
        Path::new("/proc/self/ns/cgroup").read_link(),
        host.read_link(),
    ) else {
        return Ok(());
    };
    if own == there {
        return Ok(());
    }
    let there = File::open(host)?;
    move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::ControlGroup))?;
    Ok(())
}

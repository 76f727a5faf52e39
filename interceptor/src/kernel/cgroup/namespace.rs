//! The cgroup namespace of a daemon in a container.

use std::{fs, fs::File, io, os::fd::AsFd, path::Path};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Processes that are in the host's namespaces: init, and kthreadd where init may not be looked at. A daemon in a container
/// sees them if it has the host's processes, which it needs.
const OF_HOST: [&str; 2] = ["/proc/1/ns/cgroup", "/proc/2/ns/cgroup"];

/// Goes into the host's cgroup namespace. From one of its own, /proc/PID/cgroup and mountinfo would show all other
/// cgroups as ways up from its own, which cannot be followed. To be called before other threads are there.
///
/// # Errors
/// It is another one, and may not be entered.
pub(crate) fn enter_cgroup_namespace_of_host() -> io::Result<()> {
    let own = fs::read_link("/proc/self/ns/cgroup");
    let mut of_host = OF_HOST.iter().map(Path::new);
    let found = of_host.find_map(|path| Some((path, path.read_link().ok()?)));
    let (Ok(own), Some((path, there))) = (own, found) else {
        return Ok(());
    };
    if own == there {
        return Ok(());
    }
    let there = File::open(path)?;
    move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::ControlGroup))?;
    Ok(())
}

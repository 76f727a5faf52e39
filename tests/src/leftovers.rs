//! What test processes have left that were killed, and so could not clean up.

use std::{fs, path::Path};

use crate::{cgroup::Cgroup, logs::complain, netns::Netns};

/// Names of everything that tests make begin so; a process's number follows.
pub(crate) const PREFIX: &str = "interceptor-test";
pub(crate) const BPFFS: &str = "/sys/fs/bpf";
const NAMESPACES: &str = "/run/netns";

/// Removes pins, cgroups with their members, and network namespaces of processes that are no more. What a process has that
/// runs stays, whatever it is.
pub(crate) fn sweep() {
    for name in left_in(Path::new(BPFFS)) {
        let pins = Path::new(BPFFS).join(&name);
        if let Err(error) = fs::remove_dir_all(&pins) {
            complain(&format!("removing {}: {error}", pins.display()));
        }
    }
    // Without any there are none to remove, and whoever needs one says so. Processes are ended by that of version 2.
    let mut mounts = crate::cgroup::mount_points().unwrap_or_default();
    mounts.sort_by_key(|mount| !mount.join("cgroup.controllers").exists());
    for cgroups in mounts {
        for name in left_in(&cgroups) {
            drop(Cgroup::left_at(cgroups.join(name)));
        }
    }
    for name in left_in(Path::new(NAMESPACES)) {
        drop(Netns::left(name));
    }
}

/// Names in a directory that were made by processes that are no more.
fn left_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_left(name))
        .collect()
}

/// Whether something bears a name of this process.
pub(crate) fn is_own(name: &str) -> bool {
    name.starts_with(&format!("{PREFIX}-{}-", std::process::id()))
}

fn is_left(name: &str) -> bool {
    let maker = name.strip_prefix(PREFIX).and_then(|rest| {
        rest.strip_prefix('-')?
            .split('-')
            .next()?
            .parse::<u32>()
            .ok()
    });
    maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_a_killed_process_has_left_goes_and_what_a_running_one_has_stays() {
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let name = |pid: u32| format!("{PREFIX}-{pid}-1000000");
        let cgroups = crate::cgroup::mount_point().unwrap();
        let left = name(gone.id());
        let kept = name(std::process::id());
        for name in [&left, &kept] {
            fs::create_dir(cgroups.join(name)).unwrap();
            fs::create_dir(Path::new(BPFFS).join(name)).unwrap();
            let added = Command::new("ip").args(["netns", "add", name]).status();
            assert!(added.unwrap().success());
        }
        let places = |name: &str| {
            [
                cgroups.join(name),
                Path::new(BPFFS).join(name),
                Path::new(NAMESPACES).join(name),
            ]
        };
        sweep();
        assert!(places(&left).iter().all(|place| !place.exists()));
        let kept_places = places(&kept);
        let stays = kept_places.iter().all(|place| place.exists());
        fs::remove_dir(&kept_places[1]).unwrap();
        drop(Cgroup::left_at(kept_places[0].clone()));
        drop(Netns::left(kept));
        assert!(stays);
    }
}

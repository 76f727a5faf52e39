//! What test processes have left that were killed, and so could not clean up.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use crate::{cgroup::Cgroup, logs::complain, netns::Netns, process::run};

/// Names of everything that tests make begin so; a process's number follows.
pub(crate) const PREFIX: &str = "interceptor-test";
pub(crate) const BPFFS: &str = "/sys/fs/bpf";
const NAMESPACES: &str = "/run/netns";
/// Daemons try themselves out in a cgroup of such a name.
const SELF_TEST: &str = "interceptor-selftest";

/// Removes pins, cgroups with their members, network namespaces and temporary files of processes that are no more. What a
/// process has that runs stays, whatever it is.
pub(crate) fn sweep() {
    for name in left_in(Path::new(BPFFS), PREFIX) {
        let pins = Path::new(BPFFS).join(&name);
        if let Err(error) = fs::remove_dir_all(&pins) {
            complain(&format!("removing {}: {error}", pins.display()));
        }
    }
    // Without any there are none to remove, and whoever needs one says so. Processes are ended by that of version 2.
    let mut mounts = crate::cgroup::mount_points().unwrap_or_default();
    mounts.sort_by_key(|mount| !mount.join("cgroup.controllers").exists());
    for cgroups in mounts {
        for prefix in [PREFIX, SELF_TEST] {
            for name in left_in(&cgroups, prefix) {
                drop(Cgroup::left_at(cgroups.join(name)));
            }
        }
    }
    for name in left_in(Path::new(NAMESPACES), PREFIX) {
        drop(Netns::left(name));
    }
    let temporary = env::temp_dir();
    for name in left_in(&temporary, PREFIX) {
        let path = temporary.join(name);
        if let Err(error) = remove(&path) {
            complain(&format!("removing {}: {error}", path.display()));
        }
    }
}

/// Removes a file, or a directory and whatever is mounted in it.
fn remove(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        return fs::remove_file(path);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mounted = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut below: Vec<PathBuf> = mounted
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(path))
        .collect();
    // The last one lies on top.
    below.reverse();
    for mount in below {
        run("umount", [&mount]).map_err(io::Error::other)?;
    }
    fs::remove_dir_all(path)
}

/// Names in a directory that were made by processes that are no more.
fn left_in(directory: &Path, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_left(name, prefix))
        .collect()
}

/// Whether something bears a name of this process.
pub(crate) fn is_own(name: &str) -> bool {
    name.starts_with(&format!("{PREFIX}-{}-", std::process::id()))
}

fn is_left(name: &str, prefix: &str) -> bool {
    let maker = name.strip_prefix(prefix).and_then(|rest| {
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
            let temporary = env::temp_dir().join(name);
            fs::create_dir_all(temporary.join("disk")).unwrap();
            let disk = temporary.join("disk");
            run(
                "mount",
                [
                    "-t".as_ref(),
                    "tmpfs".as_ref(),
                    "none".as_ref(),
                    disk.as_os_str(),
                ],
            )
            .unwrap();
            fs::write(temporary.join("disk/file"), "").unwrap();
            let added = Command::new("ip").args(["netns", "add", name]).status();
            assert!(added.unwrap().success());
        }
        let places = |name: &str| {
            [
                cgroups.join(name),
                Path::new(BPFFS).join(name),
                Path::new(NAMESPACES).join(name),
                env::temp_dir().join(name),
            ]
        };
        let tried_out = cgroups.join(format!("{SELF_TEST}-{}", gone.id()));
        fs::create_dir(&tried_out).unwrap();
        let file = env::temp_dir().join(format!("{left}-file"));
        fs::write(&file, "").unwrap();
        sweep();
        assert!(!tried_out.exists() && !file.exists());
        assert!(places(&left).iter().all(|place| !place.exists()));
        let kept_places = places(&kept);
        let stays = kept_places.iter().all(|place| place.exists());
        fs::remove_dir(&kept_places[1]).unwrap();
        remove(&kept_places[3]).unwrap();
        drop(Cgroup::left_at(kept_places[0].clone()));
        drop(Netns::left(kept));
        assert!(stays);
    }
}

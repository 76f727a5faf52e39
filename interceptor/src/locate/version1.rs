//! Containers and pods that only the hierarchies of version 1 know: their processes are elsewhere in cgroup2.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{LocateError, path::Kind};

/// Why something is not in the tree of cgroup2, if a process of it can be seen.
pub(super) fn explain(what: &str, is_it: impl Fn(&Kind) -> bool) -> Option<LocateError> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.find_map(|pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let cgroup = shared(&text, &is_it)?;
        Some(LocateError::Version1 {
            what: what.to_owned(),
            pid,
            cgroup,
        })
    })
}

/// The cgroup of version 2, among lines of /proc/PID/cgroup of which one of version 1 is looked for (cgroups(7)).
fn shared(text: &str, is_it: impl Fn(&Kind) -> bool) -> Option<PathBuf> {
    let names = |line: &str| {
        let path = line.splitn(3, ':').nth(2).unwrap_or_default();
        let mut names = Path::new(path).iter().filter_map(|name| name.to_str());
        names.any(|name| Kind::of(name).is_some_and(|kind| is_it(&kind)))
    };
    let second = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut first = text.lines().filter(|line| !line.starts_with("0::"));
    first.any(names).then(|| second.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_only_version_1_knows_is_told_with_the_cgroup_that_it_shares() {
        let id = "4a7d1ed414474e4033ac29ccb8653d9b4a7d1ed414474e4033ac29ccb8653d9b";
        let text = format!(
            "9:name=systemd:/docker/{id}\n3:cpu,cpuacct:/docker/{id}\n0::/system.slice/containerd.service\n"
        );
        let is_it = |kind: &Kind| matches!(kind, Kind::Container(found) if found.as_str() == id);
        assert_eq!(
            shared(&text, is_it).unwrap(),
            Path::new("/system.slice/containerd.service")
        );
        assert_eq!(shared("3:cpu:/docker\n0::/\n", is_it), None);
        assert_eq!(shared(&format!("0::/docker/{id}\n"), is_it), None);
    }
}

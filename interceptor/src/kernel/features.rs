//! What this kernel must have, in an operator's words.

use std::{fmt, fs, io};

/// What trial loads found missing.
#[derive(Debug)]
pub(crate) struct Missing {
    release: String,
    found: Vec<(&'static str, io::Error)>,
}

impl Missing {
    pub(super) fn new(found: Vec<(&'static str, io::Error)>) -> Self {
        Self {
            release: release(),
            found,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {} refuses ", self.release)?;
        for (index, (feature, error)) in self.found.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{feature} ({error})")?;
        }
        Ok(())
    }
}

/// Controllers of cgroup v1 that took a socket's cgroup2 away before Linux 5.15 (commit 8520e224f547).
const SPOILERS: [&str; 2] = ["net_cls", "net_prio"];

/// The spoiler that is mounted on a kernel where it spoils, if any.
pub(super) fn spoiler() -> Option<&'static str> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    spoiler_among(&mountinfo, &release())
}

fn spoiler_among(mountinfo: &str, release: &str) -> Option<&'static str> {
    if version(release) >= (5, 15) {
        return None;
    }
    let options = mountinfo
        .lines()
        .filter_map(|line| line.split_once(" - cgroup "))
        .filter_map(|(_, rest)| rest.rsplit(' ').next());
    options
        .flat_map(|options| options.split(','))
        .find_map(|option| SPOILERS.into_iter().find(|name| *name == option))
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "(unknown)".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn net_cls_spoils_kernels_before_5_15_only() {
        let mounts = "36 31 0:33 / /sys/fs/cgroup/net rw - cgroup cgroup rw,net_cls,net_prio\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        assert_eq!(spoiler_among(mounts, "5.10.0-8-amd64"), Some("net_cls"));
        assert_eq!(spoiler_among(mounts, "4.19.0"), Some("net_cls"));
        assert_eq!(spoiler_among(mounts, "5.15.0-generic"), None);
        assert_eq!(spoiler_among(mounts, "6.1"), None);
        let others = "36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
        assert_eq!(spoiler_among(others, "5.10.0"), None);
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let missing = Missing {
            release: "5.4.0".to_owned(),
            found: vec![
                (
                    "cgroup/sock_release programs (Linux 5.9)",
                    io::Error::from_raw_os_error(22),
                ),
                ("ring buffers (Linux 5.8)", io::Error::from_raw_os_error(1)),
            ],
        };
        let text = missing.to_string();
        assert!(
            text.starts_with("kernel 5.4.0 refuses cgroup/sock_release programs"),
            "{text}"
        );
        assert!(text.contains("; ring buffers"), "{text}");
    }
}

//! Whom a command in a sandbox runs as, and what the daemon may.

use std::{
    ffi::{CStr, CString, c_char},
    io, mem,
    path::PathBuf,
    ptr,
};

use rustix::{
    process::{Gid, Uid},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid,
    },
};

/// Bytes for one entry of the user database; glibc asks for 1 KiB, directories of large sites need more.
const ENTRY_BYTES: usize = 64 * 1024;
/// Linux' own limit (NGROUPS_MAX).
const MAX_GROUPS: usize = 65_536;

/// Why a user cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error("there is no user {0:?}: give a name or a number that the system knows")]
    Unknown(String),
    #[error("cannot look up user {user:?}")]
    Lookup {
        user: String,
        #[source]
        source: io::Error,
    },
}

/// A user with its groups, and nothing else: no capabilities, and none to be gained.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Credentials {
    /// Looks a user up by name, or by number when no user has that name.
    pub(crate) fn of(user: &str) -> Result<Self, CredentialsError> {
        let unknown = || CredentialsError::Unknown(user.to_owned());
        let name = CString::new(user).map_err(|_nul| unknown())?;
        let by_name = lookup(user, |entry, buffer, found| {
            // SAFETY: the name is NUL-terminated, and the buffer is as long as said.
            unsafe {
                libc::getpwnam_r(
                    name.as_ptr(),
                    entry,
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    found,
                )
            }
        })?;
        if let Some(credentials) = by_name {
            return Ok(credentials);
        }
        let number: u32 = user.parse().map_err(|_not_a_number| unknown())?;
        lookup(user, |entry, buffer, found| {
            // SAFETY: the buffer is as long as said.
            unsafe {
                libc::getpwuid_r(
                    number,
                    entry,
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    found,
                )
            }
        })?
        .ok_or_else(unknown)
    }

    #[cfg(test)]
    pub(super) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// Becomes this user for good, on the calling thread. Async-signal-safe.
    pub(super) fn assume(&self) -> io::Result<()> {
        set_thread_groups(&self.groups)?;
        bound(CapabilitySet::empty());
        clear_ambient_capability_set()?;
        set_thread_res_gid(self.gid, self.gid, self.gid)?;
        set_thread_res_uid(self.uid, self.uid, self.uid)?;
        // root keeps its capabilities through the change of user, others have lost them by it.
        let none = CapabilitySet::empty();
        set_capabilities(
            None,
            CapabilitySets {
                effective: none,
                permitted: none,
                inheritable: none,
            },
        )?;
        set_no_new_privs(true)?;
        Ok(())
    }
}

/// What the daemon needs for as long as it runs.
fn needed() -> CapabilitySet {
    // bpf(2): programs, maps and links of cgroups; on sockets of cgroups NET_ADMIN as well.
    CapabilitySet::BPF
        | CapabilitySet::PERFMON
        | CapabilitySet::NET_ADMIN
        // SO_BINDTODEVICE of sockets that are bound to another device: those that are cut off.
        | CapabilitySet::NET_RAW
        // setns(2) into network namespaces, mounting bpffs, seccomp.
        | CapabilitySet::SYS_ADMIN
        // /proc/PID/ns, /proc/PID/exe of whoever is in a sandbox.
        | CapabilitySet::SYS_PTRACE
        // Secrets and policies whose files belong to others; cgroups, whose root nobody may write to otherwise.
        | CapabilitySet::DAC_OVERRIDE
}

/// Gives up what the daemon does not need, for good: in the calling thread, and in those that it starts.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn keep_needed_capabilities() -> io::Result<()> {
    let kept = capabilities(None)?.permitted & needed();
    bound(needed());
    clear_ambient_capability_set()?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    set_no_new_privs(true)?;
    Ok(())
}

/// Takes all but `kept` out of what programs that are started can have.
fn bound(kept: CapabilitySet) {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        // The kernel says EINVAL past its last capability.
        if !kept.contains(capability) && remove_capability_from_bounding_set(capability).is_err() {
            break;
        }
    }
}

fn lookup(
    user: &str,
    find: impl FnOnce(*mut libc::passwd, &mut [u8], *mut *mut libc::passwd) -> i32,
) -> Result<Option<Credentials>, CredentialsError> {
    // SAFETY: integers and pointers, for which zero is a value.
    let mut entry: libc::passwd = unsafe { mem::zeroed() };
    let mut buffer = vec![0_u8; ENTRY_BYTES];
    let mut found = ptr::null_mut();
    let code = find(&raw mut entry, &mut buffer, &raw mut found);
    if found.is_null() {
        return match code {
            0 | libc::ENOENT | libc::ESRCH => Ok(None),
            code => Err(CredentialsError::Lookup {
                user: user.to_owned(),
                source: io::Error::from_raw_os_error(code),
            }),
        };
    }
    Ok(Some(Credentials {
        name: text(entry.pw_name),
        home: text(entry.pw_dir).into(),
        uid: Uid::from_raw(entry.pw_uid),
        gid: Gid::from_raw(entry.pw_gid),
        groups: groups(entry.pw_name, entry.pw_gid),
    }))
}

fn groups(name: *const c_char, gid: libc::gid_t) -> Vec<Gid> {
    let mut room = 64;
    loop {
        let mut groups: Vec<libc::gid_t> = vec![0; room];
        let mut count = i32::try_from(room).unwrap_or(i32::MAX);
        // SAFETY: the name is NUL-terminated, and `groups` has room for `count` entries.
        let result = unsafe { libc::getgrouplist(name, gid, groups.as_mut_ptr(), &raw mut count) };
        let count = usize::try_from(count).unwrap_or(0);
        if result >= 0 || room >= MAX_GROUPS {
            groups.truncate(count);
            return groups.into_iter().map(Gid::from_raw).collect();
        }
        room = count.clamp(room * 2, MAX_GROUPS);
    }
}

fn text(pointer: *const c_char) -> String {
    // SAFETY: members of a filled-in `passwd` are NUL-terminated, and its buffer is alive.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let by_name = Credentials::of("root").unwrap();
        assert_eq!(by_name.uid.as_raw(), 0);
        assert!(by_name.groups.contains(&Gid::from_raw(0)));
        let by_number = Credentials::of("0").unwrap();
        assert_eq!(by_number.name, "root");
        assert_eq!(by_number.home, by_name.home);
    }

    #[test]
    fn the_daemon_keeps_what_it_needs_and_nothing_else() {
        // A thread has its capabilities to itself.
        let kept = std::thread::spawn(|| {
            let before = capabilities(None).unwrap().permitted;
            keep_needed_capabilities().unwrap();
            (before, capabilities(None).unwrap(), fs_status())
        });
        let (before, after, status) = kept.join().unwrap();
        assert!(before.contains(CapabilitySet::SETPCAP), "run as root");
        let none = CapabilitySet::empty();
        assert_eq!(after.permitted, before & needed());
        assert_eq!(after.effective, after.permitted);
        assert_eq!(after.inheritable, none);
        let bounding = format!("CapBnd:\t{:016x}", (before & needed()).bits());
        assert!(status.contains(&bounding), "{status}");
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }

    fn fs_status() -> String {
        std::fs::read_to_string("/proc/thread-self/status").unwrap()
    }

    #[test]
    fn an_unknown_user_is_refused() {
        for user in ["no-such-user", "4294967294", "a\0b", ""] {
            let error = Credentials::of(user).unwrap_err();
            assert!(matches!(error, CredentialsError::Unknown(_)), "{user:?}");
        }
    }
}

//! Who acts, and to which sandbox a task or a socket belongs.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
    bpf_get_current_uid_gid, bpf_ktime_get_ns, bpf_sk_ancestor_cgroup_id,
};
use interceptor_ebpf::{flow::Owner, sandbox::CGROUP_DEPTH};

use super::maps::SANDBOXES;

/// The task that made the call. Only for hooks that run in a system call: elsewhere the current task is any.
#[inline(always)]
pub(super) fn current(sandbox: u32, netns: u64) -> Owner {
    let task = bpf_get_current_pid_tgid();
    Owner {
        sandbox,
        uid: bpf_get_current_uid_gid() as u32,
        tgid: (task >> 32) as u32,
        tid: task as u32,
        netns,
        time_ns: now(),
        comm: bpf_get_current_comm().unwrap_or_default(),
    }
}

/// `CLOCK_MONOTONIC`, in nanoseconds.
#[inline(always)]
pub(super) fn now() -> u64 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { bpf_ktime_get_ns() }
}

/// The sandbox of the current task: that of the deepest of its cgroups that is one.
#[inline(always)]
pub(super) fn sandbox_of_current() -> Option<u32> {
    // SAFETY: takes a number and answers 0 for a level below the task's cgroup.
    sandbox(|level| unsafe { bpf_get_current_ancestor_cgroup_id(level) })
}

/// The sandbox of the cgroup in which a socket was made. `sk` must be a full socket.
#[inline(always)]
pub(super) fn sandbox_of_socket(sk: *mut c_void) -> Option<u32> {
    // SAFETY: the verifier checks `sk`; the helper answers 0 for a level below the socket's cgroup.
    sandbox(|level| unsafe { bpf_sk_ancestor_cgroup_id(sk, level) })
}

/// The deepest of the cgroups, from the root down, that is a sandbox.
#[inline(always)]
pub(super) fn sandbox(ancestor: impl Fn(i32) -> u64) -> Option<u32> {
    // Not an Option meanwhile: the compiler would copy the number of none, which the verifier takes for unread.
    let mut found = 0;
    for level in 0..=CGROUP_DEPTH {
        let cgroup = ancestor(level);
        if cgroup == 0 {
            break;
        }
        // SAFETY: the entry is read at once and not kept.
        if let Some(sandbox) = unsafe { SANDBOXES.get(cgroup) } {
            found = sandbox.id;
        }
    }
    (found != 0).then_some(found)
}

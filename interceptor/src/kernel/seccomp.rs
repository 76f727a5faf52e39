//! What the daemon never asks of the kernel, it cannot.

use std::io;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter_all_threads};

/// Other programs, other processes' memory, other users, kernels and modules, mounts, keys, clocks: a daemon that serves
/// needs none of them. What it does need is large (bpf, setns, sockets, files), so that this is a list of what is refused,
/// not of what is allowed.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_sethostname,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_settimeofday,
    libc::SYS_setuid,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Refuses all threads, now and later, what a running daemon has no use for: EPERM. System calls of another architecture
/// end the process.
///
/// # Errors
/// The kernel has no seccomp, or another thread has a filter of its own.
pub(crate) fn refuse_the_needless() -> io::Result<()> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let refusal = SeccompAction::Errno(libc::EPERM as u32);
    let rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture);
    let program: BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)?;
    apply_filter_all_threads(&program).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const ALONE: &str = "INTERCEPTOR_TEST_ALONE";

    #[test]
    fn no_thread_of_the_daemon_becomes_another_program() {
        // It holds for the whole process, so in one of its own.
        if std::env::var_os(ALONE).is_none() {
            let alone = Command::new(std::env::current_exe().unwrap())
                .args(["kernel::seccomp::", "--test-threads=1"])
                .env(ALONE, "1")
                .output()
                .unwrap();
            assert!(alone.status.success(), "{alone:?}");
            return;
        }
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let older = std::thread::spawn(move || {
            wait.recv().unwrap();
            Command::new("true").status()
        });
        rustix::thread::set_no_new_privs(true).unwrap();
        refuse_the_needless().unwrap();
        go.send(()).unwrap();
        for refused in [older.join().unwrap(), Command::new("true").status()] {
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EPERM));
        }
        assert!(std::fs::read("/proc/self/status").is_ok());
    }
}

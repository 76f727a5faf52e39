//! What the operating system grants the daemon's process.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use crate::kernel::keep_needed_capabilities;

/// Descriptors that the daemon wants: two for each connection of a sandbox. Not more than the kernel's own default for the
/// most that a process may ask for (fs.nr_open).
const DESCRIPTORS: u64 = 1 << 20;

/// Keeps the process's memory to itself (no core dump, no ptrace by its own user: it holds secrets), lets it open as many
/// files as it may, and gives up all capabilities that it does not need. To be called before other threads are there.
pub(super) fn set() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    raise_descriptors()?;
    keep_needed_capabilities()
}

fn raise_descriptors() -> io::Result<()> {
    let hard = getrlimit(Resource::Nofile).maximum;
    let wanted = hard.map(|hard| hard.max(DESCRIPTORS));
    // Above the hard limit only with CAP_SYS_RESOURCE, and not above fs.nr_open.
    let limits = |most| Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, limits(wanted))
        .or_else(|_refused| setrlimit(Resource::Nofile, limits(hard)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::dumpable_behavior;

    use super::*;

    const ALONE: &str = "INTERCEPTOR_TEST_ALONE";

    #[test]
    fn the_process_leaves_no_core_dump_and_may_open_what_it_can() {
        // It holds for the whole process, so in one of its own.
        if std::env::var_os(ALONE).is_none() {
            let alone = Command::new(std::env::current_exe().unwrap())
                .args(["daemon::limits::", "--test-threads=1"])
                .env(ALONE, "1")
                .output()
                .unwrap();
            assert!(alone.status.success(), "{alone:?}");
            return;
        }
        let hard = getrlimit(Resource::Nofile).maximum;
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(64),
                maximum: hard,
            },
        )
        .unwrap();
        set().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert!(now.maximum >= hard, "{now:?}");
    }
}

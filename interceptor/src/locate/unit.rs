//! Units of systemd.

use std::path::Path;

use super::{
    Identity, LocateError, Located,
    name::Unit,
    only,
    tree::{REACHES, gather},
};
use crate::kernel::Hierarchy;

/// A unit's cgroup is a directory of its name, wherever its slice is. Units of the system come before those of users'
/// managers, and those of containers' last.
pub(super) fn find(hierarchy: &Hierarchy, asked: &Unit) -> Result<Located, LocateError> {
    for reach in REACHES {
        let found = gather(hierarchy, reach, |path, _| is_it(path, asked).then_some(()))?;
        let (of_users, of_system): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(path, ())| is_of_user(path));
        let what = || format!("unit {asked}");
        for found in [of_system, of_users] {
            let found = only(what, found, |(path, ())| path.display().to_string())?;
            if let Some((path, ())) = found {
                return Ok(Located {
                    cgroup: hierarchy.cgroup(&path)?,
                    identity: Some(Identity(what())),
                });
            }
        }
    }
    Err(LocateError::NoUnit(asked.clone()))
}

fn is_it(path: &Path, asked: &Unit) -> bool {
    // systemd puts an underscore before names that could be taken for one of the kernel's files.
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| {
        name == asked.as_str() || name.strip_prefix('_') == Some(asked.as_str())
    })
}

/// Whether it is below a user's manager, `user@1000.service`.
fn is_of_user(path: &Path) -> bool {
    let above = path.parent().into_iter().flat_map(Path::iter);
    let mut above = above.filter_map(|name| name.to_str());
    above.any(|name| name.starts_with("user@") && name.ends_with(".service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_known_by_its_directory_and_a_users_by_its_manager() {
        let unit = |text: &str| text.parse().unwrap();
        for (path, name, user) in [
            ("/system.slice/agent.service", "agent", false),
            ("/agents.slice/agents-a.slice", "agents-a.slice", false),
            ("/system.slice/_cpu.agent.service", "cpu.agent", false),
            ("/user.slice/user-7.slice/user@7.service", "user@7", false),
            (
                "/user.slice/user-7.slice/user@7.service/app.slice/agent.service",
                "agent",
                true,
            ),
        ] {
            assert!(is_it(Path::new(path), &unit(name)), "{path}");
            assert_eq!(is_of_user(Path::new(path)), user, "{path}");
        }
        assert!(!is_it(
            Path::new("/system.slice/agent.service/x"),
            &unit("agent")
        ));
    }
}

//! The socket file and its directory.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
};

use rustix::fs::chown;

use super::run_dir;
use crate::control::listener::{BindError, ControlListener};

#[test]
fn socket_and_directory_have_their_modes_whatever_the_umask() {
    // Threads share a umask: another one is tried in a child.
    for umask in ["000", "022", "077"] {
        let parent = run_dir();
        let run_dir = parent.path().join("interceptor");
        let status = std::process::Command::new("/bin/sh")
            .arg("-c")
            .arg("umask $0 && exec \"$@\"")
            .arg(umask)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "control::tests::listener::bind_and_stay"])
            .env("INTERCEPTOR_TEST_RUN_DIR", &run_dir)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "umask {umask}");
        let mode = |path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(run_dir.clone()), 0o755, "umask {umask}");
        assert_eq!(mode(run_dir.join("control.sock")), 0o600, "umask {umask}");
    }
}

/// Does nothing but as a child of the test above.
#[test]
fn bind_and_stay() {
    let Some(run_dir) = std::env::var_os("INTERCEPTOR_TEST_RUN_DIR") else {
        return;
    };
    std::mem::forget(ControlListener::bind(run_dir.as_ref()).unwrap());
}

#[test]
fn a_second_daemon_refuses_to_start() {
    let run_dir = run_dir();
    let first = ControlListener::bind(run_dir.path()).unwrap();
    let error = ControlListener::bind(run_dir.path()).unwrap_err();
    assert!(matches!(error, BindError::Running(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .starts_with("another interceptor is running")
    );
    assert!(run_dir.path().join("control.sock").exists());
    drop(first);
    ControlListener::bind(run_dir.path()).unwrap();
}

#[test]
fn whoever_answers_on_the_socket_is_not_pushed_aside_even_without_the_lock() {
    let run_dir = run_dir();
    let _other = UnixListener::bind(run_dir.path().join("control.sock")).unwrap();
    let error = ControlListener::bind(run_dir.path()).unwrap_err();
    assert!(matches!(error, BindError::Running(_)), "{error:?}");
}

#[test]
fn a_stale_socket_is_replaced() {
    let run_dir = run_dir();
    drop(UnixListener::bind(run_dir.path().join("control.sock")).unwrap());
    ControlListener::bind(run_dir.path()).unwrap();
}

#[test]
fn a_file_in_the_socket_s_place_is_not_removed() {
    let run_dir = run_dir();
    let path = run_dir.path().join("control.sock");
    fs::write(&path, "precious").unwrap();
    let error = ControlListener::bind(run_dir.path()).unwrap_err();
    assert!(matches!(error, BindError::NotASocket(_)), "{error:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_directory_that_others_can_change_is_refused() {
    let writable = run_dir();
    fs::set_permissions(writable.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = ControlListener::bind(writable.path()).unwrap_err();
    assert!(matches!(error, BindError::Writable(_)), "{error:?}");

    let foreign = run_dir();
    chown(
        foreign.path(),
        Some(rustix::process::Uid::from_raw(65534)),
        None,
    )
    .unwrap();
    let error = ControlListener::bind(foreign.path()).unwrap_err();
    assert!(
        matches!(error, BindError::Owner { owner: 65534, .. }),
        "{error:?}"
    );
}

#[test]
fn a_socket_that_was_handed_over_is_kept_and_made_anew_where_it_has_been_removed() {
    let run_dir = run_dir();
    let path = run_dir.path().join("control.sock");
    for told_to_end in [false, true] {
        let earlier = ControlListener::bind(run_dir.path()).unwrap();
        let mut heir = ControlListener::inherit(earlier.share().unwrap());
        if told_to_end {
            drop(earlier);
            assert!(!path.exists());
        } else {
            earlier.leave();
        }
        heir.keep(run_dir.path()).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        heir.listener().accept().unwrap();
        let second = ControlListener::bind(run_dir.path()).unwrap_err();
        assert!(matches!(second, BindError::Running(_)), "{second:?}");
        drop(heir);
        assert!(!path.exists());
    }
}

//! The program as an operator meets it, without a daemon.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    io::Read,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use tempfile::TempDir;

fn interceptor(run_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interceptor"));
    command
        .env_clear()
        .env("INTERCEPTOR_RUN_DIR", run_dir)
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null());
    command
}

fn run(run_dir: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = interceptor(run_dir.path())
        .args(arguments)
        .output()
        .unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

#[test]
fn failures_are_one_line_without_a_backtrace() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["conns"][..],
        &["stats", "--json"],
        &["sandboxes"],
        &["reload"],
        &["detach", "micky"],
        &["attach", "--name", "micky", "--pid", "1"],
    ] {
        let (code, stdout, stderr) = run(&dir, arguments);
        assert_eq!(code, 1, "{arguments:?}");
        assert_eq!(stdout, "", "{arguments:?}");
        let expected = format!(
            "error: no daemon answers at {}/control.sock: start it with `interceptor run`\n",
            dir.path().display()
        );
        assert_eq!(stderr, expected, "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = interceptor(dir.path())
        .args(["run", "--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(stderr, "");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_daemon_that_answers_nonsense_is_told_apart_from_none() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("control.sock")).unwrap();
    let server = thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 16];
        stream.read_exact(&mut head).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")
            .unwrap();
        // The rest of the request is taken so that the answer is not cut off by a reset.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let (code, _, stderr) = run(&dir, &["reload"]);
    server.join().unwrap();
    assert_eq!(code, 1);
    assert!(stderr.contains("of the same version?"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_faulty_configuration_is_reported_whole_with_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("interceptor.yaml");
    fs::write(
        &config,
        "colour: red\nsandboxes:\n  - name: micky\n    secrets: [NO_SUCH]\n",
    )
    .unwrap();
    let path = config.to_str().unwrap();
    let (code, stdout, stderr) = run(&dir, &["check", "--config", path]);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines[0], "error: the configuration has 2 faults");
    assert!(lines[1].starts_with(&format!("{path}:1:1: ")), "{stderr}");
    assert!(lines[2].starts_with(&format!("{path}:4:15: ")), "{stderr}");
}

#[test]
fn a_sound_configuration_is_reported_with_what_becomes_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("interceptor.yaml");
    fs::write(&config, "sandboxes:\n  - name: micky\n").unwrap();
    let path = config.to_str().unwrap();
    let (code, stdout, stderr) = run(&dir, &["check", "--config", path]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.contains("all its traffic is denied"), "{stdout}");
    assert!(
        stdout.ends_with("can be used: sandboxes: 1, warnings: 1\n"),
        "{stdout}"
    );
}

#[test]
fn the_certificate_authority_is_made_once_and_printed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();

    let (code, _, stderr) = run(&dir, &["ca", "export", "--data-dir", data]);
    assert_eq!(code, 1);
    assert_eq!(
        stderr,
        format!(
            "error: there is no certificate authority in {data}: make one with `interceptor ca init`\n"
        )
    );

    let (code, certificate, stderr) = run(&dir, &["ca", "init", "--data-dir", data]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(certificate, format!("{data}/ca.pem\n"));
    let (_, first, _) = run(&dir, &["ca", "export", "--data-dir", data]);
    assert!(
        first.starts_with("-----BEGIN CERTIFICATE-----\n"),
        "{first}"
    );
    run(&dir, &["ca", "init", "--data-dir", data]);
    let (_, second, _) = run(&dir, &["ca", "export", "--data-dir", data]);
    assert_eq!(first, second);
    let (code, bundle, _) = run(&dir, &["ca", "bundle", "--data-dir", data]);
    assert_eq!(code, 0);
    assert!(bundle.contains(&first));
    // More than a pipe holds, so that the program is still writing when its reader goes.
    assert!(bundle.len() > 128 * 1024, "{}", bundle.len());
    let mut child = interceptor(dir.path())
        .args(["ca", "bundle", "--data-dir", data])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut [0; 5])
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");

    // What a daemon has published comes first.
    fs::write(dir.path().join("ca.pem"), "published\n").unwrap();
    assert_eq!(run(&dir, &["ca", "export"]).1, "published\n");
}

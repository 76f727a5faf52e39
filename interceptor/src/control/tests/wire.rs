//! What no client of ours would send.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use super::Control;

/// Sends bytes and reads until the server closes.
fn exchange(control: &Control, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(control.run_dir.path().join("control.sock")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // The server may have answered and closed before all is sent, and what it did not read resets the connection.
    drop(stream.write_all(bytes));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(control: &Control, head: &str, body: &str) -> String {
    let length = body.len();
    exchange(
        control,
        format!("{head} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes(),
    )
}

#[track_caller]
fn assert_status(answer: &str, status: u16) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{status} expected: {answer}"
    );
}

#[test]
fn health_and_readiness_are_told_apart() {
    let control = Control::start();
    assert_status(&request(&control, "GET /healthz", ""), 200);
    assert_status(&request(&control, "GET /readyz", ""), 200);
    control.backend.break_configuration();
    assert_status(&request(&control, "GET /healthz", ""), 200);
    let answer = request(&control, "GET /readyz", "");
    assert_status(&answer, 503);
    assert!(answer.contains("the programs are not attached"), "{answer}");
}

#[test]
fn wrong_paths_methods_queries_and_bodies_are_refused_as_json() {
    let control = Control::start();
    let cases = [
        ("GET /", "", 404),
        ("GET /v1/sandboxes/", "", 404),
        ("GET /v2/stats", "", 404),
        ("DELETE /v1/sandboxes", "", 405),
        ("POST /healthz", "", 405),
        ("GET /v1/connections?all", "", 400),
        ("GET /v1/events?since=1", "", 400),
        ("POST /v1/sandboxes", "", 400),
        ("POST /v1/sandboxes", "{", 400),
        ("POST /v1/sandboxes", "[]", 400),
        ("POST /v1/sandboxes", r#"{"name": 1}"#, 400),
        (
            "POST /v1/sandboxes",
            r#"{"name": "a", "colour": "red"}"#,
            400,
        ),
        ("POST /v1/sandboxes/detach", r#"{"sandbox": "nobody"}"#, 404),
    ];
    for (head, body, status) in cases {
        let answer = request(&control, head, body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(r#"{"error":""#),
            "{head} {body}: {answer}"
        );
    }
}

#[test]
fn oversized_bodies_are_refused_declared_or_chunked() {
    let control = Control::start();
    let declared = "POST /v1/sandboxes HTTP/1.1\r\nhost: x\r\ncontent-length: 1048577\r\n\r\n";
    assert_status(&exchange(&control, declared.as_bytes()), 413);

    let mut chunked =
        b"POST /v1/sandboxes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..17 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&[b' '; 0x10000]);
        chunked.extend_from_slice(b"\r\n");
    }
    let answer = exchange(&control, &chunked);
    assert_status(&answer, 413);
    assert!(control.client().sandboxes().unwrap().is_empty());
}

#[test]
fn a_body_just_within_the_limit_is_read() {
    let control = Control::start();
    let body = format!(
        r#"{{"sandbox": "nobody"}}{}"#,
        " ".repeat(1024 * 1024 - r#"{"sandbox": "nobody"}"#.len())
    );
    assert_status(&request(&control, "POST /v1/sandboxes/detach", &body), 404);
}

#[test]
fn garbage_ends_its_connection_and_no_other() {
    let control = Control::start();
    let huge_head = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(64 * 1024));
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        huge_head.as_bytes(),
    ] {
        let answer = exchange(&control, garbage);
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    assert!(control.client().sandboxes().unwrap().is_empty());
}

#[test]
fn silent_peers_up_to_the_cap_do_not_stop_the_daemon_from_stopping() {
    let mut control = Control::start();
    let socket = control.run_dir.path().join("control.sock");
    let silent: Vec<_> = (0..70)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    drop(control.server.take());
    assert!(!socket.exists());
    drop(silent);
}

//! Repositories, by git's own server. <https://git-scm.com/docs/git-http-backend>

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::site::{Seen, reply::Reply};

/// `repositories` is where they lie: one that is asked for is made.
pub(super) fn git(seen: &Seen, repositories: &Path) -> Reply {
    // Before that, git does not show a password.
    if seen.header("authorization").is_none() {
        return Reply::new(401, "text/plain", "who are you?")
            .with("www-authenticate", "Basic realm=\"git\"");
    }
    run(seen, repositories).unwrap_or_else(|error| {
        let error = format!("{error:#}");
        Reply::new(500, "text/plain", error)
    })
}

fn run(seen: &Seen, repositories: &Path) -> Result<Reply> {
    let path = seen.path();
    let end = path.find(".git").context("a repository")? + 4;
    let name = path.get(..end).unwrap_or_default();
    let repository = repositories.join(name.trim_start_matches('/'));
    if !repository.exists() {
        let made = Command::new("git")
            .args(["init", "--quiet", "--bare", "--initial-branch=main"])
            .arg(&repository)
            .status()?;
        ensure!(made.success(), "git init: {made}");
    }
    let (_, query) = seen.target.split_once('?').unwrap_or_default();
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", repositories)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "micky")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REQUEST_METHOD", &seen.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_LENGTH", seen.body.len().to_string());
    for (variable, name) in [
        ("CONTENT_TYPE", "content-type"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("HTTP_GIT_PROTOCOL", "git-protocol"),
    ] {
        command.env(variable, seen.text(name).unwrap_or_default());
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    // It reads all of it before it answers.
    child.stdin.take().context("stdin")?.write_all(&seen.body)?;
    let output = child.wait_with_output()?;
    let end = output
        .stdout
        .windows(4)
        .position(|four| four == b"\r\n\r\n");
    let (head, body) = output.stdout.split_at(end.context("a head")? + 4);
    let head = std::str::from_utf8(head)?;
    let field = |name: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let status = field("Status").and_then(|status| status.get(..3)?.parse().ok());
    let kind = field("Content-Type").unwrap_or("text/plain");
    Ok(Reply::new(status.unwrap_or(200), kind, body))
}

//! The only place that writes to standard output and standard error.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use serde::Serialize;

/// Prints to standard output. A reader that has gone away, as in `interceptor conns | head`, is no failure.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    to_reader(io::stdout().lock(), text).context("cannot write to standard output")
}

/// Prints a line to standard error; where that fails, nobody is left to tell.
pub(super) fn complain(line: &str) {
    drop(writeln!(io::stderr().lock(), "{}", escape(line)));
}

/// Prints for programs.
pub(super) fn json(view: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(view)?;
    text.push('\n');
    print(&text)
}

/// Prints help, version or a usage error as clap has worded it.
pub(super) fn usage(message: &clap::Error) -> ExitCode {
    match message.print() {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(_) => return ExitCode::FAILURE,
    }
    u8::try_from(message.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// What a process in a sandbox chose, made fit for a terminal: characters that steer one, or that cannot be seen,
/// stand as `\u{…}`.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        // Of what `escape_debug` changes, quotes and backslashes do no harm.
        let harmless = matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1;
        if harmless {
            escaped.push(c);
        } else {
            escaped.extend(c.escape_unicode());
        }
    }
    escaped
}

fn to_reader(mut writer: impl Write, text: &str) -> io::Result<()> {
    match writer
        .write_all(text.as_bytes())
        .and_then(|()| writer.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        to_reader(writer, &"line\n".repeat(100_000)).unwrap();
    }

    #[test]
    fn a_full_disk_is_a_failure() {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        assert!(to_reader(full, "line\n").is_err());
    }

    #[test]
    fn nothing_that_steers_a_terminal_comes_through() {
        for (text, escaped) in [
            ("node", "node"),
            (r#"it's "C:\x""#, r#"it's "C:\x""#),
            ("Bücher 日本", "Bücher 日本"),
            ("a\x1b[2Jb", r"a\u{1b}[2Jb"),
            ("a\r\n\tb\0", r"a\u{d}\u{a}\u{9}b\u{0}"),
            ("a\u{9b}31mb", r"a\u{9b}31mb"),
            ("a\u{202e}b\u{200b}", r"a\u{202e}b\u{200b}"),
        ] {
            assert_eq!(escape(text), escaped);
        }
    }
}

//! Looking into logs, with failures that explain themselves.

use anyhow::{Result, bail};

/// # Errors
/// No line holds every one of `parts`; the message shows the ten lines that come nearest.
pub fn assert_contains(log: &str, parts: &[&str]) -> Result<()> {
    let matching = |line: &str| parts.iter().filter(|part| line.contains(*part)).count();
    let mut lines: Vec<(usize, &str)> = log.lines().map(|line| (matching(line), line)).collect();
    if lines.iter().any(|(count, _)| *count == parts.len()) {
        return Ok(());
    }
    // Stable: of lines that are equally near, the latest come first.
    lines.reverse();
    lines.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let nearest: Vec<_> = lines.iter().take(10).map(|(_, line)| *line).collect();
    bail!(
        "no line of {} holds {parts:?}; nearest:\n  {}",
        lines.len(),
        nearest.join("\n  ")
    )
}

/// # Errors
/// A line holds `needle`. The message shows neither, since both may be secret.
pub fn assert_absent(log: &str, needle: &str) -> Result<()> {
    match log.lines().position(|line| line.contains(needle)) {
        None => Ok(()),
        Some(number) => bail!("line {} of the log holds what it must not", number + 1),
    }
}

/// Says on standard error what a destructor cannot return.
#[allow(
    clippy::print_stderr,
    reason = "destructors have no other way to report"
)]
pub fn complain(text: &str) {
    eprintln!("cleaning up: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_line_is_shown_when_none_matches() {
        let log = "one thing\nsandbox=micky reason=policy\nlast";
        assert!(assert_contains(log, &["sandbox=micky", "reason=policy"]).is_ok());
        let error = assert_contains(log, &["sandbox=micky", "reason=tls"])
            .unwrap_err()
            .to_string();
        let first = error.lines().nth(1).unwrap();
        assert_eq!(first.trim(), "sandbox=micky reason=policy");
    }

    #[test]
    fn a_secret_in_a_log_is_found_and_not_repeated() {
        let error = assert_absent("a\nb s3cret c", "s3cret").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2 of the log holds what it must not"
        );
    }
}

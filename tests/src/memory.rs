//! Looking into a process's memory.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
};

use anyhow::{Context as _, Result};

/// Whether `needle` stands anywhere in the memory of a process, its environment and stack included.
///
/// # Errors
/// The process is gone, or the caller may not look.
pub fn holds(pid: u32, needle: &[u8]) -> Result<bool> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))
        .with_context(|| format!("process {pid} is gone"))?;
    let mut memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut window = vec![0; 1 << 20];
    for line in maps.lines() {
        let Some((start, end)) = readable_range(line) else {
            continue;
        };
        let mut at = start;
        while at < end {
            memory.seek(SeekFrom::Start(at))?;
            let want = usize::try_from(end - at)?.min(window.len());
            // Device pages and the like cannot be read, and hold no heap.
            let Ok(read) = memory.read(window.get_mut(..want).unwrap_or_default()) else {
                break;
            };
            if read == 0 {
                break;
            }
            if contains(window.get(..read).unwrap_or_default(), needle) {
                return Ok(true);
            }
            // Windows overlap, so that a needle across their border is found.
            let step = read.saturating_sub(needle.len() - 1).max(1);
            at += if at + read as u64 == end {
                read as u64
            } else {
                step as u64
            };
        }
    }
    Ok(false)
}

fn readable_range(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let readable = fields.next()?.starts_with('r');
    let special = line.ends_with("[vvar]") || line.ends_with("[vsyscall]");
    (readable && !special).then(|| {
        Some((
            u64::from_str_radix(start, 16).ok()?,
            u64::from_str_radix(end, 16).ok()?,
        ))
    })?
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else {
        return true;
    };
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(needle) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

/// Most memory that a process has held since [`reset_peak`], in bytes.
///
/// # Errors
/// The process is gone.
pub fn peak(pid: u32) -> Result<u64> {
    field(pid, "VmHWM:")
}

/// Memory that a process holds now, in bytes.
///
/// # Errors
/// The process is gone.
pub fn resident(pid: u32) -> Result<u64> {
    field(pid, "VmRSS:")
}

/// Makes [`peak`] count from now on (proc(5), `clear_refs`).
///
/// # Errors
/// The process is gone.
pub fn reset_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn field(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kibibytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
        .with_context(|| format!("no {name} in the status of process {pid}"))?
        .trim()
        .parse()?;
    Ok(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_string_in_the_environment_of_a_process_is_found() {
        let mut child = Command::new("sleep")
            .arg("60")
            .env("NEEDLE", "a-needle-in-a-haystack")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Until execve(2) is done the child is a copy of this process.
        while !fs::read_to_string(format!("/proc/{}/comm", child.id()))
            .unwrap()
            .starts_with("sleep")
        {}
        let found = holds(child.id(), b"a-needle-in-a-haystack");
        let absent = holds(child.id(), b"another-needle-not-there");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.unwrap());
        assert!(!absent.unwrap());
    }
}

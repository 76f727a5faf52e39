//! An arm64 machine under QEMU, that runs one script and tells its exit code.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};

use super::{cpio, directory, qemu};
use crate::deadline::Deadline;

pub(super) struct Machine<'m> {
    /// The kernel.
    pub(super) image: &'m Path,
    /// What is on its root file system, later ones over earlier ones.
    pub(super) archives: &'m [&'m PathBuf],
    /// Longest time that it may run.
    pub(super) limit: Duration,
    /// Where its logs go.
    pub(super) log: &'m Path,
}

/// Lines of the console that are shown where a machine ends without a result.
const LAST_LINES: usize = 30;

impl Machine<'_> {
    /// Boots, hands each line that the script prints to `line`, and returns the script's exit code.
    ///
    /// # Errors
    /// The machine hangs, its kernel has a fault, or it ends without a result.
    pub(super) fn run(&self, mut line: impl FnMut(&str)) -> Result<u8> {
        if self.log.exists() {
            fs::remove_dir_all(self.log)?;
        }
        fs::create_dir_all(self.log)?;
        let initrd = directory().join("initrd");
        cpio::join(self.archives, &initrd)?;
        let nonce = nonce()?;
        let mut qemu = self.start(&initrd, &nonce)?;
        let deadline = Deadline::set(qemu.id(), self.limit);
        let output = qemu.stdout.take().context("a machine without output")?;
        for bytes in BufReader::new(output).split(b'\n') {
            line(&String::from_utf8_lossy(&bytes?));
        }
        let status = qemu.wait()?;
        fs::remove_file(&initrd)?;
        if deadline.has_passed() {
            bail!("the machine hung: killed after {} s", self.limit.as_secs());
        }
        let console = fs::read(self.log.join("console"))?;
        let console = String::from_utf8_lossy(&console);
        if let Some(fault) = console.lines().find(|line| is_fault(line)) {
            bail!("the machine's kernel has a fault: {fault}");
        }
        unpack(&self.log.join("logs.tar"), self.log)?;
        // QEMU's own status is 0 whatever happens inside, and what is left of another run has another nonce.
        let result = fs::read_to_string(self.log.join("result"))?;
        read(&result, &nonce).with_context(|| {
            format!(
                "the machine ended without a result ({status}): {}",
                tail(&console)
            )
        })
    }

    fn start(&self, initrd: &Path, nonce: &str) -> Result<Child> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let file = |name: &str| {
            let path = self.log.join(name);
            format!("file,id={name},path={}", path.display())
        };
        let mut command = Command::new(qemu::PROGRAM);
        command
            .args(["-machine", "virt", "-cpu", "cortex-a76"])
            .args(["-accel", "tcg,thread=multi"])
            .args(["-smp", "2", "-m", "4096"])
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-nic", "none"])
            .arg("-kernel")
            .arg(self.image)
            .arg("-initrd")
            .arg(initrd)
            .arg("-append")
            .arg(format!(
                "console=ttyAMA0 panic=-1 oops=panic loglevel=5 interceptor.nonce={nonce} interceptor.time={now}"
            ))
            .args(["-chardev", &file("console"), "-serial", "chardev:console"])
            .args(["-device", "virtio-serial-pci"])
            // Not `stdio`: a guest may not write to that after standard input has ended.
            .args(["-chardev", "file,id=output,path=/dev/stdout"])
            .args(["-chardev", &file("logs.tar"), "-chardev", &file("result")]);
        for (port, device) in [
            ("output", "output"),
            ("logs", "logs.tar"),
            ("result", "result"),
        ] {
            command.args([
                "-device",
                &format!("virtserialport,chardev={device},name=interceptor.{port}"),
            ]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(self.log.join("qemu"))?)
            .spawn()
            .context("starting QEMU")
    }
}

/// Whether the console tells of a fault after which nothing that the machine says is worth anything.
fn is_fault(line: &str) -> bool {
    [
        "Kernel panic",
        "Internal error:",
        "BUG: ",
        "Unable to handle kernel",
    ]
    .iter()
    .any(|fault| line.contains(fault))
}

/// The exit code in `NONCE CODE`.
fn read(result: &str, nonce: &str) -> Option<u8> {
    result
        .strip_prefix(nonce)?
        .strip_prefix(' ')?
        .strip_suffix('\n')?
        .parse()
        .ok()
}

fn unpack(archive: &Path, place: &Path) -> Result<()> {
    // Empty where the machine did not come so far.
    if fs::metadata(archive)?.len() > 0 {
        crate::step::output(
            Command::new("tar")
                .arg("-C")
                .arg(place)
                .arg("-xf")
                .arg(archive),
        )?;
    }
    Ok(())
}

fn tail(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    let last = lines.get(from..).unwrap_or_default();
    format!("\n{}", last.join("\n"))
}

fn nonce() -> Result<String> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_result_of_this_run_is_believed() {
        for (result, code) in [
            ("0123 0\n", Some(0)),
            ("0123 3\n", Some(3)),
            ("0123 0", None),
            ("0123 \n", None),
            ("4567 0\n", None),
            ("", None),
        ] {
            assert_eq!(read(result, "0123"), code, "{result:?}");
        }
    }
}

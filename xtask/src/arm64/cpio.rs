//! Archives of the form that the kernel takes as its first root file system. It takes several, one after the other.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// Packs all that is in a directory; everything in the archive is root's.
///
/// # Errors
/// Something cannot be read, or there is no cpio(1).
pub(super) fn pack(directory: &Path, archive: &Path) -> Result<()> {
    let output = File::create(archive).with_context(|| format!("making {}", archive.display()))?;
    let mut find = Command::new("find")
        .args([".", "-print0"])
        .current_dir(directory)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting find")?;
    let names = find.stdout.take().context("find prints nothing")?;
    // Not compressed: unpacking that takes an emulated machine longer than anything else at its start.
    let packed = Command::new("cpio")
        .args(["--create", "--null", "--format=newc", "--owner=0:0"])
        .arg("--quiet")
        .current_dir(directory)
        .stdin(names)
        .stdout(output)
        .status()
        .context("starting cpio")?;
    let found = find.wait()?;
    ensure!(
        packed.success() && found.success(),
        "packing {}: {packed}",
        directory.display()
    );
    Ok(())
}

/// Puts archives into one file. Each is of whole blocks, so that the next begins aligned, as the kernel wants it.
///
/// # Errors
/// One cannot be read.
pub(super) fn join(archives: &[&PathBuf], file: &Path) -> Result<()> {
    let mut output = File::create(file)?;
    for archive in archives {
        let mut input =
            File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
        ensure!(
            fs::metadata(archive)?.len() % 4 == 0,
            "{} is cut off",
            archive.display()
        );
        io::copy(&mut input, &mut output)?;
    }
    Ok(())
}

//! The sources that determine the object.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// SHA-256, in hex, over name, length and contents of `Cargo.toml` and of everything under `src`, in order of name. The
/// toolchain is not part of it: another one makes another object that does the same.
pub(super) fn hash(package: &Path) -> Result<String> {
    let mut files = vec![package.join("Cargo.toml")];
    collect(&package.join("src"), &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(package)?.display().to_string();
        let contents = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        hash.update(format!("{name} {}\n", contents.len()));
        hash.update(&contents);
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_moved_or_new_file_changes_the_hash() {
        let package = tempfile::tempdir().unwrap();
        let at = |name: &str| package.path().join(name);
        fs::create_dir_all(at("src/programs")).unwrap();
        fs::write(at("Cargo.toml"), "").unwrap();
        fs::write(at("src/lib.rs"), "a").unwrap();
        let mut seen = vec![hash(package.path()).unwrap()];
        fs::write(at("src/lib.rs"), "b").unwrap();
        seen.push(hash(package.path()).unwrap());
        fs::rename(at("src/lib.rs"), at("src/programs/lib.rs")).unwrap();
        seen.push(hash(package.path()).unwrap());
        fs::write(at("src/new.rs"), "").unwrap();
        seen.push(hash(package.path()).unwrap());
        assert_eq!(hash(package.path()).unwrap(), seen[3]);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 4);
    }
}
